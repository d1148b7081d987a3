/* disk_usage: how full a file system is and, where asked, what a directory and all below it take of it. */
#include <errno.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "agent/progress.h"
#include "tree/links.h"
#include "tree/walk.h"

enum {
	STEPS = 512, /* names a turn */
	BLOCK = 512, /* of st_blocks */
};

/* What every reader of numbers takes (RFC 7493): a file system of the guest's may claim more. */
#define MOST ((UINT64_C(1) << 53) - 1)

struct disk_usage {
	struct call call;
	struct statvfs status;
	struct walk walk;
	struct links links;
	struct progress progress;
	bool counts; /* the tree too */
	uint64_t bytes, entries;
};

static struct disk_usage *usage_of(struct call *call)
{
	return container_of(call, struct disk_usage, call);
}

static void put(struct writer *writer, const char *key, uint64_t count, uint64_t unit)
{
	uint64_t product;
	bool over = __builtin_mul_overflow(count, unit, &product) || product > MOST;
	writer__uint(writer, key, over ? MOST : product);
}

static uint64_t less(uint64_t all, uint64_t part)
{
	return part < all ? all - part : 0;
}

static void respond(struct disk_usage *usage)
{
	const struct statvfs *status = &usage->status;
	uint64_t unit = status->f_frsize ? status->f_frsize : status->f_bsize;
	struct writer out = call__respond(&usage->call);
	put(&out, "total", status->f_blocks, unit);
	put(&out, "used", less(status->f_blocks, status->f_bfree), unit);
	put(&out, "free", status->f_bavail, unit);
	put(&out, "inodes", status->f_files, 1);
	put(&out, "inodesUsed", less(status->f_files, status->f_ffree), 1);
	put(&out, "inodesFree", status->f_favail, 1);
	if (usage->counts) {
		put(&out, "treeBytes", usage->bytes, 1);
		put(&out, "treeEntries", usage->entries, 1);
	}
	call__finish(&usage->call, &out);
}

/* What a link leads to is meant. */
static int begin(struct disk_usage *usage, const char *path)
{
	char *whole = realpath(path, NULL);
	int err = 0;
	if (!whole || statvfs(whole, &usage->status))
		err = -errno;
	else if (usage->counts)
		err = walk__begin(&usage->walk, whole);
	free(whole);
	return err;
}

static void start(struct call *call, const CborValue *request)
{
	struct disk_usage *usage = usage_of(call);
	char path[PATH_MAX];
	if (call__take_path(call, request, "path", path) || call__take_bool(call, request, "tree", &usage->counts))
		return;
	int err = begin(usage, path);
	if (err)
		call__fail_at(call, err, path);
	else if (!usage->counts)
		respond(usage);
}

/* Count the name that the walk has come to. A file with several names counts once, as long as they can be remembered.
 */
static int count(struct disk_usage *usage, const struct stat *status)
{
	bool linked = !S_ISDIR(status->st_mode);
	usage->entries++;
	if (linked && links__find(&usage->links, status))
		return 0;
	usage->bytes += (uint64_t)status->st_blocks * BLOCK;
	return linked ? links__add(&usage->links, status, "") : 0;
}

/* One name more. Returns 1, 0 (that was all) or -errno. */
static int advance(struct disk_usage *usage)
{
	struct walk_step step;
	int found = walk__next(&usage->walk, &step);
	if (found <= 0 || step.kind == WALK_LEAVE)
		return walk__vanished(&usage->walk, found) ? 1 : found;
	/* another file system; files of an overlay have devices of their own, its directories one */
	if (step.kind == WALK_ENTER && step.status.st_dev != usage->walk.root.st_dev) {
		walk__skip(&usage->walk);
		return 1;
	}
	int err = count(usage, &step.status);
	return err ? err : 1;
}

static bool produce(struct call *call)
{
	struct disk_usage *usage = usage_of(call);
	int more = 1;
	for (int i = 0; i < STEPS && more > 0; i++)
		more = advance(usage);
	if (more < 0)
		call__fail_at(call, more, usage->walk.path.text);
	else if (more == 0)
		respond(usage);
	else
		progress__tell(&usage->progress, call, usage->entries, usage->bytes);
	return true;
}

static void event(struct call *call, struct span ev, const CborValue *message)
{
	(void)message;
	if (span__equals(ev, "abort"))
		call__give_up(call, usage_of(call)->walk.path.text);
}

static void release(struct call *call)
{
	struct disk_usage *usage = usage_of(call);
	walk__end(&usage->walk);
	links__free(&usage->links);
}

const struct operation operation__disk_usage = {
	.op = "disk_usage",
	.size = sizeof(struct disk_usage),
	.start = start,
	.event = event,
	.produce = produce,
	.release = release,
};
