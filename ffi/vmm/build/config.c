/* Reading and checking the VMM's configuration; ffi/vmm.cddl says what it looks like. */
#include "vmm/build/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "board/board.h"
#include "capsa.h"
#include "net/config.h"
#include "net/lan_config.h"
#include "vmm/cbor_map.h"

#define MAX_ROOTS 1024
#define MAX_ID_RANGES 340 /* as in the kernel's own id maps */
#define MAX_TAG 36
#define MAX_PROTECT 4096

/* Index of `text` in the NULL-terminated `words`, which are listed in the failure when it is none of them. */
static int choose(struct cbor_reader *reader, const char *text, const char *const *words, int *out, const char *where)
{
	char list[128] = "";
	for (int i = 0; words[i]; i++) {
		if (strcmp(text, words[i]) == 0) {
			*out = i;
			return 0;
		}
		strncat(list, i ? ", " : "", sizeof(list) - strlen(list) - 1);
		strncat(list, words[i], sizeof(list) - strlen(list) - 1);
	}
	return failure__set(reader->why, EINVAL, NULL, "%s is \"%.40s\"; allowed are %s", where, text, list);
}

static int read_choice(struct cbor_reader *reader, const CborValue *value, const char *const *words, int *out,
		       const char *where)
{
	const char *text;
	int err = cbor_value__text(reader, value, &text, where);
	return err ? err : choose(reader, text, words, out, where);
}

static int read_cache(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	static const char *const words[] = {
		[FS_CACHE_AUTO] = "auto", [FS_CACHE_ALWAYS] = "always", [FS_CACHE_NEVER] = "never", NULL};
	int choice = 0, err = read_choice(reader, value, words, &choice, where);
	*(enum fs_cache *)member = (enum fs_cache)choice;
	return err;
}

static int read_ownership(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	static const char *const words[] = {[FS_OWNER_ROOT] = "root",
					    [FS_OWNER_CALLER] = "caller",
					    [FS_OWNER_PASSTHROUGH] = "passthrough",
					    [FS_OWNER_MAP] = "map",
					    NULL};
	int choice = 0, err = read_choice(reader, value, words, &choice, where);
	*(enum fs_ownership *)member = (enum fs_ownership)choice;
	return err;
}

static int read_id(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index, const char *where)
{
	uint32_t *ids = arg;
	uint64_t id;
	int err = cbor_value__uint(reader, value, 0, UINT32_MAX, &id, where);
	if (!err)
		ids[index] = (uint32_t)id;
	return err;
}

struct id_map {
	struct fs_id_range *ranges;
	unsigned count;
};

static int read_range(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index, const char *where)
{
	struct id_map *map = arg;
	uint32_t ids[3] = {0, 0, 0};
	int err = cbor_array__read(reader, value, 3, where, read_id, ids);
	if (err)
		return err;
	if (!ids[2] || ids[0] > UINT32_MAX - ids[2] || ids[1] > UINT32_MAX - ids[2])
		return failure__set(reader->why, EINVAL, NULL,
				    "%s must be [guest, host, count] with a count above 0 that stays within 32 bits",
				    where);
	map->ranges[index] = (struct fs_id_range){.guest = ids[0], .host = ids[1], .count = ids[2]};
	map->count = index + 1;
	return 0;
}

static int read_id_map(struct cbor_reader *reader, const CborValue *value, struct fs_id_range **ranges, unsigned *count,
		       const char *where)
{
	struct id_map map = {.ranges = calloc(MAX_ID_RANGES, sizeof(*map.ranges))};
	if (!map.ranges)
		return failure__set(reader->why, ENOMEM, NULL, "no memory for %s", where);
	*ranges = map.ranges;
	int err = cbor_array__read(reader, value, MAX_ID_RANGES, where, read_range, &map);
	*count = map.count;
	return err;
}

static int read_uid_map(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	struct config_root *root = member;
	return read_id_map(reader, value, &root->uids, &root->uid_count, where);
}

static int read_gid_map(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	struct config_root *root = member;
	return read_id_map(reader, value, &root->gids, &root->gid_count, where);
}

