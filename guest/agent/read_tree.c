/* read_tree: a file, or a directory and all below it, as a stream of records (tree, in protocol.cddl). */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/call.h"
#include "agent/entry.h"
#include "tree/links.h"
#include "tree/source.h"
#include "tree/walk.h"

enum {
	STEPS = 256,    /* a turn: names, and pieces of files */
	PIECE = 131072, /* bytes of a file in one record */
};

struct read_tree {
	struct call call;
	struct walk walk;
	struct links links;
	struct source source;  /* the file under way; fd -1: none */
	struct stat status;    /* of it */
	struct buffer records; /* made, and not sent yet */
	bool over;             /* nothing more will be made */
	uint64_t sent;         /* bytes */
};

static struct read_tree *tree_of(struct call *call)
{
	return container_of(call, struct read_tree, call);
}

static void start(struct call *call, const CborValue *request)
{
	struct read_tree *tree = tree_of(call);
	tree->source.fd = -1;
	char path[PATH_MAX];
	if (call__take_path(call, request, "path", path) || call__take_window(call, request))
		return;
	int err = walk__begin(&tree->walk, path);
	if (err)
		call__fail_at(call, err, path);
	else if (!S_ISREG(tree->walk.root.st_mode) && !S_ISDIR(tree->walk.root.st_mode) &&
		 !S_ISLNK(tree->walk.root.st_mode))
		call__fail(call, EINVAL, "%s: neither a file nor a directory", path);
}

/* Nanoseconds since 1970, as far as 64 bits tell them. */
static int64_t nanoseconds(struct timespec time)
{
	int64_t all;
	if (__builtin_mul_overflow((int64_t)time.tv_sec, INT64_C(1000000000), &all) ||
	    __builtin_add_overflow(all, (int64_t)time.tv_nsec, &all))
		return time.tv_sec < 0 ? INT64_MIN : INT64_MAX;
	return all;
}

/* Begin a record of the name that the walk has come to. */
static struct writer begin(struct read_tree *tree, const char *ev)
{
	const char *name = tree_path__name(&tree->walk.path);
	struct writer out = frame__begin(&tree->records);
	writer__text(&out, "ev", ev);
	if (tree->walk.path.length != tree->walk.path.root)
		writer__name(&out, "name", name, strlen(name));
	return out;
}

static int put_name(struct read_tree *tree, const struct stat *status)
{
	struct writer out = begin(tree, entry__type(status->st_mode));
	writer__uint(&out, "mode", status->st_mode & 07777);
	writer__int(&out, "mtimeNs", nanoseconds(status->st_mtim));
	return frame__end(&out);
}

static int put_symlink(struct read_tree *tree, const struct walk_step *step)
{
	char target[PATH_MAX];
	ssize_t length = readlinkat(step->at, step->name, target, sizeof(target));
	if (length < 0)
		return errno == EINVAL ? -ENOENT : -errno; /* no link any more */
	struct writer out = begin(tree, "symlink");
	writer__int(&out, "mtimeNs", nanoseconds(step->status.st_mtim));
	writer__name(&out, "target", target, (size_t)length);
	return frame__end(&out);
}

static int put_link(struct read_tree *tree, const char *first)
{
	struct writer out = begin(tree, "link");
	writer__name(&out, "target", first, strlen(first));
	return frame__end(&out);
}

static int put_end(struct read_tree *tree)
{
	struct writer out = frame__begin(&tree->records);
	writer__text(&out, "ev", "end");
	return frame__end(&out);
}

static int put_hole(struct read_tree *tree, off_t length)
{
	struct writer out = frame__begin(&tree->records);
	writer__text(&out, "ev", "hole");
	writer__uint(&out, "size", (uint64_t)length);
	return frame__end(&out);
}

