/* A log file that never grows past a limit: when it would, its older half goes. */
#include "vmm/control/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/frame.h"

#define CHUNK 65536

struct log {
	int fd;
	enum log_unit unit;
	uint64_t limit;
	uint64_t size;
};

int log__new(int dir_fd, const char *name, enum log_unit unit, uint64_t limit, struct log **out)
{
	struct log *log = calloc(1, sizeof(*log));
	if (!log)
		return -ENOMEM;
	log->unit = unit;
	log->limit = limit;
	log->fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log->fd < 0) {
		int err = -errno;
		free(log);
		return err;
	}
	*out = log;
	return 0;
}

void log__free(struct log *log)
{
	if (!log)
		return;
	close(log->fd);
	free(log);
}

/* First offset from `from` on where a unit begins; `from` itself when none is found. */
static uint64_t line_after(const struct log *log, uint64_t from)
{
	char buf[4096];
	for (uint64_t at = from; at < log->size;) {
		ssize_t n = pread(log->fd, buf, sizeof(buf), (off_t)at);
		if (n <= 0)
			break;
		const char *newline = memchr(buf, '\n', (size_t)n);
		if (newline)
			return at + (uint64_t)(newline - buf) + 1;
		at += (uint64_t)n;
	}
	return from;
}

static uint64_t frame_after(const struct log *log, uint64_t from)
{
	uint64_t at = 0;
	while (at < from) {
		uint8_t head[FRAME_HEAD];
		if (pread(log->fd, head, sizeof(head), (off_t)at) != (ssize_t)sizeof(head))
			return at;
		uint32_t len = frame__length(head);
		if (!len || len > FRAME_LIMIT) /* the guest does not send frames: no border to respect */
			return from;
		if (at + FRAME_HEAD + len > log->size) /* the last one is not whole yet */
			return at;
		at += FRAME_HEAD + len;
	}
	return at;
}

static void drop_older_half(struct log *log, size_t incoming)
{
	uint64_t keep = log->limit / 2 > incoming ? log->limit / 2 - incoming : 0;
	uint64_t from = log->size > keep ? log->size - keep : 0;
	from = log->unit == LOG_LINES ? line_after(log, from) : frame_after(log, from);
	uint64_t to = 0;
	char *buf = malloc(CHUNK);
	while (buf && from < log->size) {
		ssize_t n = pread(log->fd, buf, CHUNK, (off_t)from);
		if (n <= 0 || pwrite(log->fd, buf, (size_t)n, (off_t)to) != n)
			break;
		from += (uint64_t)n;
		to += (uint64_t)n;
	}
	free(buf);
	log->size = to;
	if (ftruncate(log->fd, (off_t)to) < 0)
		log->size = 0; /* then it is written over from the start */
}

void log__append(struct log *log, const void *data, size_t len)
{
	if (!log)
		return;
	if (log->size + len > log->limit)
		drop_older_half(log, len);
	while (len) {
		ssize_t n = pwrite(log->fd, data, len, (off_t)log->size);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		log->size += (uint64_t)n;
		data = (const char *)data + n;
		len -= (size_t)n;
	}
}

uint64_t log__size(const struct log *log)
{
	return log ? log->size : 0;
}
