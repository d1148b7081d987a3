/* The file system device's part of the configuration (`fs-device` of ffi/vmm.cddl), and how devices are made of it. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "common/errno_name.h"
#include "confine/tree.h"
#include "virtio/fs/internal.h"
#include "virtio/kind.h"

#define MAX_DEVICES 8
#define MAX_ROOTS 1024
#define MAX_ID_RANGES 340 /* as in the kernel's own id maps */
#define MAX_TAG 36
#define MAX_PROTECT 4096

struct fs_devices {
	CBOR_LIST_OF(struct fs_options) all;
};

/* ---- the configuration ---- */

static int check_range(struct cbor_reader *reader, void *into, const char *where)
{
	const struct fs_id_range *range = into;
	if (range->count && range->guest <= UINT32_MAX - range->count && range->host <= UINT32_MAX - range->count)
		return 0;
	return cbor_reader__refuse(reader, where,
				   "must be [guest, host, count] with a count above 0 that stays within 32 bits");
}

static const struct cbor_field range_fields[] = {
	{.key = "guest", .kind = CBOR_U32, .required = true, .offset = offsetof(struct fs_id_range, guest)},
	{.key = "host", .kind = CBOR_U32, .required = true, .offset = offsetof(struct fs_id_range, host)},
	{.key = "count", .kind = CBOR_U32, .required = true, .offset = offsetof(struct fs_id_range, count)},
};
static const struct cbor_table range_table = CBOR_TABLE("id-range", range_fields, .check = check_range);
static const struct cbor_field range_item = {.kind = CBOR_TUPLE, .table = &range_table};

static const char *no_entry(const void *member)
{
	const char *name = *(const char *const *)member;
	return !*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0
		       ? "cannot be a directory entry"
		       : NULL;
}

static const char *no_protected(const void *member)
{
	return protect__valid(*(const char *const *)member) ? NULL : "must be a path below the root";
}

static const struct cbor_field protect_item = {.kind = CBOR_TEXT, .wrong = no_protected};

static int check_root(struct cbor_reader *reader, void *into, const char *where)
{
	struct fs_root *root = into;
	root->layered = root->layer_path;
	if (root->layered && root->protect.count)
		return failure__set(reader->why, EINVAL, NULL, "%s.layer takes what is changed: nothing is in protect",
				    where);
	return 0;
}

static const char *const caches[] = {"auto", "always", "never", NULL};
static const char *const ownerships[] = {"root", "caller", "passthrough", "map", NULL};
_Static_assert(FS_CACHE_AUTO == 0 && FS_CACHE_NEVER == 2 && FS_OWNER_ROOT == 0 && FS_OWNER_MAP == 3,
	       "as the words are numbered");

#define ROOT(member) offsetof(struct fs_root, member)
static const struct cbor_field root_fields[] = {
	{.key = "name", .kind = CBOR_TEXT, .required = true, .offset = ROOT(name), .wrong = no_entry},
	{.key = "path", .kind = CBOR_PATH, .required = true, .offset = ROOT(path)},
	{.key = "identity", .kind = CBOR_TUPLE, .offset = ROOT(identity), .table = &file_identity_table},
	{.key = "readOnly", .kind = CBOR_BOOL, .required = true, .offset = ROOT(read_only)},
	{.key = "hostLocks", .kind = CBOR_BOOL, .offset = ROOT(host_locks)},
	{.key = "layer", .kind = CBOR_PATH, .offset = ROOT(layer_path)},
	{.key = "protect",
	 .kind = CBOR_LIST,
	 .offset = ROOT(protect),
	 .item = &protect_item,
	 .size = sizeof(const char *),
	 .max = MAX_PROTECT},
	{.key = "size", .kind = CBOR_U64, .offset = ROOT(size), .min = 1, .max = INT64_MAX},
	{.key = "cache", .kind = CBOR_CHOICE, .offset = ROOT(cache), .words = caches},
	{.key = "ownership", .kind = CBOR_CHOICE, .offset = ROOT(ownership), .words = ownerships},
	{.key = "uidMap",
	 .kind = CBOR_LIST,
	 .offset = ROOT(uid_map),
	 .item = &range_item,
	 .size = sizeof(struct fs_id_range),
	 .max = MAX_ID_RANGES},
	{.key = "gidMap",
	 .kind = CBOR_LIST,
	 .offset = ROOT(gid_map),
	 .item = &range_item,
	 .size = sizeof(struct fs_id_range),
	 .max = MAX_ID_RANGES},
};
#undef ROOT
static const struct cbor_table root_table = CBOR_TABLE("fs-root", root_fields, .check = check_root);
static const struct cbor_field root_item = {.kind = CBOR_MAP, .table = &root_table};