static int read_protected(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index,
			  const char *where)
{
	struct config_root *root = arg;
	const char **path = &root->protect[index];
	int err = cbor_value__text(reader, value, path, where);
	if (!err && !protect__valid(*path))
		err = failure__set(reader->why, EINVAL, NULL, "%s is \"%.80s\"; it must be a path below the root",
				   where, *path);
	root->protect_count += err == 0;
	return err;
}

static int read_protect(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	struct config_root *root = member;
	root->protect = calloc(MAX_PROTECT, sizeof(*root->protect));
	if (!root->protect)
		return failure__set(reader->why, ENOMEM, NULL, "no memory for %s", where);
	return cbor_array__read(reader, value, MAX_PROTECT, where, read_protected, root);
}

static int absolute(struct cbor_reader *reader, const char *path, const char *where)
{
	if (!path || path[0] == '/')
		return 0;
	return failure__set(reader->why, EINVAL, NULL, "%s is \"%.80s\"; it must be an absolute path", where, path);
}

static int read_number(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index, const char *where)
{
	uint64_t *numbers = arg;
	return cbor_value__uint(reader, value, 0, UINT64_MAX, &numbers[index], where);
}

static int read_identity(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	struct file_identity *identity = member;
	uint64_t numbers[2] = {0, 0};
	size_t count = 0;
	int err = cbor_array__read(reader, value, 2, where, read_number, numbers);
	if (err)
		return err;
	if (cbor_value_get_array_length(value, &count) != CborNoError || count != 2)
		return failure__set(reader->why, EINVAL, NULL, "%s must be [dev, ino]", where);
	*identity = (struct file_identity){.known = true, .dev = numbers[0], .ino = numbers[1]};
	return 0;
}

static int read_root(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index, const char *where)
{
#define ROOT(member) offsetof(struct config_root, member)
	static const struct cbor_field fields[] = {
		{.key = "name", .kind = CBOR_KIND_TEXT, .required = true, .offset = ROOT(name)},
		{.key = "path", .kind = CBOR_KIND_TEXT, .required = true, .offset = ROOT(path)},
		{.key = "identity", .kind = CBOR_KIND_OTHER, .offset = ROOT(identity), .read = read_identity},
		{.key = "readOnly", .kind = CBOR_KIND_BOOL, .required = true, .offset = ROOT(read_only)},
		{.key = "hostLocks", .kind = CBOR_KIND_BOOL, .offset = ROOT(host_locks)},
		{.key = "layer", .kind = CBOR_KIND_TEXT, .offset = ROOT(layer)},
		{.key = "protect", .kind = CBOR_KIND_OTHER, .offset = 0, .read = read_protect},
		{.key = "size", .kind = CBOR_KIND_UINT, .offset = ROOT(size), .min = 1, .max = INT64_MAX},
		{.key = "cache", .kind = CBOR_KIND_OTHER, .offset = ROOT(cache), .read = read_cache},
		{.key = "ownership", .kind = CBOR_KIND_OTHER, .offset = ROOT(ownership), .read = read_ownership},
		{.key = "uidMap", .kind = CBOR_KIND_OTHER, .offset = 0, .read = read_uid_map},
		{.key = "gidMap", .kind = CBOR_KIND_OTHER, .offset = 0, .read = read_gid_map},
	};
#undef ROOT
	struct config_fs *fs = arg;
	struct config_root *root = &fs->roots[index];
	fs->root_count = index + 1;
	int err = cbor_map__read(reader, value, fields, sizeof(fields) / sizeof(fields[0]), true, root, where);
	if (err)
		return err;
	if (!*root->name || strchr(root->name, '/') || strcmp(root->name, ".") == 0 || strcmp(root->name, "..") == 0)
		return failure__set(reader->why, EINVAL, NULL, "%s.name \"%.40s\" cannot be a directory entry", where,
				    root->name);
	for (unsigned i = 0; i < index; i++)
		if (strcmp(fs->roots[i].name, root->name) == 0)
			return failure__set(reader->why, EINVAL, NULL, "%s.name \"%.40s\" is taken", where, root->name);
	if (root->layer && root->protect_count)
		return failure__set(reader->why, EINVAL, NULL, "%s.layer takes what is changed: nothing is in protect",
				    where);
	err = absolute(reader, root->path, where);
	return err ? err : absolute(reader, root->layer, where);
}

