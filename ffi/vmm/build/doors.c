/* Doors: a request is a kind and a number, an answer an errno and, if that is 0, a descriptor. */
#include "vmm/build/doors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/config.h"
#include "os/pass.h"
#include "os/socket.h"
#include "virtio/vsock/ports.h"

struct request {
	uint32_t door, number;
};

int doors__pair(int ends[2])
{
	return socket__pair(SOCK_SEQPACKET, true, ends);
}

/* The side of the VMM */

static int receive(int from)
{
	int32_t error = 0;
	int fd;
	if (pass__receive(from, &error, sizeof(error), &fd) == (ssize_t)sizeof(error))
		return error ? -error : fd >= 0 ? fd : -EMFILE; /* it was sent, and there is no room for it here */
	if (fd >= 0)
		close(fd);
	return -ECONNRESET;
}

int doors__open(struct doors *doors, enum door door, uint32_t number)
{
	const struct request request = {(uint32_t)door, number};
	pthread_mutex_lock(&doors->lock);
	int fd = send(doors->fd, &request, sizeof(request), MSG_NOSIGNAL) == (ssize_t)sizeof(request)
			 ? receive(doors->fd)
			 : -ECONNRESET;
	pthread_mutex_unlock(&doors->lock);
	return fd;
}

/* The side that opens */

static int open_own_dir(const struct vmm_config *config)
{
	int top = open(config->runtime_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int dir = top < 0 ? -1 : openat(top, VMM_DIR, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int err = dir < 0 ? -errno : 0;
	if (top >= 0)
		close(top);
	return err ? err : dir;
}

static int open_port(const struct vmm_config *config, bool listens, uint32_t port)
{
	int dir = open_own_dir(config);
	if (dir < 0)
		return dir;
	int fd = listens ? vsock_ports__listen(dir, port) : vsock_ports__connect(dir, port);
	close(dir);
	return fd;
}

/* It lies where the VMM may write, too: what has its name by now must be a socket, and no link to one. Its directory is
 * no link either. */
static int open_service(const struct vmm_config *config, uint32_t index)
{
	const struct services *services =
		&((const struct nat_options *)vmm_config__told(config, &device_net))->services;
	const char *path = index < services->count ? services->at[index].socket : NULL;
	const char *name = path ? strrchr(path, '/') : NULL;
	if (!name)
		return -ENOENT;
	char parent[CONFIG_MAX_RUNTIME_DIR + 64];
	if ((size_t)snprintf(parent, sizeof(parent), "%.*s", (int)(name - path), path) >= sizeof(parent))
		return -ENAMETOOLONG;
	int dir = open(*parent ? parent : "/", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	int fd = vsock_ports__connect_name(dir, name + 1);
	close(dir);
	return fd;
}

static int open_resolv_conf(void)
{
	struct stat status;
	int fd = open("/etc/resolv.conf", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)))
		return fd < 0 ? -errno : fd;
	close(fd);
	return -EINVAL;
}

static int open_door(const struct vmm_config *config, const struct request *request)
{
	switch (request->door) {
	case DOOR_HOST_PORT:
	case DOOR_GUEST_PORT:
		return open_port(config, request->door == DOOR_GUEST_PORT, request->number);
	case DOOR_SERVICE:
		return open_service(config, request->number);
	case DOOR_RESOLV_CONF:
		return open_resolv_conf();
	default:
		return -EINVAL;
	}
}

static bool answer(int to, int fd)
{
	int32_t error = fd < 0 ? -fd : 0;
	/* one that asks and takes no answers is not waited for: it has been taken over */
	bool sent = pass__send(to, &error, sizeof(error), fd, false);
	if (fd >= 0)
		close(fd);
	return sent;
}

bool doors__serve(int fd, const struct vmm_config *config)
{
	struct request request;
	ssize_t n = recv(fd, &request, sizeof(request), MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	return n == (ssize_t)sizeof(request) && answer(fd, open_door(config, &request));
}
