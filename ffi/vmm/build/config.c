/* Reading and checking the VMM's configuration; ffi/vmm.cddl says what it looks like. */
#include "vmm/build/config.h"

#include <errno.h>
#include <string.h>

#include "board/board.h"
#include "capsa.h"
#include "net/config.h"
#include "virtio/console.h"
#include "virtio/vsock.h"
#include "vmm/build/kinds.h"

static size_t align(size_t size)
{
	return (size + 15) / 16 * 16;
}

/* Where the struct of a kind is in `devices`; the size of all of them where there is no such kind. */
static size_t place_of(const struct device_kind *kind)
{
	size_t at = 0;
	for (unsigned i = 0; device_kinds[i] && device_kinds[i] != kind; i++)
		at += align(device_kinds[i]->size);
	return at;
}

void *vmm_config__device(struct vmm_config *config, const struct device_kind *kind)
{
	size_t at = place_of(kind);
	return at + kind->size <= sizeof(config->devices) ? config->devices + at : NULL;
}

const void *vmm_config__told(const struct vmm_config *config, const struct device_kind *kind)
{
	return config->devices + place_of(kind);
}

unsigned vmm_config__lans(const struct vmm_config *config)
{
	return ((const struct net_lans *)vmm_config__told(config, &device_lan))->all.count;
}

static int check(struct cbor_reader *reader, const struct vmm_config *config)
{
	const struct vsock_options *vsock = vmm_config__told(config, &device_vsock);
	if (strlen(config->runtime_dir) > CONFIG_MAX_RUNTIME_DIR)
		return failure__set(reader->why, ENAMETOOLONG, NULL,
				    "runtimeDir %.100s is longer than %d bytes: the path of a Unix socket in it would "
				    "not fit; choose a shorter one",
				    config->runtime_dir, CONFIG_MAX_RUNTIME_DIR);
	if (config->memory % 4096)
		return failure__set(reader->why, EINVAL, NULL, "memory is %llu; it must be a multiple of 4096",
				    (unsigned long long)config->memory);
	if (*(const bool *)vmm_config__told(config, &device_console) && config->serial)
		return failure__set(reader->why, EINVAL, NULL,
				    "console and serial are both set; a machine has one console: choose one of them");
	if (config->events_port && !vsock->guest_cid)
		return failure__set(reader->why, EINVAL, NULL, "eventsPort needs vsock");
	if (config->clock_port && (!vsock->guest_cid || config->clock_port == config->events_port))
		return failure__set(reader->why, EINVAL, NULL, "clockPort needs vsock, and a port of its own");
	if (strcmp(config->engine, "qemu") == 0 && !config->qemu)
		return failure__set(reader->why, EINVAL, NULL, "qemu.path is missing");
	if (config->version != CAPSA_ABI_VERSION)
		return failure__set(reader->why, EPROTO, NULL,
				    "version is %u and this capsa-vmm speaks %u: the two come from different builds; "
				    "run `make -C ffi`",
				    config->version, CAPSA_ABI_VERSION);
	return 0;
}

static const char *const confine_words[] = {"none", "auto", "require", NULL};
_Static_assert(CONFINE_NONE == 0 && CONFINE_AUTO == 1 && CONFINE_REQUIRE == 2, "as the words are numbered");

static const struct cbor_field qemu_fields[] = {{.key = "path", .kind = CBOR_PATH, .required = true}};
static const struct cbor_table qemu_table = CBOR_TABLE("qemu-program", qemu_fields);

