/* Routing by rtnetlink(7): the kernel looks up the route that a packet would take, and says of which type it is. */
#include "os/route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_MAX 1024 /* bytes; one route takes some 100 */

/*
 * Only answers about one route come in: a list of all, or of neighbours and interfaces, is of no use here, and a
 * process that was taken over shall not have it. The filter counts in the order of bytes of networks, the fields are in
 * that of the machine.
 */
static int narrow(int fd)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_flags)),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, htons(NLM_F_MULTI), 4, 0),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, offsetof(struct nlmsghdr, nlmsg_type)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(RTM_NEWROUTE), 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, htons(NLMSG_ERROR), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
	const int on = 1;
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

int route__open(struct route *route)
{
	*route = (struct route){.fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)};
	int err = route->fd < 0 ? -errno : narrow(route->fd);
	if (err)
		route__close(route);
	return err;
}

void route__close(struct route *route)
{
	if (route->fd >= 0)
		close(route->fd);
	route->fd = -1;
}

struct question {
	struct nlmsghdr header;
	struct rtmsg route;
	struct rtattr attribute;
	uint8_t address[16];
};

static int ask(struct route *route, int family, const void *address)
{
	const size_t len = family == AF_INET ? 4 : 16;
	struct question question = {
		.header = {.nlmsg_len = (uint32_t)(offsetof(struct question, address) + len),
			   .nlmsg_type = RTM_GETROUTE,
			   .nlmsg_flags = NLM_F_REQUEST,
			   .nlmsg_seq = ++route->asked},
		.route = {.rtm_family = (uint8_t)family, .rtm_dst_len = (uint8_t)(8 * len)},
		.attribute = {.rta_len = (uint16_t)RTA_LENGTH(len), .rta_type = RTA_DST},
	};
	memcpy(question.address, address, len);
	const struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	ssize_t sent = sendto(route->fd, &question, question.header.nlmsg_len, 0, (const struct sockaddr *)&kernel,
			      sizeof(kernel));
	return sent < 0 ? -errno : 0;
}

/* Where there is no way, no packet goes; what else goes wrong says nothing of the address. */
static int by_error(int error)
{
	switch (-error) {
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EACCES: /* "prohibit" */
	case EINVAL: /* "blackhole" */
		return 0;
	default:
		return error < 0 ? error : -EPROTO;
	}
}

static int by_type(unsigned type)
{
	return type == RTN_LOCAL || type == RTN_BROADCAST || type == RTN_ANYCAST || type == RTN_MULTICAST;
}

int route__is_local(struct route *route, int family, const void *address)
{
	union {
		struct nlmsghdr header;
		struct {
			struct nlmsghdr header;
			struct rtmsg route;
		} found;
		struct {
			struct nlmsghdr header;
			struct nlmsgerr error;
		} failed;
		uint8_t bytes[ANSWER_MAX];
	} answer;
	int err = ask(route, family, address);
	if (err)
		return err;
	for (;;) { /* the answer is there already, behind one that was not taken, if any */
		ssize_t len = recv(route->fd, &answer, sizeof(answer), MSG_DONTWAIT);
		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0)
			return -errno;
		if ((size_t)len >= sizeof(answer.header) && answer.header.nlmsg_seq != route->asked)
			continue;
		if ((size_t)len >= sizeof(answer.found) && answer.header.nlmsg_type == RTM_NEWROUTE)
			return by_type(answer.found.route.rtm_type);
		if ((size_t)len >= sizeof(answer.failed) && answer.header.nlmsg_type == NLMSG_ERROR)
			return by_error(answer.failed.error.error);
		return -EPROTO;
	}
}
