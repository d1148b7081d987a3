/* What the VMM says to the processes that watch it, and that it is dead: one-byte messages over a socket pair. */
#include "vmm/link.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define CLEAN_MS 3000

int link__pair(int ends[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ? -errno : 0;
}

bool link__tell(int fd, enum link_message message)
{
	char byte = (char)message;
	return send(fd, &byte, 1, MSG_NOSIGNAL) == 1;
}

enum link_message link__take(int fd)
{
	char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return LINK_NOTHING;
	return n == 1 ? (enum link_message)byte : LINK_CLOSED;
}

bool link__ask_clean(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	return link__tell(fd, LINK_CLEAN) && poll(&pfd, 1, CLEAN_MS) == 1 && link__take(fd) == LINK_CLEANED;
}