static int read_roots(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	struct config_fs *fs = member;
	fs->roots = calloc(MAX_ROOTS, sizeof(*fs->roots));
	if (!fs->roots)
		return failure__set(reader->why, ENOMEM, NULL, "no memory for %s", where);
	return cbor_array__read(reader, value, MAX_ROOTS, where, read_root, fs);
}

static int read_fs_device(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index,
			  const char *where)
{
	static const struct cbor_field fields[] = {
		{.key = "tag", .kind = CBOR_KIND_TEXT, .required = true, .offset = offsetof(struct config_fs, tag)},
		{.key = "single", .kind = CBOR_KIND_BOOL, .offset = offsetof(struct config_fs, single)},
		{.key = "roots", .kind = CBOR_KIND_OTHER, .required = true, .offset = 0, .read = read_roots},
	};
	struct vmm_config *config = arg;
	struct config_fs *fs = &config->fs[index];
	config->fs_count = index + 1;
	int err = cbor_map__read(reader, value, fields, sizeof(fields) / sizeof(fields[0]), true, fs, where);
	if (err)
		return err;
	if (!*fs->tag || strlen(fs->tag) > MAX_TAG)
		return failure__set(reader->why, EINVAL, NULL, "%s.tag must have 1 to %d bytes", where, MAX_TAG);
	/* it is passed on in an option list, where a comma would end it */
	if (strspn(fs->tag, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != strlen(fs->tag))
		return failure__set(reader->why, EINVAL, NULL, "%s.tag may hold letters, digits and . _ - only", where);
	if (fs->single && fs->root_count != 1)
		return failure__set(reader->why, EINVAL, NULL, "%s is single and has %u roots", where, fs->root_count);
	return 0;
}

static int read_fs(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	return cbor_array__read(reader, value, CONFIG_MAX_FS, where, read_fs_device, member);
}

static int read_disk(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index, const char *where)
{
#define DISK(member) offsetof(struct config_disk, member)
	static const struct cbor_field fields[] = {
		{.key = "path", .kind = CBOR_KIND_TEXT, .required = true, .offset = DISK(path)},
		{.key = "identity", .kind = CBOR_KIND_OTHER, .offset = DISK(identity), .read = read_identity},
		{.key = "readOnly", .kind = CBOR_KIND_BOOL, .required = true, .offset = DISK(read_only)},
	};
#undef DISK
	struct vmm_config *config = arg;
	struct config_disk *disk = &config->disks[index];
	config->disk_count = index + 1;
	int err = cbor_map__read(reader, value, fields, sizeof(fields) / sizeof(fields[0]), true, disk, where);
	return err ? err : absolute(reader, disk->path, where);
}

static int read_disks(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	return cbor_array__read(reader, value, CONFIG_MAX_DISKS, where, read_disk, member);
}

static int read_port(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index, const char *where)
{
	struct config_vsock *vsock = arg;
	uint64_t port;
	int err = cbor_value__uint(reader, value, 1, UINT32_MAX - 1, &port, where);
	if (err)
		return err;
	vsock->ports[index] = (uint32_t)port;
	vsock->port_count = index + 1;
	return 0;
}

static int read_ports(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	return cbor_array__read(reader, value, CONFIG_MAX_PORTS, where, read_port, member);
}

static int read_vsock(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	static const struct cbor_field fields[] = {
		{.key = "cid",
		 .kind = CBOR_KIND_UINT,
		 .required = true,
		 .offset = offsetof(struct config_vsock, cid),
		 .min = 3,
		 .max = 4294967294},
		{.key = "ports", .kind = CBOR_KIND_OTHER, .required = true, .offset = 0, .read = read_ports},
	};
	struct config_vsock *vsock = member;
	vsock->present = true;
	return cbor_map__read(reader, value, fields, sizeof(fields) / sizeof(fields[0]), true, vsock, where);
}

static int read_qemu(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	static const struct cbor_field fields[] = {
		{.key = "path", .kind = CBOR_KIND_TEXT, .required = true, .offset = 0},
	};
	return cbor_map__read(reader, value, fields, 1, true, member, where);
}

static int check(struct cbor_reader *reader, const struct vmm_config *config)
{
	struct {
		const char *key, *path;
	} paths[] = {
		{"kernel", config->kernel},   {"initrd", config->initrd},  {"runtimeDir", config->runtime_dir},
		{"archive", config->archive}, {"qemu.path", config->qemu},
	};
	for (unsigned i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		int err = absolute(reader, paths[i].path, paths[i].key);
		if (err)
			return err;
	}
	if (strlen(config->runtime_dir) > CONFIG_MAX_RUNTIME_DIR)
		return failure__set(reader->why, ENAMETOOLONG, NULL,
				    "runtimeDir %.100s is longer than %d bytes: the path of a Unix socket in it would "
				    "not fit; choose a shorter one",
				    config->runtime_dir, CONFIG_MAX_RUNTIME_DIR);
	if (config->memory % 4096)
		return failure__set(reader->why, EINVAL, NULL, "memory is %llu; it must be a multiple of 4096",
				    (unsigned long long)config->memory);
	if (config->console && config->serial)
		return failure__set(reader->why, EINVAL, NULL,
				    "console and serial are both set; a machine has one console: choose one of them");
	if (config->events_port && !config->vsock.present)
		return failure__set(reader->why, EINVAL, NULL, "eventsPort needs vsock");
	if (config->clock_port && (!config->vsock.present || config->clock_port == config->events_port))
		return failure__set(reader->why, EINVAL, NULL, "clockPort needs vsock, and a port of its own");
	if (strcmp(config->engine, "qemu") == 0 && !config->qemu)
		return failure__set(reader->why, EINVAL, NULL, "qemu.path is missing");
	static const char *const confine[] = {"auto", "require", "none", NULL};
	int choice;
	return choose(reader, config->confine, confine, &choice, "confine");
}

static int read_all(struct cbor_reader *reader, const uint8_t *from, size_t len, struct vmm_config *config)
{
#define MEMBER(member) offsetof(struct vmm_config, member)
	static const struct cbor_field fields[] = {
		{.key = "version",
		 .kind = CBOR_KIND_UINT,
		 .required = true,
		 .offset = MEMBER(version),
		 .min = 0,
		 .max = UINT32_MAX},
		{.key = "name", .kind = CBOR_KIND_TEXT, .required = true, .offset = MEMBER(name)},
		{.key = "engine", .kind = CBOR_KIND_TEXT, .required = true, .offset = MEMBER(engine)},
		{.key = "kernel", .kind = CBOR_KIND_TEXT, .required = true, .offset = MEMBER(kernel)},
		{.key = "kernelIdentity",
		 .kind = CBOR_KIND_OTHER,
		 .offset = MEMBER(kernel_identity),
		 .read = read_identity},
		{.key = "initrd", .kind = CBOR_KIND_TEXT, .offset = MEMBER(initrd)},
		{.key = "initrdIdentity",
		 .kind = CBOR_KIND_OTHER,
		 .offset = MEMBER(initrd_identity),
		 .read = read_identity},
		{.key = "cmdline", .kind = CBOR_KIND_TEXT, .required = true, .offset = MEMBER(cmdline)},
		{.key = "acpi", .kind = CBOR_KIND_BOOL, .offset = MEMBER(acpi)},
		{.key = "cpus", .kind = CBOR_KIND_UINT, .required = true, .offset = MEMBER(cpus), .min = 1, .max = 255},
		{.key = "memory",
		 .kind = CBOR_KIND_UINT,
		 .required = true,
		 .offset = MEMBER(memory),
		 .min = BOARD_MEMORY_MIN,
		 .max = BOARD_MEMORY_MAX},
		{.key = "runtimeDir", .kind = CBOR_KIND_TEXT, .required = true, .offset = MEMBER(runtime_dir)},
		{.key = "detached", .kind = CBOR_KIND_BOOL, .required = true, .offset = MEMBER(detached)},
		{.key = "fs", .kind = CBOR_KIND_OTHER, .offset = 0, .read = read_fs},
		{.key = "disks", .kind = CBOR_KIND_OTHER, .offset = 0, .read = read_disks},
		{.key = "vsock", .kind = CBOR_KIND_OTHER, .offset = MEMBER(vsock), .read = read_vsock},
		{.key = "net", .kind = CBOR_KIND_OTHER, .offset = MEMBER(net), .read = config_net__read},
		{.key = "lans", .kind = CBOR_KIND_OTHER, .offset = 0, .read = config_lans__read},
		{.key = "rng", .kind = CBOR_KIND_BOOL, .offset = MEMBER(rng)},
		{.key = "balloon", .kind = CBOR_KIND_BOOL, .offset = MEMBER(balloon)},
		{.key = "console", .kind = CBOR_KIND_BOOL, .offset = MEMBER(console)},
		{.key = "serial", .kind = CBOR_KIND_BOOL, .offset = MEMBER(serial)},
		{.key = "eventsPort",
		 .kind = CBOR_KIND_UINT,
		 .offset = MEMBER(events_port),
		 .min = 1,
		 .max = UINT32_MAX - 1},
		{.key = "clockPort",
		 .kind = CBOR_KIND_UINT,
		 .offset = MEMBER(clock_port),
		 .min = 1,
		 .max = UINT32_MAX - 1},
		{.key = "archive", .kind = CBOR_KIND_TEXT, .offset = MEMBER(archive)},
		{.key = "logLimit",
		 .kind = CBOR_KIND_UINT,
		 .offset = MEMBER(log_limit),
		 .min = 4096,
		 .max = 1ULL << 40},
		{.key = "ttl", .kind = CBOR_KIND_UINT, .offset = MEMBER(ttl), .min = 1, .max = 1ULL << 40},
		{.key = "qemu", .kind = CBOR_KIND_OTHER, .offset = MEMBER(qemu), .read = read_qemu},
		{.key = "confine", .kind = CBOR_KIND_TEXT, .required = true, .offset = MEMBER(confine)},
	};
#undef MEMBER
	int err = cbor_message__read(reader, from, len, fields, sizeof(fields) / sizeof(fields[0]), true, config);
	return err ? err : check(reader, config);
}

int vmm_config__read(struct vmm_config *config, const uint8_t *from, size_t len, struct failure *why)
{
	*config = (struct vmm_config){.log_limit = CONFIG_DEFAULT_LOG_LIMIT};
	struct failure what;
	config->texts = malloc(len + 1);
	if (!config->texts)
		return failure__set(why, ENOMEM, NULL, "no memory for the VMM's configuration");
	struct cbor_reader reader = {.pool = config->texts, .left = len + 1, .why = &what};
	int err = read_all(&reader, from, len, config);
	if (!err && config->version != CAPSA_ABI_VERSION)
		err = failure__set(&what, EPROTO, NULL,
				   "version is %llu and this capsa-vmm speaks %u: the two come from different builds; "
				   "run `make -C ffi`",
				   (unsigned long long)config->version, CAPSA_ABI_VERSION);
	if (err) {
		vmm_config__free(config);
		return failure__set(why, -err, "CONFIG_INVALID", "the VMM's configuration: %.400s", what.message);
	}
	return 0;
}

void vmm_config__free(struct vmm_config *config)
{
	for (unsigned i = 0; i < config->fs_count; i++) {
		for (unsigned j = 0; j < config->fs[i].root_count; j++) {
			free(config->fs[i].roots[j].protect);
			free(config->fs[i].roots[j].uids);
			free(config->fs[i].roots[j].gids);
		}
		free(config->fs[i].roots);
	}
	free(config->net.rules.at);
	free(config->texts);
	*config = (struct vmm_config){.texts = NULL};
}
