/*
 * libslirp connects a stream of the guest to a service by socket(2) and connect(2), and a confined VMM makes no Unix
 * sockets. So this program defines both, which comes before the C library's definitions for libslirp as well: a Unix
 * socket is a placeholder, and connecting puts the opened stream into its place. All else is the kernel's.
 */
#include "net/service_sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* libslirp passes nothing of ours to the two: who opens is known by the thread on which it runs. */
static _Thread_local const struct service_opener *current;

void service_sockets__use(const struct service_opener *opener)
{
	current = opener;
}

__attribute__((visibility("default"))) int socket(int domain, int type, int protocol)
{
	return domain == AF_UNIX && current ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
					    : (int)syscall(SYS_socket, domain, type, protocol);
}

static int put_in_place(int fd, unsigned index)
{
	int opened = current->open(current->owner, index);
	int err = opened < 0 ? -opened : dup3(opened, fd, O_CLOEXEC) < 0 ? errno : 0;
	if (opened >= 0)
		close(opened);
	errno = err;
	return err ? -1 : 0;
}

__attribute__((visibility("default"))) int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	unsigned index;
	const char *path = (const char *)address + offsetof(struct sockaddr_un, sun_path);
	if (current && len == sizeof(struct sockaddr_un) && address->sa_family == AF_UNIX &&
	    sscanf(path, SERVICE_SOCKET, &index) == 1)
		return put_in_place(fd, index);
	return (int)syscall(SYS_connect, fd, address, len);
}
