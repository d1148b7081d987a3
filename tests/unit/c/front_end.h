/* What plays a front end of vhost-user, in tests and in fuzzers, sends by this. */
#ifndef CAPSA_TEST_FRONT_END_H
#define CAPSA_TEST_FRONT_END_H

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "engine/qemu/vhost_user_protocol.h"

#define FRONT_END_DESCRIPTORS 16

/*
 * Send a header, which need not fit what follows it, `len` bytes of payload and at most FRONT_END_DESCRIPTORS
 * descriptors, which stay the caller's. As sendmsg(2), without a signal.
 */
static inline ssize_t front_end__send(int to, const struct vhost_user_header *header, const void *payload, size_t len,
				      const int *fds, unsigned count, int flags)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(FRONT_END_DESCRIPTORS * sizeof(int))] = {0};
	struct iovec iov[] = {{(void *)(uintptr_t)header, sizeof(*header)}, {(void *)(uintptr_t)payload, len}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	if (count) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
		struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(c), fds, count * sizeof(int));
	}
	return sendmsg(to, &msg, MSG_NOSIGNAL | flags);
}

#endif
