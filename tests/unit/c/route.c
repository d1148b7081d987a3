/* What the kernel says of addresses, in a network of the test's own: which are this machine's, at the moment of asking.
 */
#include "os/route.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "check.h"
#include "net/own.h"

#define LOOPBACK 1 /* its index, everywhere */

static struct route route;

/* A network with nothing but a loopback that is up. */
static void set_up(void)
{
	struct ifreq lo = {.ifr_name = "lo"};
	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		SKIP("this user may not make a network namespace");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(ioctl(fd, SIOCGIFFLAGS, &lo), 0);
	lo.ifr_flags |= IFF_UP;
	CHECK_EQ(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	close(fd);
	CHECK_EQ(route__open(&route), 0);
}

static int family_of(const char *text, uint8_t bytes[16])
{
	if (inet_pton(AF_INET, text, bytes) == 1)
		return AF_INET;
	CHECK_EQ(inet_pton(AF_INET6, text, bytes), 1);
	return AF_INET6;
}

static int says(const char *text)
{
	uint8_t bytes[16];
	int family = family_of(text, bytes);
	return route__is_local(&route, family, bytes);
}

/* Make, or take away again, an address of the loopback (`route` false) or a route for a network of `bits`. */
static void change(bool make, bool is_route, const char *text, unsigned char bits, unsigned char type)
{
	struct {
		struct nlmsghdr header;
		union {
			struct ifaddrmsg address;
			struct rtmsg route;
		} what;
		uint8_t attributes[64];
	} request = {.header = {.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (make ? NLM_F_CREATE : 0)}};
	struct {
		struct nlmsghdr header;
		struct nlmsgerr error;
		uint8_t rest[128];
	} answer;
	uint8_t bytes[16];
	int family = family_of(text, bytes);
	const unsigned short len = family == AF_INET ? 4 : 16;
	const int loopback = LOOPBACK;
	size_t head = is_route ? sizeof(request.what.route) : sizeof(request.what.address);
	request.header.nlmsg_type = is_route ? (make ? RTM_NEWROUTE : RTM_DELROUTE) : make ? RTM_NEWADDR : RTM_DELADDR;
	if (is_route)
		request.what.route = (struct rtmsg){.rtm_family = (unsigned char)family,
						    .rtm_dst_len = bits,
						    .rtm_table = type == RTN_LOCAL ? RT_TABLE_LOCAL : RT_TABLE_MAIN,
						    .rtm_protocol = RTPROT_STATIC,
						    .rtm_scope = RT_SCOPE_HOST,
						    .rtm_type = type};
	else
		request.what.address = (struct ifaddrmsg){.ifa_family = (unsigned char)family,
							  .ifa_prefixlen = bits,
							  .ifa_flags = IFA_F_NODAD,
							  .ifa_index = LOOPBACK};
	uint8_t *at = (uint8_t *)&request.what + NLMSG_ALIGN(head);
	*(struct rtattr *)at =
		(struct rtattr){RTA_LENGTH(len), is_route ? (unsigned short)RTA_DST : (unsigned short)IFA_LOCAL};
	memcpy(RTA_DATA(at), bytes, len);
	at += RTA_SPACE(len);
	if (is_route && type == RTN_LOCAL) {
		*(struct rtattr *)at = (struct rtattr){RTA_LENGTH(sizeof(loopback)), RTA_OIF};
		memcpy(RTA_DATA(at), &loopback, sizeof(loopback));
		at += RTA_SPACE(sizeof(loopback));
	}
	request.header.nlmsg_len = (uint32_t)(at - (uint8_t *)&request);
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	CHECK_EQ(send(fd, &request, request.header.nlmsg_len, 0), request.header.nlmsg_len);
	CHECK(recv(fd, &answer, sizeof(answer), 0) >= (ssize_t)offsetof(__typeof__(answer), rest));
	CHECK_EQ(answer.error.error, 0);
	close(fd);
}

/* The kernel makes the route for an address of IPv6, by which packets find it, a moment later. */
static void comes_to_be_its_own(const char *text)
{
	for (unsigned ms = 0; says(text) != 1 && ms < 5000; ms++)
		usleep(1000);
	CHECK_EQ(says(text), 1);
}

static void an_address_is_its_own_from_when_it_has_it_until_it_has_not(void)
{
	static const char *const addresses[] = {"203.0.113.5", "2001:db8:1::5"};
	set_up();
	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(says(addresses[i]), 0);
		change(true, false, addresses[i], i ? 128 : 32, 0);
		comes_to_be_its_own(addresses[i]);
		change(false, false, addresses[i], i ? 128 : 32, 0);
		CHECK_EQ(says(addresses[i]), 0);
	}
	CHECK(says("127.0.0.1") == 1 && says("127.1.2.3") == 1 && says("::1") == 1);
	route__close(&route);
}

static void a_route_makes_addresses_its_own_as_well(void)
{
	set_up();
	CHECK_EQ(says("198.18.3.4"), 0);
	change(true, true, "198.18.0.0", 16, RTN_LOCAL);
	CHECK(says("198.18.3.4") == 1 && says("198.19.3.4") == 0);
	change(true, true, "2001:db8:2::", 64, RTN_LOCAL);
	CHECK(says("2001:db8:2::77") == 1 && says("2001:db8:3::77") == 0);
	/* what leads nowhere is not */
	change(true, true, "192.0.2.0", 25, RTN_BLACKHOLE);
	change(true, true, "192.0.2.128", 25, RTN_PROHIBIT);
	change(true, true, "2001:db8:4::", 64, RTN_UNREACHABLE);
	CHECK(says("192.0.2.1") == 0 && says("192.0.2.200") == 0 && says("2001:db8:4::1") == 0);
	/* of an address with others around it: theirs together */
	change(true, false, "203.0.113.5", 24, 0);
	CHECK_EQ(says("203.0.113.255"), 1);
	route__close(&route);
}

static void what_cannot_be_asked_is_an_error_and_counts_as_its_own(void)
{
	struct own *own;
	const uint8_t bytes[4] = {203, 0, 113, 5};
	const struct address address = address__from4(bytes);
	set_up();
	CHECK_EQ(own__new(&own), 0);
	CHECK(!own__holds(own, &address, true, 1));
	change(true, false, "203.0.113.5", 32, 0);
	CHECK(!own__holds(own, &address, false, 1000)); /* it was said a moment ago */
	CHECK(own__holds(own, &address, true, 1000));
	change(false, false, "203.0.113.5", 32, 0);
	CHECK(own__holds(own, &address, false, 1999));
	CHECK(!own__holds(own, &address, false, 2001));
	own__free(own);
	/* a socket that is none of the kernel's */
	close(route.fd);
	CHECK_EQ(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), route.fd);
	CHECK(says("203.0.113.5") < 0);
	route__close(&route);
}

int main(void)
{
	CASE(an_address_is_its_own_from_when_it_has_it_until_it_has_not);
	CASE(a_route_makes_addresses_its_own_as_well);
	CASE(what_cannot_be_asked_is_an_error_and_counts_as_its_own);
	return check__done();
}
