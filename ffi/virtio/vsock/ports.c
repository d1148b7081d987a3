/* The Unix sockets that stand for vsock ports: each is addressed by way of a descriptor, so that no path is followed.
 */
#include "virtio/vsock/ports.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/socket.h"

#define NAME_MAX_LEN 32

/* `at`: a descriptor of the socket's own. */
static int connect_at(int at)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stat status;
	if (fstat(at, &status) < 0)
		return -errno;
	if (!S_ISSOCK(status.st_mode))
		return -ECONNREFUSED;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", at);
	int fd = socket__new(AF_UNIX, SOCK_STREAM, 0, false);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	int err = -errno;
	close(fd);
	return err;
}

int vsock_ports__connect_name(int dir, const char *name)
{
	int at = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (at < 0)
		return -errno;
	int fd = connect_at(at);
	close(at);
	return fd;
}

int vsock_ports__connect(int dir, uint32_t port)
{
	char name[NAME_MAX_LEN];
	snprintf(name, sizeof(name), "host-%u.sock", port);
	return vsock_ports__connect_name(dir, name);
}

int vsock_ports__listen(int dir, uint32_t port)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%u.sock", dir, port);
	int fd = socket__new(AF_UNIX, SOCK_STREAM, 0, false);
	if (fd < 0)
		return fd;
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
		int err = -errno;
		close(fd);
		return err;
	}
	if (listen(fd, SOMAXCONN) == 0)
		return fd;
	int err = -errno;
	close(fd);
	vsock_ports__remove(dir, port);
	return err;
}

void vsock_ports__remove(int dir, uint32_t port)
{
	char name[NAME_MAX_LEN];
	snprintf(name, sizeof(name), "%u.sock", port);
	unlinkat(dir, name, 0);
}
