/* read_file: a file, or a part of it, as data events. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/call.h"

struct read_file {
	struct call call;
	int fd;
	uint64_t sent, left; /* bytes */
	char path[PATH_MAX];
};

static void start(struct call *call, const CborValue *request)
{
	struct read_file *file = container_of(call, struct read_file, call);
	uint64_t offset = 0;
	file->fd = -1;
	file->left = UINT64_MAX;
	if (call__take_path(call, request, "path", file->path) || call__take_window(call, request))
		return;
	if (call__take_uint(call, request, "offset", INT64_MAX, &offset) < 0 ||
	    call__take_uint(call, request, "length", UINT64_MAX, &file->left) < 0)
		return;
	/* a fifo or terminal must not hold the agent up */
	file->fd = open(file->path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat status;
	if (file->fd < 0 || fstat(file->fd, &status)) {
		call__fail_at(call, errno, file->path);
		return;
	}
	if (S_ISDIR(status.st_mode)) {
		call__fail_at(call, EISDIR, file->path);
		return;
	}
	if (offset && lseek(file->fd, (off_t)offset, SEEK_SET) < 0)
		call__fail_at(call, errno, file->path);
}

static bool produce(struct call *call)
{
	struct read_file *file = container_of(call, struct read_file, call);
	size_t size = call__room(call);
	if (!size && file->left)
		return false;
	if (size > CHUNK)
		size = CHUNK;
	if (size > file->left)
		size = (size_t)file->left;
	struct writer out;
	uint8_t *payload = data_frame__begin(&out, &call->connection->out, call->id, "data", size);
	if (!payload) {
		call__break(call);
		return false;
	}
	ssize_t n = size ? read(file->fd, payload, size) : 0;
	if (n < 0) {
		if (errno == EINTR)
			return true;
		call__fail_at(call, errno, file->path);
	} else if (n == 0) {
		call__succeed_with(call, "size", file->sent);
	} else {
		data_frame__end(&out, (size_t)n);
		call->unacknowledged += (size_t)n;
		file->sent += (uint64_t)n;
		file->left -= (uint64_t)n;
	}
	return true;
}

static void event(struct call *call, struct span ev, const CborValue *message)
{
	(void)message;
	if (span__equals(ev, "abort"))
		call__give_up(call, container_of(call, struct read_file, call)->path);
}

static void release(struct call *call)
{
	struct read_file *file = container_of(call, struct read_file, call);
	if (file->fd >= 0)
		close(file->fd);
}

const struct operation operation__read_file = {
	.op = "read_file",
	.size = sizeof(struct read_file),
	.start = start,
	.event = event,
	.produce = produce,
	.release = release,
};
