/* The boot plan: read from the initramfs, checked field by field. */
#include "init/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process/spawn.h"

enum { PLAN_LIMIT = 1 << 20, NAME_LIMIT = 255, HOSTNAME_LIMIT = 64 };

static int copy(const CborValue *map, const char *key, bool required, char **out)
{
	struct span span;
	int found = reader__text(map, key, &span);
	if (found < 0 || (found == 0 && required))
		return -EPROTO;
	if (found == 0)
		return 0;
	return span__copy(span, out);
}

static int port(const CborValue *map, const char *key, uint32_t *out)
{
	uint64_t value;
	if (reader__uint(map, key, &value) != 1 || value == 0 || value >= UINT32_MAX)
		return -EPROTO;
	*out = (uint32_t)value;
	return 0;
}

/* One component of a path, and nothing an overlay's option string would take apart. */
static bool is_entry(const char *name)
{
	size_t length = strlen(name);
	return length && length <= NAME_LIMIT && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       !strpbrk(name, "/:,\\");
}

static int take_mount(struct plan_mount *mount, const CborValue *map, const char **why)
{
	*why = "mounts: name, target, readOnly or overlay";
	int err = copy(map, "name", true, &mount->name);
	if (!err)
		err = copy(map, "target", true, &mount->target);
	if (err)
		return err;
	if (reader__bool(map, "readOnly", &mount->read_only) != 1 || reader__bool(map, "overlay", &mount->overlay) < 0)
		return -EPROTO;
	*why = "mounts: a name that is not an entry, or a target that is not absolute or is /";
	if (!is_entry(mount->name) || mount->target[0] != '/' || strlen(mount->target) >= PATH_MAX ||
	    strspn(mount->target, "/") == strlen(mount->target))
		return -EPROTO;
	return 0;
}

static int take_mounts(struct plan *plan, const CborValue *map, const char **why)
{
	int err = 0;
	*why = "mounts";
	CborValue array, item;
	size_t count;
	if (reader__array(map, "mounts", &array) != 1 || cbor_value_get_array_length(&array, &count) ||
	    cbor_value_enter_container(&array, &item))
		return -EPROTO;
	plan->mounts = calloc(count ? count : 1, sizeof(*plan->mounts));
	if (!plan->mounts)
		return -ENOMEM;
	while (!cbor_value_at_end(&item) && !err) {
		if (!cbor_value_is_map(&item))
			return -EPROTO;
		err = take_mount(&plan->mounts[plan->mount_count++], &item, why);
		if (!err && cbor_value_advance(&item))
			return -EPROTO;
	}
	return err;
}

static int take_rootfs(struct plan *plan, const CborValue *map, const char **why)
{
	CborValue rootfs;
	int found = reader__map(map, "rootfs", &rootfs);
	*why = "rootfs: lower";
	if (found == 0)
		return 0;
	CborValue lower;
	if (found < 0 || reader__array(&rootfs, "lower", &lower) != 1)
		return -EPROTO;
	int err = strings__add_array(&plan->lower, &lower);
	if (err)
		return err;
	for (size_t i = 0; i < plan->lower.count; i++)
		if (!is_entry(plan->lower.list[i]))
			return -EPROTO;
	return plan->lower.count ? 0 : -EPROTO;
}

static int take_environment(struct strings *environment, const CborValue *map, const char *key)
{
	CborValue env;
	int found = reader__map(map, key, &env);
	return found == 1 ? environment__set_map(environment, &env) : found;
}

static int defaults(struct strings *environment)
{
	static const char *const pairs[][2] = {{"PATH", spawn__default_path}, {"HOME", "/root"}, {"LANG", "C.UTF-8"}};
	int err = 0;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs) && !err; i++) {
		struct span name = {(const uint8_t *)pairs[i][0], strlen(pairs[i][0])};
		struct span value = {(const uint8_t *)pairs[i][1], strlen(pairs[i][1])};
		err = environment__set(environment, name, value);
	}
	return err;
}