#define MEMBER(member) offsetof(struct vmm_config, member)
static const struct cbor_field machine_fields[] = {
	{.key = "version", .kind = CBOR_U32, .required = true, .offset = MEMBER(version)},
	{.key = "name", .kind = CBOR_TEXT, .required = true, .offset = MEMBER(name)},
	{.key = "engine", .kind = CBOR_TEXT, .required = true, .offset = MEMBER(engine)},
	{.key = "kernel", .kind = CBOR_PATH, .required = true, .offset = MEMBER(kernel)},
	{.key = "kernelIdentity", .kind = CBOR_TUPLE, .offset = MEMBER(kernel_identity), .table = &file_identity_table},
	{.key = "initrd", .kind = CBOR_PATH, .offset = MEMBER(initrd)},
	{.key = "initrdIdentity", .kind = CBOR_TUPLE, .offset = MEMBER(initrd_identity), .table = &file_identity_table},
	{.key = "cmdline", .kind = CBOR_TEXT, .required = true, .offset = MEMBER(cmdline)},
	{.key = "acpi", .kind = CBOR_BOOL, .offset = MEMBER(acpi)},
	{.key = "cpus", .kind = CBOR_U32, .required = true, .offset = MEMBER(cpus), .min = 1, .max = 255},
	{.key = "memory",
	 .kind = CBOR_U64,
	 .required = true,
	 .offset = MEMBER(memory),
	 .min = BOARD_MEMORY_MIN,
	 .max = BOARD_MEMORY_MAX},
	{.key = "runtimeDir", .kind = CBOR_PATH, .required = true, .offset = MEMBER(runtime_dir)},
	{.key = "detached", .kind = CBOR_BOOL, .required = true, .offset = MEMBER(detached)},
	{.key = "serial", .kind = CBOR_BOOL, .offset = MEMBER(serial)},
	{.key = "eventsPort", .kind = CBOR_U32, .offset = MEMBER(events_port), .min = 1, .max = UINT32_MAX - 1},
	{.key = "clockPort", .kind = CBOR_U32, .offset = MEMBER(clock_port), .min = 1, .max = UINT32_MAX - 1},
	{.key = "archive", .kind = CBOR_PATH, .offset = MEMBER(archive)},
	{.key = "logLimit", .kind = CBOR_U64, .offset = MEMBER(log_limit), .min = 4096, .max = 1ULL << 40},
	{.key = "ttl", .kind = CBOR_U64, .offset = MEMBER(ttl), .min = 1, .max = 1ULL << 40},
	{.key = "waits", .kind = CBOR_BOOL, .offset = MEMBER(waits)},
	{.key = "qemu", .kind = CBOR_MAP, .offset = MEMBER(qemu), .table = &qemu_table},
	{.key = "confine", .kind = CBOR_CHOICE, .required = true, .offset = MEMBER(confine), .words = confine_words},
};

unsigned vmm_config__fields(struct cbor_field fields[VMM_CONFIG_FIELDS])
{
	unsigned count = sizeof(machine_fields) / sizeof(machine_fields[0]);
	memcpy(fields, machine_fields, sizeof(machine_fields));
	for (unsigned i = 0; device_kinds[i] && count < VMM_CONFIG_FIELDS; i++) {
		fields[count] = device_kinds[i]->field;
		fields[count++].offset = MEMBER(devices) + place_of(device_kinds[i]);
	}
	return count;
}
#undef MEMBER

int vmm_config__read(struct vmm_config *config, const uint8_t *from, size_t len, struct failure *why)
{
	struct cbor_field fields[VMM_CONFIG_FIELDS];
	const struct cbor_table table = {.name = "vmm-config", .fields = fields, .count = vmm_config__fields(fields)};
	struct failure what;
	*config = (struct vmm_config){.log_limit = CONFIG_DEFAULT_LOG_LIMIT};
	struct cbor_reader reader = {.arena = &config->arena, .why = &what};
	int err = place_of(NULL) <= sizeof(config->devices)
			  ? cbor_table__read(&reader, &table, from, len, config)
			  : failure__set(&what, ENOSPC, NULL, "there is no room for all kinds of devices");
	if (!err)
		err = check(&reader, config);
	if (err) {
		vmm_config__free(config);
		return failure__set(why, -err, "CONFIG_INVALID", "the VMM's configuration: %.400s", what.message);
	}
	return 0;
}

void vmm_config__free(struct vmm_config *config)
{
	cbor_arena__free(&config->arena);
	*config = (struct vmm_config){.version = 0};
}
