/* QEMU's command line for a machine: a microvm under TCG with capsa's devices behind vhost-user. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "common/clock.h"
#include "engine/qemu/qemu.h"
#include "virtio/net.h"

/* seccomp in QEMU itself: it has nothing to start and nobody to become. */
#define SANDBOX "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
#define MICROVM_PLACES 8 /* for devices, with one interrupt controller */
#define FS_TAG_MAX 36    /* virtio 1.2, section 5.11.4: the configuration begins with the tag */

static void push(struct qemu_args *args, char *text)
{
	if (args->count + 2 > args->room) {
		unsigned room = args->room ? args->room * 2 : 64;
		char **argv = realloc(args->argv, room * sizeof(*argv));
		if (!argv) {
			args->failed = true;
			free(text);
			return;
		}
		args->argv = argv;
		args->room = room;
	}
	args->failed = args->failed || !text;
	args->argv[args->count++] = text;
	args->argv[args->count] = NULL;
}

static void add(struct qemu_args *args, const char *text)
{
	push(args, strdup(text));
}

__attribute__((format(printf, 2, 3))) static void addf(struct qemu_args *args, const char *format, ...)
{
	char *text = NULL;
	va_list list;
	va_start(list, format);
	if (vasprintf(&text, format, list) < 0)
		text = NULL;
	va_end(list);
	push(args, text);
}

static void inherit(struct qemu_args *args, int fd)
{
	args->fds[args->fd_count++] = fd;
}

/* A file that it opens by a descriptor of its own: no path leads to any from where it is. */
static void add_file(struct qemu_args *args, const char *option, int fd)
{
	add(args, option);
	addf(args, "/proc/self/fd/%d", fd);
	inherit(args, fd);
}

/*
 * The TSC in kHz, 0 where there is none to rely on. TCG passes the host's TSC on to the guest, which cannot calibrate
 * it: the timers it would do that with are emulated. Measured over 2 ms, to about 20 millionths.
 */
#if defined(__x86_64__)
/* A reading of both clocks at one moment: of a few tries, the one least disturbed. */
static void read_clocks(uint64_t *tsc, uint64_t *ns)
{
	uint64_t best = UINT64_MAX;
	for (int i = 0; i < 8; i++) {
		uint64_t before = monotonic_ns(), ticks = __rdtsc(), after = monotonic_ns();
		if (after - before >= best)
			continue;
		best = after - before;
		*tsc = ticks;
		*ns = before + (after - before) / 2;
	}
}

static uint64_t tsc_khz(void)
{
	uint64_t tsc = 0, ns = 0, tsc_end = 0, ns_end = 0;
	read_clocks(&tsc, &ns);
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	read_clocks(&tsc_end, &ns_end);
	return ns_end > ns && tsc_end > tsc ? (tsc_end - tsc) * 1000000 / (ns_end - ns) : 0;
}
#else
static uint64_t tsc_khz(void)
{
	return 0;
}
#endif

/*
 * What the guest's kernel is told beyond its own words. An emulated processor makes waiting dear, so it is spared what
 * it would measure or try out: the TSC's rate, whether the timer interrupt works, and the APIC timer's rate: 1 GHz in
 * QEMU, and a single CPU can do with the PIT. reboot=t: a triple fault ends the machine, as there is no ACPI to do it.
 * With ACPI the machine is a "reduced" one, and Linux uses no PIT in it: one that does not know the TSC's rate, for a
 * busy host disturbed its measuring, has no clock at all then and stands still.
 */
static void add_cmdline(struct qemu_args *args, const struct machine_config *config)
{
	char tsc[64] = "";
	uint64_t khz = tsc_khz();
	if (khz)
		snprintf(tsc, sizeof(tsc), " tsc_early_khz=%llu tsc=reliable", (unsigned long long)khz);
	add(args, "-append");
	if (config->acpi) /* before the words of others, which may contradict, or end in some for init */
		addf(args, "no_timer_check%s %s", tsc, config->cmdline);
	else
		addf(args, "%s%sreboot=t no_timer_check%s%s", config->cmdline, *config->cmdline ? " " : "", tsc,
		     config->cpus == 1 ? " nolapic_timer" : " lapic_timer_khz=1000000");
}

