/* Making the machine that the configuration describes. */
#include "vmm/build/build.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/errno_name.h"
#include "virtio/balloon.h"
#include "virtio/console.h"
#include "vmm/build/allowance.h"
#include "vmm/build/handover.h"

void build__begin(struct built *built, const struct vmm_config *config, const struct device_maker *maker,
		  struct loop *loop,
		  void (*ended)(struct machine *machine, enum machine_end end, const struct failure *why))
{
	*built = (struct built){.config = config, .kernel = -1, .initrd = -1, .devices.maker = *maker};
	snprintf(built->own_dir, sizeof(built->own_dir), "%s/" VMM_DIR, config->runtime_dir);
	struct device_maker *ours = &built->devices.maker;
	ours->name = config->name;
	ours->memory = config->memory;
	ours->socket_dir = built->own_dir;
	ours->first_listener = HANDOVER_LISTENERS;
	ours->console = -1;
	built->machine = (struct machine){.loop = loop, .ended = ended, .owner = maker->owner};
}

/* Not waiting for the other side of a FIFO, which a guest may have put where the file was. */
static int open_file(const char *path, const struct file_identity *identity, const char *what, const char *mend,
		     int *fd, uint64_t *size, struct failure *why)
{
	struct stat st = {.st_mode = 0};
	*fd = file_identity__open(identity, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	int error = *fd < 0 ? -*fd : fstat(*fd, &st) < 0 ? errno : S_ISREG(st.st_mode) ? 0 : EINVAL;
	if (error)
		return failure__set(why, error, NULL, "the %s %s cannot be read (%s)%s", what, path,
				    error == EINVAL ? "it is not a regular file" : errno_name(error),
				    error == ESTALE ? ": another one has its name by now" : mend);
	*size = (uint64_t)st.st_size;
	return 0;
}

static int check_kernel(int fd, const char *path, struct failure *why)
{
	unsigned char head[0x206] = {0};
	if (pread(fd, head, sizeof(head), 0) >= 0 &&
	    (memcmp(head, "\177ELF", 4) == 0 || memcmp(head + 0x202, "HdrS", 4) == 0))
		return 0;
	return failure__set(why, ENOEXEC, "KERNEL_INVALID",
			    "%s is not a usable kernel: it is neither an ELF vmlinux nor a bzImage", path);
}

/* A guest that runs out of memory while it unpacks its initrd dies without a word: say so before. */
int build__open_files(struct built *built, struct failure *why)
{
	const struct vmm_config *config = built->config;
	uint64_t kernel = 0, initrd = 0;
	int err = open_file(config->kernel, &config->kernel_identity, "kernel",
			    "; `capsa kernel build` makes capsa's own", &built->kernel, &kernel, why);
	if (!err && config->initrd)
		err = open_file(config->initrd, &config->initrd_identity, "initrd", "", &built->initrd, &initrd, why);
	if (!err)
		err = check_kernel(built->kernel, config->kernel, why);
	if (err)
		return err;
	uint64_t least = kernel + 2 * initrd + (16U << 20);
	if (config->memory < least)
		return failure__set(
			why, ENOMEM, "MEMORY_TOO_SMALL",
			"%llu MiB of memory are too little for this kernel (%llu MiB) and initrd (%llu MiB, "
			"held twice while it is unpacked): give the machine %llu MiB or more",
			(unsigned long long)config->memory >> 20, (unsigned long long)(kernel >> 20) + 1,
			(unsigned long long)(initrd >> 20) + 1, (unsigned long long)(least >> 20) + 1);
	return 0;
}

static void close_files(struct built *built)
{
	int *files[] = {&built->kernel, &built->initrd};
	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (*files[i] >= 0)
			close(*files[i]);
		*files[i] = -1;
	}
}

/* The console's descriptor goes to a device, or to the engine: as what it carries itself, or as a serial port. */
static uint64_t carried_kinds(const struct built *built)
{
	return (built->engine->carries_console ? 1ULL << device_console.id : 0) |
	       (built->engine->balloon ? 1ULL << device_balloon.id : 0);
}

static int make_devices(struct built *built, int console, bool by_engine, struct failure *why)
{
	built->devices.maker.console = by_engine ? -1 : console;
	int err = device_set__build(&built->devices, built->config, carried_kinds(built), why);
	if (err && by_engine && console >= 0)
		close(console);
	return err;
}

int build__machine(struct built *built, int console, struct failure *why)
{
	const struct vmm_config *config = built->config;
	struct machine *machine = &built->machine;
	char names[64];
	built->engine = engine__find(config->engine, names, sizeof(names));
	bool by_engine = config->serial || !built->engine || built->engine->carries_console;
	if (!built->engine && console >= 0)
		close(console);
	if (!built->engine)
		return failure__set(why, EINVAL, "CONFIG_INVALID",
				    "engine \"%.40s\" is not in this build, which has %s", config->engine, names);
	int err = make_devices(built, console, by_engine, why);
	if (err)
		return err;
	built->machine_config = (struct machine_config){
		.name = config->name,
		.kernel = built->kernel,
		.initrd = built->initrd,
		.kernel_path = config->kernel,
		.initrd_path = config->initrd,
		.cmdline = config->cmdline,
		.acpi = config->acpi,
		.runtime_dir = built->own_dir,
		.qemu = config->qemu,
		.confine = config->confine,
		.data = allowance__of(config).engine_data,
		.cpus = config->cpus,
		.memory = config->memory,
	};
	machine->config = &built->machine_config;
	machine->device_count = built->devices.count;
	machine->console_fd = by_engine && !config->serial ? console : -1;
	machine->has_balloon = *(const bool *)vmm_config__told(config, &device_balloon);
	machine->has_serial = config->serial;
	machine->serial_fd = config->serial ? console : -1;
	for (unsigned i = 0; i < built->devices.count; i++)
		machine->devices[i] = (struct machine_device){.dev = built->devices.slots[i].dev,
							      .loop = built->devices.slots[i].worker.loop};
	err = built->engine->create(machine, why);
	built->created = err == 0;
	close_files(built);
	return err;
}

/* Of all devices: how many there are, put into `shares` unless that is NULL. */
static unsigned list_shares(const struct built *built, struct confine_share *shares, bool *foreign_owners)
{
	unsigned count = 0;
	for (unsigned i = 0; i < built->devices.count; i++) {
		const struct device_slot *slot = &built->devices.slots[i];
		if (slot->kind->shares)
			count += slot->kind->shares(slot->dev, shares ? shares + count : NULL, foreign_owners);
	}
	return count;
}

int build__confinement(struct built *built, struct failure *why)
{
	struct confine_request request = {
		.mode = built->config->confine,
		.runtime_dir = built->own_dir,
		.data = allowance__of(built->config).vmm_data,
		.child = built->machine.child != 0,
	};
	for (unsigned i = 0; i < built->devices.count; i++)
		request.network = request.network || built->devices.slots[i].kind->thread == CONFINE_NETWORK;
	request.share_count = list_shares(built, NULL, &request.foreign_owners);
	struct confine_share *shares = calloc(request.share_count + 1, sizeof(*shares));
	if (!shares)
		return failure__set(why, ENOMEM, NULL, "no memory to confine the VMM with");
	(void)list_shares(built, shares, &request.foreign_owners);
	request.shares = shares;
	int err = confine__apply(&request, &built->confinement, why);
	built->machine.narrow = built->confinement.layers[CONFINE_SYSCALLS].applied;
	free(shares);
	return err;
}

void build__take_down(struct built *built)
{
	close_files(built);
	if (built->created)
		built->engine->destroy(&built->machine);
	built->created = false;
}
