/* list_tree: the names of all below a directory, in batches as the host takes them. */
#include <errno.h>
#include <string.h>

#include "agent/call.h"
#include "agent/entry.h"
#include "tree/walk.h"

enum {
	BATCH = 32768, /* bytes of entries in a frame, a longer one aside */
	STEPS = 512,   /* names a turn */
};

struct list_tree {
	struct call call;
	struct walk walk;
	uint64_t depth;       /* names of directories above what is told of, at most */
	struct buffer batch;  /* entries, as items of CBOR */
	uint64_t batch_count; /* of them */
	bool status;          /* tell of sizes, permissions and times, too */
	bool over;
};

static struct list_tree *tree_of(struct call *call)
{
	return container_of(call, struct list_tree, call);
}

static void start(struct call *call, const CborValue *request)
{
	struct list_tree *tree = tree_of(call);
	tree->depth = TREE_DEPTH;
	char path[PATH_MAX + 1];
	if (call__take_path(call, request, "path", path) || call__take_window(call, request) ||
	    call__take_uint(call, request, "depth", UINT32_MAX, &tree->depth) < 0 ||
	    call__take_bool(call, request, "status", &tree->status))
		return;
	memcpy(path + strlen(path), "/", 2); /* a link to a directory is one */
	int err = walk__begin(&tree->walk, path);
	if (!err && !S_ISDIR(tree->walk.root.st_mode))
		err = -ENOTDIR;
	if (err)
		call__fail_at(call, err, path);
}

static int put(struct list_tree *tree, const struct stat *status)
{
	const char *below = tree_path__below(&tree->walk.path);
	size_t length = strlen(below);
	if (length >= PATH_MAX)
		return -ENAMETOOLONG; /* no call takes it, and no window need hold it */
	struct writer out = writer__begin(&tree->batch);
	writer__open(&out, NULL);
	writer__name(&out, "path", below, length);
	if (tree->status)
		entry__put(&out, status);
	else
		writer__text(&out, "type", entry__type(status->st_mode));
	writer__close(&out);
	tree->batch_count++;
	return writer__end(&out);
}

/* One name more. Returns 0 or -errno. */
static int list_next(struct list_tree *tree)
{
	struct walk_step step;
	int found = walk__next(&tree->walk, &step);
	if (found <= 0) {
		tree->over = found == 0;
		return found;
	}
	bool is_root = tree->walk.path.length == tree->walk.path.root;
	if (step.kind == WALK_LEAVE || is_root)
		return 0;
	int err = put(tree, &step.status);
	if (step.kind == WALK_ENTER && (uint64_t)tree->walk.depth > tree->depth + 1)
		walk__skip(&tree->walk);
	return err;
}

static void send_batch(struct list_tree *tree)
{
	size_t length = buffer__pending(&tree->batch);
	call__tell_entries(&tree->call, tree->batch_count, buffer__head(&tree->batch), length);
	buffer__consume(&tree->batch, length);
	tree->batch_count = 0;
}

static bool produce(struct call *call)
{
	struct list_tree *tree = tree_of(call);
	size_t room = call__room(call), most = room < BATCH ? room : BATCH;
	int err = 0;
	if (!room)
		return false;
	for (int i = 0; i < STEPS && !tree->over && !err && buffer__pending(&tree->batch) < most; i++) {
		err = list_next(tree);
		if (walk__vanished(&tree->walk, err))
			err = 0;
	}
	if (err)
		call__fail_at(call, err, tree->walk.path.text);
	else if (tree->batch_count)
		send_batch(tree);
	else if (tree->over)
		call__succeed(call);
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
	struct list_tree *tree = tree_of(call);
	walk__end(&tree->walk);
	buffer__free(&tree->batch);
}

const struct operation operation__list_tree = {
	.op = "list_tree",
	.size = sizeof(struct list_tree),
	.start = start,
	.event = event,
	.produce = produce,
	.release = release,
};
