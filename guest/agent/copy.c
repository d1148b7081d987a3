/* copy: a file, or a directory and all below it, to another place of the guest, in pieces between which other calls
 * have their turn. */
#include <errno.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "agent/progress.h"
#include "tree/links.h"
#include "tree/plant.h"
#include "tree/source.h"
#include "tree/walk.h"

enum {
	STEPS = 128,          /* a turn: names, and pieces of files */
	STEP_BYTES = 1 << 20, /* of all pieces of a turn */
	BLOCK = 65536,        /* bytes, where the kernel does not copy by itself */
};

struct copy {
	struct call call;
	struct walk walk;
	struct plant plant;
	struct links links;
	struct source source; /* the file under way; fd -1: none */
	struct stat status;   /* of it */
	struct progress progress;
	uint64_t entries, bytes;
};

static struct copy *copy_of(struct call *call)
{
	return container_of(call, struct copy, call);
}

static void start(struct call *call, const CborValue *request)
{
	struct copy *copy = copy_of(call);
	bool recursive = false;
	copy->source.fd = copy->plant.fd = copy->plant.levels[0].fd = -1;
	char path[PATH_MAX], to[PATH_MAX];
	if (call__take_path(call, request, "path", path) || call__take_path(call, request, "to", to) ||
	    call__take_bool(call, request, "recursive", &recursive))
		return;
	int err = walk__begin(&copy->walk, path);
	if (err) {
		call__fail_at(call, err, path);
		return;
	}
	if (S_ISDIR(copy->walk.root.st_mode) && !recursive) {
		call__fail_at(call, EISDIR, path);
		return;
	}
	err = plant__begin(&copy->plant, to);
	if (err)
		call__fail_at(call, err, to);
	else if (plant__is_within(&copy->plant, &copy->walk.root))
		call__fail(call, EINVAL, "%s to %s: that is the same, or a place in it", path, to);
}

static struct plant_attributes attributes_of(const struct stat *status)
{
	return (struct plant_attributes){
		.mode = status->st_mode & 07777,
		.has_owner = true,
		.user = status->st_uid,
		.group = status->st_gid,
		.mtime = status->st_mtim,
	};
}

/* Returns 0, -errno of the source, or 1 after call__fail about the target. */
static int planted(struct copy *copy, int err)
{
	if (!err)
		return 0;
	call__fail_at(&copy->call, err, copy->plant.path.text);
	return 1;
}

static int copy_symlink(struct copy *copy, const struct walk_step *step, const struct plant_attributes *attributes)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(step->at, step->name, target, sizeof(target) - 1);
	if (length < 0)
		return errno == EINVAL ? -ENOENT : -errno; /* no link any more */
	target[length] = '\0';
	return planted(copy, plant__symlink(&copy->plant, step->name, target, attributes));
}

/* Something other than a directory. Returns as planted. */
static int copy_leaf(struct copy *copy, struct walk_step *step)
{
	struct plant_attributes attributes = attributes_of(&step->status);
	if (S_ISLNK(step->status.st_mode))
		return copy_symlink(copy, step, &attributes);
	if (!S_ISREG(step->status.st_mode))
		return planted(copy, plant__node(&copy->plant, step->name, step->status.st_mode & S_IFMT,
						 step->status.st_rdev, &attributes));
	const char *first = links__find(&copy->links, &step->status);
	if (first)
		return planted(copy, plant__link(&copy->plant, step->name, first));
	int err = source__open(&copy->source, step->at, step->name, &copy->status);
	if (err)
		return err;
	attributes = attributes_of(&copy->status);
	return planted(copy, plant__open(&copy->plant, step->name, &attributes));
}

/* As many bytes of the file under way as one call gives. Returns the count, 0 at the end, or -errno. */
static ssize_t copy_bytes(struct copy *copy, size_t length)
{
	struct source *source = &copy->source;
	off_t from = source->at;
	if (lseek(copy->plant.fd, source->at, SEEK_SET) < 0)
		return -errno;
	ssize_t n = sendfile(copy->plant.fd, source->fd, &from, length);
	if (n >= 0 || errno != EINVAL)
		return n < 0 ? -errno : n;
	uint8_t block[BLOCK];
	/* files of /proc and some file systems */
	n = pread(source->fd, block, length < BLOCK ? length : BLOCK, source->at);
	if (n > 0)
		n = write(copy->plant.fd, block, (size_t)n);
	return n < 0 ? -errno : n;
}

/* A piece of the file under way. Returns as planted. */
static int copy_data(struct copy *copy)
{
	struct source *source = &copy->source;
	off_t length = 0;
	ssize_t n = 0;
	int kind = source__next(source, &length);
	if (kind < 0)
		return kind;
	if (kind == SOURCE_HOLE) {
		source->at += length;
		return planted(copy, plant__skip(&copy->plant, (uint64_t)length));
	}
	int err;
	if (kind == SOURCE_DATA) {
		if (length > STEP_BYTES)
			length = STEP_BYTES;
		n = copy_bytes(copy, (size_t)length);
		if (n < 0)
			return n == -EINTR ? 0 : planted(copy, (int)n);
		source->at += n;
		copy->bytes += (uint64_t)n;
		err = plant__skip(&copy->plant, (uint64_t)n);
		if (n > 0 || err)
			return planted(copy, err);
	}
	err = plant__close(&copy->plant);
	if (!err)
		err = links__add(&copy->links, &copy->status, tree_path__below(&copy->walk.path));
	source__close(source);
	return planted(copy, err);
}

/* Returns as planted, or 2 after the last. */
static int copy_next(struct copy *copy)
{
	struct walk_step step;
	int found = walk__next(&copy->walk, &step);
	if (found <= 0)
		return found < 0 ? found : 2;
	copy->entries += step.kind != WALK_LEAVE;
	if (step.kind == WALK_LEAF)
		return copy_leaf(copy, &step);
	if (step.kind == WALK_LEAVE)
		return planted(copy, plant__leave(&copy->plant));
	struct plant_attributes attributes = attributes_of(&step.status);
	return planted(copy, plant__enter(&copy->plant, step.name, &attributes));
}

static bool produce(struct call *call)
{
	struct copy *copy = copy_of(call);
	uint64_t enough = copy->bytes + STEP_BYTES;
	for (int i = 0; i < STEPS && copy->bytes < enough; i++) {
		bool in_file = copy->source.fd >= 0;
		int done = in_file ? copy_data(copy) : copy_next(copy);
		if (done == 0 || (done < 0 && !in_file && walk__vanished(&copy->walk, done)))
			continue;
		if (done == 2)
			call__succeed(call);
		else if (done < 0)
			call__fail_at(call, done, copy->walk.path.text);
		return true;
	}
	progress__tell(&copy->progress, call, copy->entries, copy->bytes);
	return true;
}

static void event(struct call *call, struct span ev, const CborValue *message)
{
	(void)message;
	if (span__equals(ev, "abort"))
		call__give_up(call, copy_of(call)->walk.path.text);
}

static void release(struct call *call)
{
	struct copy *copy = copy_of(call);
	source__close(&copy->source);
	walk__end(&copy->walk);
	plant__end(&copy->plant);
	links__free(&copy->links);
}

const struct operation operation__copy = {
	.op = "copy",
	.size = sizeof(struct copy),
	.start = start,
	.event = event,
	.produce = produce,
	.release = release,
};