bool qemu_args__wants_config(const struct virtio_device *dev)
{
	return dev->ops->id == VIRTIO_ID_VSOCK || dev->ops->id == VIRTIO_ID_BLOCK;
}

/* Its configuration space is QEMU's, so QEMU is told what is in it; and to offer nothing that the device has not. */
static void add_net(struct qemu_args *args, struct virtio_device *dev, unsigned index)
{
	uint8_t mac[VIRTIO_NET_MAC];
	uint16_t mtu;
	dev->ops->read_config(dev, 0, mac, sizeof(mac));
	dev->ops->read_config(dev, VIRTIO_NET_MTU_AT, &mtu, sizeof(mtu));
	add(args, "-netdev");
	addf(args, "vhost-user,id=n%u,chardev=d%u", index, index);
	add(args, "-device");
	addf(args,
	     "virtio-net-device,netdev=n%u,mac=%02x:%02x:%02x:%02x:%02x:%02x,host_mtu=%u,rx_queue_size=%d,"
	     "tx_queue_size=%d,ctrl_vq=off,ctrl_rx=off,ctrl_vlan=off,ctrl_rx_extra=off,ctrl_mac_addr=off,"
	     "guest_announce=off,mq=off",
	     index, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5], mtu, VIRTQUEUE_MAX_SIZE, VIRTQUEUE_MAX_SIZE);
}

/* -netdev wants a socket that passes descriptors, and believes it only of one it has connected itself. */
bool qemu_args__connects(const struct virtio_device *dev)
{
	return dev->ops->id == VIRTIO_ID_NET;
}

/* A comma in a value is written twice. */
static void add_connecting(struct qemu_args *args, const char *runtime_dir, unsigned index)
{
	char doubled[2 * QEMU_MAX_PATH] = "";
	size_t len = 0;
	for (const char *c = runtime_dir; *c && len + 2 < sizeof(doubled); c++) {
		doubled[len++] = *c;
		if (*c == ',')
			doubled[len++] = ',';
	}
	addf(args, "socket,id=d%u,path=%.*s/" QEMU_NET_SOCKET, index, (int)len, doubled, index);
}

static int add_device(struct qemu_args *args, struct virtio_device *dev, unsigned index, int fd,
		      const char *runtime_dir, struct failure *why)
{
	char tag[FS_TAG_MAX + 1] = "";
	add(args, "-chardev");
	if (qemu_args__connects(dev)) {
		add_connecting(args, runtime_dir, index);
	} else {
		addf(args, "socket,id=d%u,fd=%d", index, fd);
		inherit(args, fd);
	}
	if (dev->ops->id != VIRTIO_ID_NET)
		add(args, "-device");
	switch (dev->ops->id) {
	case VIRTIO_ID_VSOCK:
		addf(args, "vhost-user-vsock-device,chardev=d%u", index);
		return 0;
	case VIRTIO_ID_BLOCK: /* QEMU fills its buses in the order in which Linux finds them */
		addf(args, "vhost-user-blk,chardev=d%u,num-queues=1", index);
		return 0;
	case VIRTIO_ID_RNG:
		addf(args, "vhost-user-rng,chardev=d%u", index);
		return 0;
	case VIRTIO_ID_NET:
		add_net(args, dev, index);
		return 0;
	case VIRTIO_ID_FS:
		dev->ops->read_config(dev, 0, tag, FS_TAG_MAX);
		addf(args, "vhost-user-fs-device,chardev=d%u,queue-size=%d,num-request-queues=%u,tag=%s", index,
		     VIRTQUEUE_MAX_SIZE, dev->ops->num_queues - 1, tag);
		return 0;
	default:
		return failure__set(why, ENOTSUP, NULL, "engine \"qemu\" has no way to attach a %s device",
				    dev->ops->name);
	}
}

/* Devices without the balloon. */
static unsigned count_devices(const struct machine *machine)
{
	return machine->device_count + (machine->console_fd >= 0);
}

