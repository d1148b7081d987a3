/* list_dir: the entries of a directory, in batches as the host takes them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/call.h"
#include "agent/entry.h"

enum {
	BATCH = 32768,             /* bytes of entries in a frame */
	ENTRY = 5 * 16 + 256 + 40, /* more than any entry takes: keys, name, numbers */
};

struct list_dir {
	struct call call;
	DIR *directory;
	struct buffer batch; /* entries, as items of CBOR */
	char path[PATH_MAX];
};

static void start(struct call *call, const CborValue *request)
{
	struct list_dir *list = container_of(call, struct list_dir, call);
	if (call__take_path(call, request, "path", list->path) || call__take_window(call, request))
		return;
	int fd = open(list->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		list->directory = fdopendir(fd);
		if (!list->directory)
			close(fd);
	}
	if (!list->directory)
		call__fail_at(call, errno, list->path);
}

static int put_entry(struct list_dir *list, const char *name, const struct stat *status)
{
	struct writer out = writer__begin(&list->batch);
	writer__open(&out, NULL);
	writer__name(&out, "name", name, strlen(name));
	entry__put(&out, status);
	writer__close(&out);
	return writer__end(&out);
}

/* Put as many entries as fit into `room` bytes. Returns their count, or -errno. */
static int put_batch(struct list_dir *list, size_t room)
{
	int count = 0;
	while (buffer__pending(&list->batch) + ENTRY <= room) {
		errno = 0;
		const struct dirent *entry = readdir(list->directory);
		if (!entry)
			return errno ? -errno : count;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		struct stat status;
		if (fstatat(dirfd(list->directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW)) {
			if (errno == ENOENT)
				continue; /* removed meanwhile */
			return -errno;
		}
		int err = put_entry(list, entry->d_name, &status);
		if (err)
			return err;
		count++;
	}
	return count;
}

static bool produce(struct call *call)
{
	struct list_dir *list = container_of(call, struct list_dir, call);
	size_t room = call__room(call);
	if (!room)
		return false;
	/* a window smaller than one entry lets one entry through */
	int count = put_batch(list, room > BATCH ? BATCH : room < ENTRY ? ENTRY : room);
	if (count < 0) {
		call__fail_at(call, count, list->path);
	} else if (count == 0) {
		call__succeed(call);
	} else {
		size_t length = buffer__pending(&list->batch);
		call__tell_entries(call, (uint64_t)count, buffer__head(&list->batch), length);
		buffer__consume(&list->batch, length);
	}
	return true;
}

static void event(struct call *call, struct span ev, const CborValue *message)
{
	(void)message;
	if (span__equals(ev, "abort"))
		call__give_up(call, container_of(call, struct list_dir, call)->path);
}

static void release(struct call *call)
{
	struct list_dir *list = container_of(call, struct list_dir, call);
	if (list->directory)
		closedir(list->directory);
	buffer__free(&list->batch);
}

const struct operation operation__list_dir = {
	.op = "list_dir",
	.size = sizeof(struct list_dir),
	.start = start,
	.event = event,
	.produce = produce,
	.release = release,
};
