/* write_tree: a stream of records (tree, in protocol.cddl) made into a file, or a directory and all below it. */
#include <errno.h>
#include <string.h>

#include "agent/call.h"
#include "process/directories.h"
#include "tree/plant.h"

struct write_tree {
	struct call call;
	struct plant plant;
	struct plant_attributes attributes; /* the owner of all */
	struct buffer records;              /* received, and not whole yet */
	bool begun;                         /* the root was told of */
	uint64_t size;                      /* bytes received */
};

static struct write_tree *tree_of(struct call *call)
{
	return container_of(call, struct write_tree, call);
}

static void start(struct call *call, const CborValue *request)
{
	struct write_tree *tree = tree_of(call);
	bool parents = false;
	uint64_t user = UINT32_MAX, group = UINT32_MAX; /* -1: as it is */
	tree->plant.fd = tree->plant.levels[0].fd = -1;
	char path[PATH_MAX];
	if (call__take_path(call, request, "path", path) || call__take_window(call, request) ||
	    call__take_bool(call, request, "parents", &parents))
		return;
	int has_user = call__take_uint(call, request, "user", UINT32_MAX - 1, &user);
	if (has_user < 0)
		return;
	int has_group = call__take_uint(call, request, "group", UINT32_MAX - 1, &group);
	if (has_group < 0)
		return;
	tree->attributes.has_owner = has_user || has_group;
	tree->attributes.user = (uid_t)user;
	tree->attributes.group = (gid_t)group;
	for (size_t end = strlen(path); end > 1 && path[end - 1] == '/'; end--)
		path[end - 1] = '\0';
	int err = parents ? directories__make_above(path) : 0;
	if (!err)
		err = plant__begin(&tree->plant, path);
	if (err)
		call__fail_at(call, err, path);
}

/* A name that a directory can hold, terminated. Returns 0 or -EPROTO. */
static int take_name(const CborValue *record, char name[NAME_MAX + 1])
{
	struct span span;
	if (reader__string(record, "name", &span) != 1 || !span.length || span.length > NAME_MAX ||
	    memchr(span.at, '/', span.length) || memchr(span.at, 0, span.length) || span__equals(span, ".") ||
	    span__equals(span, ".."))
		return -EPROTO;
	memcpy(name, span.at, span.length);
	name[span.length] = '\0';
	return 0;
}

static int take_target(const CborValue *record, char target[PATH_MAX])
{
	struct span span;
	if (reader__string(record, "target", &span) != 1 || !span.length || span.length >= PATH_MAX ||
	    memchr(span.at, 0, span.length))
		return -EPROTO;
	memcpy(target, span.at, span.length);
	target[span.length] = '\0';
	return 0;
}

static int take_attributes(const CborValue *record, struct plant_attributes *attributes)
{
	uint64_t mode = 0;
	int64_t ns = 0;
	if (reader__uint(record, "mode", &mode) < 0 || mode > 07777 || reader__int(record, "mtimeNs", &ns) != 1)
		return -EPROTO;
	attributes->mode = (mode_t)mode;
	attributes->mtime.tv_sec = ns / 1000000000;
	attributes->mtime.tv_nsec = ns % 1000000000;
	if (attributes->mtime.tv_nsec < 0) {
		attributes->mtime.tv_sec--;
		attributes->mtime.tv_nsec += 1000000000;
	}
	return 0;
}

/* Inside of a file. Returns 0 or -errno; -EPROTO for a record that is not as it should be. */
static int take_contents(struct write_tree *tree, struct span ev, const CborValue *record)
{
	struct plant *plant = &tree->plant;
	struct span data;
	uint64_t size = 0;
	if (span__equals(ev, "data"))
		return reader__bytes(record, "data", &data) == 1 ? plant__write(plant, data.at, data.length) : -EPROTO;
	if (span__equals(ev, "hole"))
		return reader__uint(record, "size", &size) == 1 ? plant__skip(plant, size) : -EPROTO;
	return span__equals(ev, "end") ? plant__close(plant) : -EPROTO;
}

/* Something with a name. Returns 0 or -errno. */
static int take_named(struct write_tree *tree, struct span ev, const CborValue *record)
{
	struct plant *plant = &tree->plant;
	struct plant_attributes attributes = tree->attributes;
	char name[NAME_MAX + 1] = "";
	if (tree->begun ? !plant->depth || take_name(record, name) : false)
		return -EPROTO;
	tree->begun = true;
	char target[PATH_MAX];
	if (span__equals(ev, "link"))
		return take_target(record, target) ? -EPROTO : plant__link(plant, name, target);
	if (take_attributes(record, &attributes))
		return -EPROTO;
	if (span__equals(ev, "dir"))
		return plant__enter(plant, name, &attributes);
	if (span__equals(ev, "file"))
		return plant__open(plant, name, &attributes);
	if (span__equals(ev, "symlink"))
		return take_target(record, target) ? -EPROTO : plant__symlink(plant, name, target, &attributes);
	return -EPROTO;
}

static int take_record(struct write_tree *tree, const uint8_t *body, size_t length)
{
	struct message record;
	struct span ev;
	const char *why;
	if (message__parse(&record, body, length, &why) || reader__text(&record.map, "ev", &ev) != 1)
		return -EPROTO;
	if (tree->plant.fd >= 0)
		return take_contents(tree, ev, &record.map);
	if (tree->plant.depth && span__equals(ev, "end"))
		return plant__leave(&tree->plant);
	return take_named(tree, ev, &record.map);
}

static int take_records(struct write_tree *tree)
{
	const uint8_t *body;
	size_t length, missing;
	int found, err;
	while ((found = frame__peek(&tree->records, &body, &length, &missing)) == 1) {
		err = take_record(tree, body, length);
		if (err)
			return err;
		buffer__consume(&tree->records, FRAME_HEAD + length);
	}
	return found;
}

static void fail(struct write_tree *tree, int err)
{
	if (err == -EPROTO)
		call__refuse(&tree->call, "data");
	else
		call__fail_at(&tree->call, err, tree->plant.path.text);
}

static void take_data(struct write_tree *tree, struct span data)
{
	uint8_t *room = buffer__reserve(&tree->records, data.length);
	if (!room) {
		fail(tree, -ENOMEM);
		return;
	}
	if (data.length)
		memcpy(room, data.at, data.length);
	buffer__commit(&tree->records, data.length);
	int err = take_records(tree);
	if (err) {
		fail(tree, err);
		return;
	}
	tree->size += data.length;
	call__credit(&tree->call, data.length);
}

static bool is_whole(const struct write_tree *tree)
{
	return tree->begun && tree->plant.depth == 0 && tree->plant.fd < 0 && !buffer__pending(&tree->records);
}

static void event(struct call *call, struct span ev, const CborValue *message)
{
	struct write_tree *tree = tree_of(call);
	struct span data;
	if (span__equals(ev, "data")) {
		if (reader__bytes(message, "data", &data) != 1)
			call__refuse(call, "data");
		else
			take_data(tree, data);
	} else if (span__equals(ev, "end")) {
		if (is_whole(tree))
			call__succeed_with(call, "size", tree->size);
		else
			fail(tree, -EPROTO);
	} else if (span__equals(ev, "abort")) {
		call__give_up(call, tree->plant.path.text);
	}
}

static void release(struct call *call)
{
	struct write_tree *tree = tree_of(call);
	plant__end(&tree->plant);
	buffer__free(&tree->records);
}

const struct operation operation__write_tree = {
	.op = "write_tree",
	.size = sizeof(struct write_tree),
	.start = start,
	.event = event,
	.release = release,
};
