/* A regular file as a sequence of data and holes (lseek(2), SEEK_DATA). */
#include "tree/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

int source__open(struct source *source, int at, const char *name, struct stat *status)
{
	int err = 0;
	*source = (struct source){.fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
	if (source->fd < 0)
		return errno == ENXIO ? -ENOENT : -errno; /* a socket by now */
	if (fstat(source->fd, status))
		err = -errno;
	else if (!S_ISREG(status->st_mode))
		err = -ENOENT;
	if (err)
		source__close(source);
	source->size = status->st_size;
	return err;
}

/* Where the data at or after source->at begins and ends. Returns 0 or -errno. */
static int look(struct source *source)
{
	off_t data = lseek(source->fd, source->at, SEEK_DATA);
	if (data == source->at) {
		off_t hole = lseek(source->fd, data, SEEK_HOLE);
		source->kind = SOURCE_DATA;
		source->known_to = hole > data ? hole : INT64_MAX;
	} else if (data > source->at) {
		source->kind = SOURCE_HOLE;
		source->known_to = data;
	} else if (errno == ENXIO) {
		source->kind = source->at < source->size ? SOURCE_HOLE : SOURCE_END;
		source->known_to = source->size;
	} else if (errno == EINVAL || errno == EOPNOTSUPP || errno == ENOTTY || errno == ESPIPE) {
		source->kind = SOURCE_DATA; /* a file system that does not tell */
		source->known_to = INT64_MAX;
	} else {
		return -errno;
	}
	return 0;
}

int source__next(struct source *source, off_t *length)
{
	int err = 0;
	if (source->size == 0) {
		/* files of /proc say so, and still have something to be read */
		source->kind = SOURCE_DATA;
		source->known_to = INT64_MAX;
	} else if (source->at >= source->known_to) {
		err = look(source);
	}
	if (err)
		return err;
	*length = source->known_to - source->at;
	return source->kind;
}

void source__close(struct source *source)
{
	if (source->fd >= 0)
		close(source->fd);
	source->fd = -1;
}