static int put_leaf(struct read_tree *tree, const struct walk_step *step)
{
	if (S_ISLNK(step->status.st_mode))
		return put_symlink(tree, step);
	if (!S_ISREG(step->status.st_mode))
		return put_name(tree, &step->status);
	const char *first = links__find(&tree->links, &step->status);
	if (first)
		return put_link(tree, first);
	int err = source__open(&tree->source, step->at, step->name, &tree->status);
	return err ? err : put_name(tree, &tree->status);
}

/* A piece of the file under way. Returns 0 or -errno. */
static int put_data(struct read_tree *tree)
{
	struct source *source = &tree->source;
	off_t length = 0;
	int kind = source__next(source, &length);
	if (kind < 0)
		return kind;
	if (kind == SOURCE_HOLE) {
		source->at += length;
		return put_hole(tree, length);
	}
	struct writer out;
	uint8_t *room;
	ssize_t n;
	if (kind == SOURCE_DATA) {
		if (length > PIECE)
			length = PIECE;
		room = data_frame__begin(&out, &tree->records, 0, "data", (size_t)length);
		if (!room)
			return -ENOMEM;
		n = pread(source->fd, room, (size_t)length, source->at);
		if (n < 0)
			return errno == EINTR ? 0 : -errno;
		if (n > 0) {
			data_frame__end(&out, (size_t)n);
			source->at += n;
			return 0;
		}
	}
	source__close(source);
	int err = links__add(&tree->links, &tree->status, tree_path__below(&tree->walk.path));
	return err ? err : put_end(tree);
}

static int put_next(struct read_tree *tree)
{
	struct walk_step step;
	int found = walk__next(&tree->walk, &step);
	if (found <= 0) {
		tree->over = found == 0;
		return found;
	}
	if (step.kind == WALK_LEAF)
		return put_leaf(tree, &step);
	return step.kind == WALK_LEAVE ? put_end(tree) : put_name(tree, &step.status);
}

/* Make records for `size` bytes, or as many as a turn gives. Returns 0 or -errno. */
static int fill(struct read_tree *tree, size_t size)
{
	for (int i = 0; i < STEPS && !tree->over && buffer__pending(&tree->records) < size; i++) {
		bool in_file = tree->source.fd >= 0;
		int err = in_file ? put_data(tree) : put_next(tree);
		if (err && (in_file || !walk__vanished(&tree->walk, err)))
			return err;
	}
	return 0;
}

static bool produce(struct call *call)
{
	struct read_tree *tree = tree_of(call);
	size_t size = call__room(call);
	if (!size && !(tree->over && !buffer__pending(&tree->records)))
		return false;
	if (size > CHUNK)
		size = CHUNK;
	int err = fill(tree, size);
	if (err) {
		call__fail_at(call, err, tree->walk.path.text);
		return true;
	}
	if (size > buffer__pending(&tree->records))
		size = buffer__pending(&tree->records);
	if (!size) {
		if (tree->over)
			call__succeed_with(call, "size", tree->sent);
		return true;
	}
	struct writer out;
	uint8_t *payload = data_frame__begin(&out, &call->connection->out, call->id, "data", size);
	if (!payload) {
		call__break(call);
		return false;
	}
	memcpy(payload, buffer__head(&tree->records), size);
	data_frame__end(&out, size);
	buffer__consume(&tree->records, size);
	call->unacknowledged += size;
	tree->sent += size;
	return true;
}

static void event(struct call *call, struct span ev, const CborValue *message)
{
	(void)message;
	if (span__equals(ev, "abort"))
		call__give_up(call, tree_of(call)->walk.path.text);
}

static void release(struct call *call)
{
	struct read_tree *tree = tree_of(call);
	source__close(&tree->source);
	walk__end(&tree->walk);
	links__free(&tree->links);
	buffer__free(&tree->records);
}

const struct operation operation__read_tree = {
	.op = "read_tree",
	.size = sizeof(struct read_tree),
	.start = start,
	.event = event,
	.produce = produce,
	.release = release,
};