/* With ACPI QEMU adds a second interrupt controller, and has places for more than a machine can have. */
static unsigned places(const struct machine *machine)
{
	return machine->config->acpi ? MACHINE_MAX_DEVICES + 2 : MICROVM_PLACES;
}

bool qemu_args__has_balloon(const struct machine *machine)
{
	return machine->has_balloon && count_devices(machine) < places(machine);
}

int qemu_args__build(struct qemu_args *args, const struct machine *machine, const struct qemu_wires *wires,
		     struct failure *why)
{
	const struct machine_config *config = machine->config;
	/* -erms: Linux copies and clears words then; the "fast" string instructions TCG does byte by byte */
	static const char *const fixed[] = {
		"-nodefaults", "-no-user-config",
		"-name",       "process=qemu", /* it was executed by a number */
		"-no-reboot",  "-S",
		"-display",    "none",
		"-accel",      "tcg,thread=multi,tb-size=256",
		"-cpu",        "max,-erms",
		"-global",     "virtio-mmio.force-legacy=false",
		"-sandbox",    SANDBOX,
	};
	char program[PATH_MAX];
	*args = (struct qemu_args){.argv = NULL};
	if (count_devices(machine) > places(machine))
		return failure__set(why, ENOSPC, NULL,
				    "engine \"qemu\" has places for %u devices, and this machine has %u: each of its "
				    "networks is one",
				    places(machine), count_devices(machine));
	add(args, realpath(config->qemu, program) ? program : config->qemu); /* beside which it looks for its files */
	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		add(args, fixed[i]);
	/* no option ROMs: qboot finds the kernel without; an RTC, for want of which Linux waits a second */
	add(args, "-machine");
	addf(args,
	     "microvm,acpi=%s,rtc=on,isa-serial=%s,x-option-roms=off,graphics=off,dump-guest-core=off,"
	     "mem-merge=off,memory-backend=ram",
	     config->acpi ? "on" : "off", machine->has_serial ? "on" : "off");
	add(args, "-smp");
	addf(args, "%u", config->cpus);
	add(args, "-m");
	addf(args, "%lluk", (unsigned long long)config->memory / 1024);
	add(args, "-object");
	addf(args, "memory-backend-file,id=ram,share=on,mem-path=/proc/self/fd/%d,size=%llu", wires->memory,
	     (unsigned long long)config->memory);
	inherit(args, wires->memory);
	add(args, "-chardev");
	addf(args, "socket,id=monitor,fd=%d", wires->monitor);
	inherit(args, wires->monitor);
	add(args, "-mon");
	add(args, "chardev=monitor,mode=control");
	add_file(args, "-kernel", wires->kernel);
	if (wires->initrd >= 0)
		add_file(args, "-initrd", wires->initrd);
	add_cmdline(args, config);
	int err = 0;
	for (unsigned i = 0; !err && i < machine->device_count; i++)
		err = add_device(args, machine->devices[i].dev, i, wires->devices[i], config->runtime_dir, why);
	if (qemu_args__has_balloon(machine)) {
		add(args, "-device");
		add(args, "virtio-balloon-device,free-page-reporting=on,page-poison=off");
	}
	if (wires->console >= 0) {
		add(args, "-chardev");
		addf(args, "socket,id=console,fd=%d", wires->console);
		inherit(args, wires->console);
		add(args, "-device");
		add(args, "virtio-serial-device,max_ports=1");
		add(args, "-device");
		add(args, "virtconsole,chardev=console");
	}
	if (wires->serial >= 0) {
		add(args, "-chardev");
		addf(args, "socket,id=serial,fd=%d", wires->serial);
		inherit(args, wires->serial);
		add(args, "-serial");
		add(args, "chardev:serial");
	}
	if (!err && args->failed)
		err = failure__set(why, ENOMEM, NULL, "no memory for QEMU's arguments");
	return err;
}

void qemu_args__free(struct qemu_args *args)
{
	for (unsigned i = 0; i < args->count; i++)
		free(args->argv[i]);
	free(args->argv);
	*args = (struct qemu_args){.argv = NULL};
}
