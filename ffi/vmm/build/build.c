/* Making the machine that the configuration describes, and all that surrounds it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/errno_name.h"
#include "vmm/build/allowance.h"
#include "vmm/build/handover.h"
#include "vmm/keeper/cleanup.h"
#include "vmm/vmm.h"

/* Everything that lives in the runtime directory: what of it this process opens or binds now it has by descriptor from
 * then on. Confined, it has the one directory in it where sockets come and go. */
int build__runtime(struct vmm *vmm, struct failure *why)
{
	const struct vmm_config *config = vmm->config;
	char path[CONFIG_MAX_RUNTIME_DIR + 16];
	int dir = open(config->runtime_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err = dir < 0 || (mkdirat(dir, VMM_DIR, 0700) < 0 && errno != EEXIST) ? -errno : 0;
	if (!err && (config->console || config->serial))
		err = log__new(dir, CONSOLE_LOG, LOG_LINES, config->log_limit, &vmm->console_log);
	if (!err && config->events_port)
		err = log__new(dir, EVENTS_LOG, LOG_FRAMES, config->log_limit, &vmm->events_log);
	if (!err && config->net.present)
		err = log__new(dir, NETWORK_LOG, LOG_LINES, config->log_limit, &vmm->network_log);
	if (dir >= 0)
		close(dir);
	snprintf(path, sizeof(path), "%s/control.sock", config->runtime_dir);
	snprintf(vmm->own_dir, sizeof(vmm->own_dir), "%s/" VMM_DIR, config->runtime_dir);
	if (!err)
		err = control__listen(vmm->control, path);
	if (!err && config->events_port)
		err = guest_stream__new(vmm->loop, vmm->own_dir, (uint32_t)config->events_port, vmm__guest_said, vmm,
					&vmm->guest);
	if (!err && config->clock_port)
		err = host_clock__new(vmm->loop, vmm->own_dir, (uint32_t)config->clock_port, &vmm->clock);
	return err ? failure__set(why, -err, NULL, "runtimeDir %s cannot be filled in (%s)", config->runtime_dir,
				  errno_name(-err))
		   : 0;
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
int build__open_files(struct vmm *vmm, struct failure *why)
{
	const struct vmm_config *config = vmm->config;
	uint64_t kernel = 0, initrd = 0;
	int err = open_file(config->kernel, &config->kernel_identity, "kernel",
			    "; `capsa kernel build` makes capsa's own", &vmm->kernel, &kernel, why);
	if (!err && config->initrd)
		err = open_file(config->initrd, &config->initrd_identity, "initrd", "", &vmm->initrd, &initrd, why);
	if (!err)
		err = check_kernel(vmm->kernel, config->kernel, why);
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

void build__close_files(struct vmm *vmm)
{
	int *files[] = {&vmm->kernel, &vmm->initrd};
	for (unsigned i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		if (*files[i] >= 0)
			close(*files[i]);
		*files[i] = -1;
	}
}

static enum confine_mode confine_mode(const struct vmm_config *config)
{
	return strcmp(config->confine, "none") == 0      ? CONFINE_NONE
	       : strcmp(config->confine, "require") == 0 ? CONFINE_REQUIRE
							 : CONFINE_AUTO;
}

int build__machine(struct vmm *vmm, struct failure *why)
{
	const struct vmm_config *config = vmm->config;
	char names[64];
	vmm->engine = engine__find(config->engine, names, sizeof(names));
	if (!vmm->engine)
		return failure__set(why, EINVAL, "CONFIG_INVALID",
				    "engine \"%.40s\" is not in this build, which has %s", config->engine, names);
	bool has_console = config->console || config->serial;
	int console_fd = -1;
	int err = has_console ? console__new(vmm->loop, vmm__console_said, vmm, &vmm->console, &console_fd) : 0;
	if (err)
		return failure__set(why, -err, NULL, "no socket pair for the console");
	int listeners[CONFIG_MAX_LANS];
	for (unsigned i = 0; i < config->lan_count; i++)
		listeners[i] = HANDOVER_LISTENERS + (int)i;
	bool by_engine = config->serial || vmm->engine->carries_console;
	const struct device_options options = {
		.vsock_dir = vmm->own_dir,
		.doors = &vmm->doors,
		.console_fd = by_engine ? -1 : console_fd,
		.listeners = listeners,
		.balloon = config->balloon && !vmm->engine->balloon,
		.notice = network__notice,
		.memory = config->memory,
		.watches = notice__watches,
		.owner = vmm,
	};
	err = device_set__build(&vmm->devices, config, &options, why);
	if (err) {
		if (by_engine && console_fd >= 0)
			close(console_fd);
		return err;
	}
	vmm->machine_config = (struct machine_config){
		.name = config->name,
		.kernel = vmm->kernel,
		.initrd = vmm->initrd,
		.kernel_path = config->kernel,
		.initrd_path = config->initrd,
		.cmdline = config->cmdline,
		.acpi = config->acpi,
		.runtime_dir = vmm->own_dir,
		.qemu = config->qemu,
		.confine = confine_mode(config),
		.data = allowance__of(config).engine_data,
		.cpus = (unsigned)config->cpus,
		.memory = config->memory,
	};
	vmm->machine = (struct machine){
		.config = &vmm->machine_config,
		.loop = vmm->loop,
		.device_count = vmm->devices.count,
		.console_fd = by_engine && !config->serial ? console_fd : -1,
		.has_balloon = config->balloon,
		.has_serial = config->serial,
		.serial_fd = config->serial ? console_fd : -1,
		.ended = vmm__machine_ended,
		.owner = vmm,
	};
	for (unsigned i = 0; i < vmm->devices.count; i++)
		vmm->machine.devices[i] = (struct machine_device){.dev = vmm->devices.slots[i].dev,
								  .loop = vmm->devices.slots[i].worker.loop};
	err = vmm->engine->create(&vmm->machine, why);
	vmm->created = err == 0;
	build__close_files(vmm);
	return err;
}

int build__confinement(struct vmm *vmm, struct failure *why)
{
	const struct vmm_config *config = vmm->config;
	struct confine_request request = {
		.mode = confine_mode(config),
		.runtime_dir = vmm->own_dir,
		.network = config->net.present,
		.data = allowance__of(config).vmm_data,
		.child = vmm->machine.child != 0,
	};
	for (unsigned i = 0; i < config->fs_count; i++)
		request.share_count += 2 * config->fs[i].root_count; /* at most */
	struct confine_share *shares = calloc(request.share_count + 1, sizeof(*shares));
	if (!shares)
		return failure__set(why, ENOMEM, NULL, "no memory to confine the VMM with");
	unsigned count = 0;
	for (unsigned i = 0; i < config->fs_count; i++) {
		for (unsigned j = 0; j < config->fs[i].root_count; j++) {
			const struct config_root *root = &config->fs[i].roots[j];
			shares[count++] = (struct confine_share){.fd = device_set__root(&vmm->devices, i, j),
								 .read_only = root->read_only || root->layer};
			if (root->layer)
				shares[count++] = (struct confine_share){.fd = device_set__layer(&vmm->devices, i, j),
									 .whiteouts = true};
			request.foreign_owners = request.foreign_owners || root->ownership == FS_OWNER_PASSTHROUGH ||
						 root->ownership == FS_OWNER_MAP;
		}
	}
	request.shares = shares;
	request.share_count = count;
	int err = confine__apply(&request, &vmm->confinement, why);
	vmm->machine.narrow = vmm->confinement.layers[CONFINE_SYSCALLS].applied;
	free(shares);
	return err;
}
