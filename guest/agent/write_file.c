/* write_file: a file received in pieces, put in place in one step when it is whole; or pieces written into a file where
 * it stands, at an offset or at its end. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/call.h"
#include "process/directories.h"

struct write_file {
	struct call call;
	int fd;                   /* of the temporary file, or with in_place of the target; -1: there is none */
	char *target;             /* the path, its links resolved when it names a file */
	char temporary[PATH_MAX]; /* beside target */
	bool has_mode, exists, in_place;
	mode_t mode;
	uid_t user; /* of the existing file */
	gid_t group;
	uint64_t size; /* bytes written */
};

static struct write_file *file_of(struct call *call)
{
	return container_of(call, struct write_file, call);
}

/* Create the temporary file. Returns 0 or an errno. */
static int create(struct write_file *file)
{
	static unsigned serial;
	size_t directory = (size_t)(strrchr(file->target, '/') - file->target) + 1;
	for (int attempt = 0; attempt < 100; attempt++) {
		int length = snprintf(file->temporary, sizeof(file->temporary), "%.*s.capsa-%d-%u", (int)directory,
				      file->target, (int)getpid(), serial++);
		if (length >= (int)sizeof(file->temporary))
			return ENAMETOOLONG;
		file->fd = open(file->temporary, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (file->fd >= 0)
			return 0;
		if (errno != EEXIST)
			return errno;
	}
	return EEXIST;
}

/* Open the target itself, to go on at `offset` or at its end. Returns 0 or an errno. */
static int open_in_place(struct write_file *file, bool append, uint64_t offset)
{
	int flags = O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | (append ? O_APPEND : 0);
	file->fd = open(file->target, flags, 0600);
	if (file->fd < 0 || (offset && lseek(file->fd, (off_t)offset, SEEK_SET) < 0))
		return errno;
	return (file->has_mode || !file->exists) && fchmod(file->fd, file->mode) ? errno : 0;
}

static void start(struct call *call, const CborValue *request)
{
	struct write_file *file = file_of(call);
	uint64_t offset = 0;
	bool parents = false, append = false;
	file->fd = -1;
	file->mode = 0644;
	char path[PATH_MAX];
	if (call__take_path(call, request, "path", path) || call__take_window(call, request))
		return;
	int found = call__take_mode(call, request, &file->mode);
	if (found < 0 || call__take_bool(call, request, "parents", &parents) ||
	    call__take_bool(call, request, "append", &append))
		return;
	file->has_mode = found == 1;
	found = call__take_uint(call, request, "offset", INT64_MAX, &offset);
	if (found < 0)
		return;
	if (found && append) {
		call__refuse(call, "offset");
		return;
	}
	file->in_place = found || append;
	int err = parents ? -directories__make_above(path) : 0;
	if (err) {
		call__fail_at(call, err, path);
		return;
	}
	file->target = realpath(path, NULL);
	if (!file->target)
		file->target = strdup(path);
	if (!file->target) {
		call__fail_at(call, ENOMEM, path);
		return;
	}
	struct stat status;
	file->exists = stat(file->target, &status) == 0;
	if (file->exists && !S_ISREG(status.st_mode)) {
		err = S_ISDIR(status.st_mode) ? EISDIR : EINVAL;
		call__fail(call, err, "%s: %s", path, err == EINVAL ? "not a regular file" : strerror(err));
		return;
	}
	if (file->exists) {
		file->user = status.st_uid;
		file->group = status.st_gid;
		if (!file->has_mode)
			file->mode = status.st_mode & 07777;
	}
	if (path[strlen(path) - 1] == '/')
		err = EISDIR;
	else
		err = file->in_place ? open_in_place(file, append, offset) : create(file);
	if (err)
		call__fail_at(call, err, path);
}

static void take_data(struct write_file *file, struct span data)
{
	size_t written = 0;
	while (written < data.length) {
		ssize_t n = write(file->fd, data.at + written, data.length - written);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			call__fail_at(&file->call, errno, file->target);
			return;
		}
		written += (size_t)n;
	}
	file->size += written;
	call__credit(&file->call, written);
}

/* A mount point cannot be renamed over: write through to the file that is mounted there. Returns 0 or an errno. */
static int write_through(struct write_file *file)
{
	int out = open(file->target, O_WRONLY | O_TRUNC | O_CLOEXEC);
	off_t offset = 0;
	ssize_t n = 1;
	if (out < 0)
		return errno;
	while (n > 0 && (uint64_t)offset < file->size)
		n = sendfile(out, file->fd, &offset, 1 << 20);
	int err = n < 0 ? errno : 0;
	if (!err && file->has_mode && fchmod(out, file->mode))
		err = errno;
	if (close(out) && !err)
		err = errno;
	return err;
}

/* Put the whole file in place. Returns 0 or an errno. */
static int commit(struct write_file *file)
{
	if (file->in_place)
		return 0;
	/* the owner stays where that is permitted; the mode comes after it, as chown clears set-id bits */
	if (file->exists && (file->user != geteuid() || file->group != getegid()) &&
	    fchown(file->fd, file->user, file->group) && errno != EPERM)
		return errno;
	if (fchmod(file->fd, file->mode))
		return errno;
	if (rename(file->temporary, file->target) == 0) {
		close(file->fd);
		file->fd = -1;
		return 0;
	}
	return errno == EBUSY && file->exists ? write_through(file) : errno;
}

static void event(struct call *call, struct span ev, const CborValue *message)
{
	struct write_file *file = file_of(call);
	struct span data;
	int err;
	if (span__equals(ev, "data")) {
		if (reader__bytes(message, "data", &data) != 1)
			call__refuse(call, "data");
		else
			take_data(file, data);
	} else if (span__equals(ev, "end")) {
		err = commit(file);
		if (err)
			call__fail_at(call, err, file->target);
		else
			call__succeed_with(call, "size", file->size);
	} else if (span__equals(ev, "abort")) {
		call__give_up(call, file->target);
	}
}

static void release(struct call *call)
{
	struct write_file *file = file_of(call);
	if (file->fd >= 0) {
		close(file->fd);
		if (!file->in_place)
			unlink(file->temporary);
	}
	free(file->target);
}

const struct operation operation__write_file = {
	.op = "write_file",
	.size = sizeof(struct write_file),
	.start = start,
	.event = event,
	.release = release,
};
