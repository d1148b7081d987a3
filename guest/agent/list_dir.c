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
	char path[PATH_MAX];
};

static void start(struct call *call, const CborValue *request)
{
	struct list_dir *list = container_of(call, struct list_dir, call);
	int fd;

	if (call__take_path(call, request, "path", list->path) || call__take_window(call, request))
		return;
	fd = open(list->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		list->directory = fdopendir(fd);
		if (!list->directory)
			close(fd);
	}
	if (!list->directory)
		call__fail_at(call, errno, list->path);
}

static void put_entry(struct writer *writer, const char *name, const struct stat *status)
{
	writer__map(writer, 1 + ENTRY_PAIRS);
	writer__text(writer, "name");
	writer__name(writer, name, strlen(name));
	entry__put(writer, status);
}

/* Put as many entries as fit into `writer`. Returns their count, or -errno. */
static int put_batch(struct list_dir *list, struct writer *writer)
{
	int count = 0;

	while (writer->limit - writer->at >= ENTRY) {
		struct dirent *entry;
		struct stat status;

		errno = 0;
		entry = readdir(list->directory);
		if (!entry)
			return errno ? -errno : count;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (fstatat(dirfd(list->directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW)) {
			if (errno == ENOENT)
				continue; /* removed meanwhile */
			return -errno;
		}
		put_entry(writer, entry->d_name, &status);
		count++;
	}
	return count;
}

static bool produce(struct call *call)
{
	struct list_dir *list = container_of(call, struct list_dir, call);
	size_t room = call__room(call);
	uint8_t entries[BATCH];
	struct writer batch = {.at = entries, .limit = entries + BATCH};
	int count;

	if (!room)
		return false;
	/* a window smaller than one entry lets one entry through */
	if (room < BATCH)
		batch.limit = entries + (room < ENTRY ? ENTRY : room);
	count = put_batch(list, &batch);
	if (count < 0) {
		call__fail_at(call, count, list->path);
		return true;
	}
	if (count == 0) {
		call__succeed(call);
		return true;
	}
	call__tell_entries(call, (uint64_t)count, entries, (size_t)(batch.at - entries));
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
}

const struct operation operation__list_dir = {
	.op = "list_dir",
	.size = sizeof(struct list_dir),
	.start = start,
	.event = event,
	.produce = produce,
	.release = release,
};
