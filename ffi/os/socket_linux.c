/* Sockets and pipes by the calls that take the flags at once. */
#include "os/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int flags_of(bool waits)
{
	return SOCK_CLOEXEC | (waits ? 0 : SOCK_NONBLOCK);
}

int socket__new(int domain, int type, int protocol, bool waits)
{
	int fd = socket(domain, type | flags_of(waits), protocol);
	return fd < 0 ? -errno : fd;
}

int socket__pair(int type, bool waits, int ends[2])
{
	return socketpair(AF_UNIX, type | flags_of(waits), 0, ends) < 0 ? -errno : 0;
}

int socket__accept(int listener, bool waits)
{
	int fd = accept4(listener, NULL, NULL, flags_of(waits));
	return fd < 0 ? -errno : fd;
}

int socket__peer(int fd, uid_t *user)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	*user = peer.uid;
	return 0;
}

int pipe__new(int ends[2])
{
	return pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0;
}

int descriptor__replace(int fd, int from)
{
	return dup3(from, fd, O_CLOEXEC) < 0 ? -errno : 0;
}