static int check_device(struct cbor_reader *reader, void *into, const char *where)
{
	const struct fs_options *fs = into;
	if (!*fs->tag || strlen(fs->tag) > MAX_TAG)
		return failure__set(reader->why, EINVAL, NULL, "%s.tag must have 1 to %d bytes", where, MAX_TAG);
	/* it is passed on in an option list, where a comma would end it */
	if (strspn(fs->tag, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != strlen(fs->tag))
		return failure__set(reader->why, EINVAL, NULL, "%s.tag may hold letters, digits and . _ - only", where);
	if (fs->single && fs->roots.count != 1)
		return failure__set(reader->why, EINVAL, NULL, "%s is single and has %u roots", where, fs->roots.count);
	for (unsigned i = 1; i < fs->roots.count; i++)
		for (unsigned j = 0; j < i; j++)
			if (strcmp(fs->roots.at[j].name, fs->roots.at[i].name) == 0)
				return failure__set(reader->why, EINVAL, NULL, "%s.roots[%u].name \"%.40s\" is taken",
						    where, i, fs->roots.at[i].name);
	return 0;
}

static const struct cbor_field device_fields[] = {
	{.key = "tag", .kind = CBOR_TEXT, .required = true, .offset = offsetof(struct fs_options, tag)},
	{.key = "single", .kind = CBOR_BOOL, .offset = offsetof(struct fs_options, single)},
	{.key = "roots",
	 .kind = CBOR_LIST,
	 .required = true,
	 .offset = offsetof(struct fs_options, roots),
	 .item = &root_item,
	 .size = sizeof(struct fs_root),
	 .max = MAX_ROOTS},
};
static const struct cbor_table device_table = CBOR_TABLE("fs-device", device_fields, .check = check_device);
static const struct cbor_field device_item = {.kind = CBOR_MAP, .table = &device_table};

/* ---- the devices ---- */

static int open_root(const struct fs_root *root, struct fs_root *out, struct failure *why)
{
	/* the layer's parts are opened from it (fs/union.c) */
	int layer = root->layered ? tree__open(root->layer_path, root->read_only) : -1;
	if (root->layered && layer < 0)
		return failure__set(why, -layer, NULL, "the layer %s cannot be opened (%s)", root->layer_path,
				    errno_name(-layer));
	int fd = tree__open(root->path, root->read_only || root->layered);
	int err = fd < 0 ? fd : file_identity__check(&root->identity, fd);
	if (err && fd >= 0)
		close(fd);
	if (err && layer >= 0)
		close(layer);
	if (err)
		return failure__set(why, -err, NULL, "the share %s cannot be opened (%s)%s", root->path,
				    errno_name(-err), err == -ESTALE ? ": another one has its name by now" : "");
	out->fd = fd;
	out->layer = layer;
	return 0;
}

static void close_roots(struct fs_root *roots, unsigned count)
{
	while (count--) {
		close(roots[count].fd);
		if (roots[count].layered)
			close(roots[count].layer);
	}
}

/* The roots of `fs` are the configuration's own, which nobody else reads meanwhile. */
static int make_one(const struct fs_options *fs, struct device_maker *maker, struct failure *why)
{
	struct virtio_device *dev;
	struct fs_options options = *fs;
	options.memory = maker->memory;
	options.notice = maker->watches;
	options.notice_arg = maker->owner;
	for (unsigned i = 0; i < options.roots.count; i++) {
		int err = open_root(&fs->roots.at[i], &options.roots.at[i], why);
		if (err) {
			close_roots(options.roots.at, i);
			return err;
		}
	}
	int err = virtio_fs__new(&options, &dev);
	if (!err)
		return maker->add(maker, dev, why);
	close_roots(options.roots.at, options.roots.count);
	return failure__set(why, -err, NULL, "the file system device \"%s\" cannot be made", fs->tag);
}

static int fs_make(const void *config, struct device_maker *maker, struct failure *why)
{
	const struct fs_devices *fs = config;
	int err = 0;
	for (unsigned i = 0; !err && i < fs->all.count; i++)
		err = make_one(&fs->all.at[i], maker, why);
	return err;
}

static uint64_t fs_held(const void *config, uint64_t memory)
{
	return ((const struct fs_devices *)config)->all.count * virtio_fs__bound(memory);
}

const struct device_kind device_fs = {
	.id = VIRTIO_ID_FS,
	.field = {.key = "fs",
		  .kind = CBOR_LIST,
		  .item = &device_item,
		  .size = sizeof(struct fs_options),
		  .max = MAX_DEVICES},
	.size = sizeof(struct fs_devices),
	.thread = CONFINE_SHARES,
	.held = fs_held,
	.make = fs_make,
	.shares = virtio_fs__shares,
};
