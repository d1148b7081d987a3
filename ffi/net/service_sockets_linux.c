/*
 * libslirp connects a stream of the guest to a service by socket(2) and connect(2), and a confined VMM makes no Unix
 * sockets. So this program defines both, which comes before the C library's definitions for libslirp as well: a Unix
 * socket is a placeholder, and connecting puts the opened stream into its place. The same becomes of a socket that
 * would connect to the guest's name server. All else is the kernel's.
 */
#include "net/service_sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/bell.h"
#include "os/socket.h"

#define DNS_PORT 53

/* libslirp passes nothing of ours to the two: who opens is known by the thread on which it runs. */
static _Thread_local const struct service_opener *current;

void service_sockets__use(const struct service_opener *opener)
{
	current = opener;
}

__attribute__((visibility("default"))) int socket(int domain, int type, int protocol)
{
	if (domain != AF_UNIX || !current)
		return (int)syscall(SYS_socket, domain, type, protocol);
	int placeholder = bell__new();
	if (placeholder < 0)
		errno = -placeholder;
	return placeholder < 0 ? -1 : placeholder;
}

static int put_in_place(int fd, int opened)
{
	int err = opened < 0 ? opened : descriptor__replace(fd, opened);
	if (opened >= 0)
		close(opened);
	errno = -err;
	return err ? -1 : 0;
}

/* The guest's, which is nobody's in this machine's network, or another's. */
static bool is_name_server(const struct sockaddr *address, socklen_t len)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)address;
	return len >= sizeof(*in) && address->sa_family == AF_INET && in->sin_port == htons(DNS_PORT) &&
	       in->sin_addr.s_addr == current->names.s_addr;
}

__attribute__((visibility("default"))) int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	unsigned index;
	const char *path = (const char *)address + offsetof(struct sockaddr_un, sun_path);
	if (current && is_name_server(address, len))
		return put_in_place(fd, current->open_names(current->names_owner));
	if (current && len == sizeof(struct sockaddr_un) && address->sa_family == AF_UNIX &&
	    sscanf(path, SERVICE_SOCKET, &index) == 1)
		return put_in_place(fd, current->open(current->owner, index));
	return (int)syscall(SYS_connect, fd, address, len);
}