static int take_main(struct plan *plan, const CborValue *map, const char **why)
{
	CborValue value;
	uint64_t user = 0, group = 0;
	int found = reader__map(map, "main", &value);
	*why = "main: argv, env, cwd, user or group";
	if (found <= 0)
		return found;
	CborValue argv;
	if (reader__array(&value, "argv", &argv) != 1)
		return -EPROTO;
	int err = strings__add_array(&plan->main_argv, &argv);
	if (!err && !plan->main_argv.count)
		err = -EPROTO;
	if (!err)
		err = strings__add_all(&plan->main_environment, &plan->environment);
	if (!err)
		err = take_environment(&plan->main_environment, &value, "env");
	if (!err)
		err = copy(&value, "cwd", false, &plan->main_cwd);
	int has_user = reader__uint(&value, "user", &user);
	int has_group = reader__uint(&value, "group", &group);
	if (has_user < 0 || has_group < 0 || user >= UINT32_MAX || group >= UINT32_MAX)
		return -EPROTO;
	plan->has_main = true;
	plan->main_has_user = has_user == 1;
	plan->main_has_group = has_group == 1;
	plan->main_user = (uid_t)user;
	plan->main_group = (gid_t)group;
	return err;
}

int plan__parse(struct plan *plan, const uint8_t *bytes, size_t length, const char **why)
{
	uint64_t version = 0, clock = 0;
	memset(plan, 0, sizeof(*plan));
	struct message message;
	int err = message__parse(&message, bytes, length, why);
	if (err)
		return err;
	*why = "version: this init reads version 1";
	if (reader__uint(&message.map, "version", &version) != 1 || version != 1)
		return -EPROTO;
	*why = "hostname";
	err = copy(&message.map, "hostname", true, &plan->hostname);
	if (err || strlen(plan->hostname) > HOSTNAME_LIMIT)
		return err ? err : -EPROTO;
	*why = "agentPort or eventsPort";
	if (port(&message.map, "agentPort", &plan->agent_port) || port(&message.map, "eventsPort", &plan->events_port))
		return -EPROTO;
	*why = "clockPort";
	if (reader__uint(&message.map, "clockPort", &clock) < 0 || clock >= UINT32_MAX)
		return -EPROTO;
	plan->clock_port = (uint32_t)clock;
	*why = "ttlMs, idleMs or waits";
	if (reader__uint(&message.map, "ttlMs", &plan->ttl_ms) < 0 ||
	    reader__uint(&message.map, "idleMs", &plan->idle_ms) < 0 ||
	    reader__bool(&message.map, "waits", &plan->waits) < 0)
		return -EPROTO;
	*why = "fsTag";
	err = copy(&message.map, "fsTag", false, &plan->fs_tag);
	if (!err)
		err = take_rootfs(plan, &message.map, why);
	if (!err)
		err = take_mounts(plan, &message.map, why);
	if (!err)
		err = network_plan__take(&plan->network, &message.map, why);
	if (!err)
		err = lan_plan__take(&plan->lans, &message.map, why);
	if (err)
		return err;
	*why = "trust";
	err = copy(&message.map, "trust", false, &plan->trust);
	if (err)
		return err;
	*why = "rootfs and mounts need fsTag";
	if (!plan->fs_tag && (plan->lower.count || plan->mount_count))
		return -EPROTO;
	*why = "env";
	err = defaults(&plan->environment);
	if (!err)
		err = take_environment(&plan->environment, &message.map, "env");
	return err ? err : take_main(plan, &message.map, why);
}

int plan__load(struct plan *plan, const char *path, const char **why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), err = 0;
	size_t length = 0;
	*why = "the plan cannot be read";
	if (fd < 0)
		return -errno;
	uint8_t *bytes = malloc(PLAN_LIMIT + 1);
	if (!bytes)
		err = -ENOMEM;
	while (!err && length <= PLAN_LIMIT) {
		ssize_t n = read(fd, bytes + length, PLAN_LIMIT + 1 - length);
		if (n < 0)
			err = -errno;
		if (n <= 0)
			break;
		length += (size_t)n;
	}
	close(fd);
	unlink(path);
	if (!err && length > PLAN_LIMIT) {
		*why = "the plan is larger than 1 MiB";
		err = -EFBIG;
	}
	if (!err)
		err = plan__parse(plan, bytes, length, why);
	free(bytes);
	return err;
}

void plan__free(struct plan *plan)
{
	free(plan->hostname);
	free(plan->fs_tag);
	free(plan->main_cwd);
	free(plan->trust);
	for (size_t i = 0; plan->mounts && i < plan->mount_count; i++) {
		free(plan->mounts[i].name);
		free(plan->mounts[i].target);
	}
	free(plan->mounts);
	network_plan__free(&plan->network);
	lan_plan__free(&plan->lans);
	strings__free(&plan->lower);
	strings__free(&plan->environment);
	strings__free(&plan->main_argv);
	strings__free(&plan->main_environment);
	memset(plan, 0, sizeof(*plan));
}
