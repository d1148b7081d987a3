/* QEMU's command line for a machine: a machine under TCG with capsa's devices behind vhost-user. */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "engine/qemu/qemu.h"

/* seccomp in QEMU itself: it has nothing to start and nobody to become. */
#define SANDBOX "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

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

void qemu_args__add(struct qemu_args *args, const char *text)
{
	push(args, strdup(text));
}

void qemu_args__addf(struct qemu_args *args, const char *format, ...)
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
	qemu_args__add(args, option);
	qemu_args__addf(args, "/proc/self/fd/%d", fd);
	inherit(args, fd);
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
	qemu_args__addf(args, "socket,id=d%u,path=%.*s/" QEMU_NET_SOCKET, index, (int)len, doubled, index);
}

/* QEMU fills its buses in the order in which Linux finds the devices. */
static int add_device(struct qemu_args *args, struct virtio_device *dev, unsigned index, int fd,
		      const char *runtime_dir, struct failure *why)
{
	const struct virtio_front_end *front_end = &dev->ops->front_end;
	char properties[512] = "";
	if (!front_end->device)
		return failure__set(why, ENOTSUP, NULL, "engine \"qemu\" has no way to attach a %s device",
				    dev->ops->name);
	qemu_args__add(args, "-chardev");
	if (front_end->netdev) {
		add_connecting(args, runtime_dir, index);
		qemu_args__add(args, "-netdev");
		qemu_args__addf(args, "vhost-user,id=n%u,chardev=d%u", index, index);
	} else {
		qemu_args__addf(args, "socket,id=d%u,fd=%d", index, fd);
		inherit(args, fd);
	}
	if (front_end->properties)
		front_end->properties(dev, properties, sizeof(properties));
	qemu_args__add(args, "-device");
	qemu_args__addf(args, "%s,%s%u%s", front_end->device, front_end->netdev ? "netdev=n" : "chardev=d", index,
			properties);
	return 0;
}

/* Devices without the balloon. */
static unsigned count_devices(const struct machine *machine)
{
	return machine->device_count + (machine->console_fd >= 0);
}

bool qemu_args__has_balloon(const struct machine *machine)
{
	return machine->has_balloon && count_devices(machine) < qemu_arch__places(machine);
}

int qemu_args__build(struct qemu_args *args, const struct machine *machine, const struct qemu_wires *wires,
		     struct failure *why)
{
	const struct machine_config *config = machine->config;
	static const char *const fixed[] = {
		"-nodefaults", "-no-user-config",
		"-name",       "process=qemu", /* it was executed by a number */
		"-no-reboot",  "-S",
		"-display",    "none",
		"-accel",      "tcg,thread=multi,tb-size=256",
		"-global",     "virtio-mmio.force-legacy=false",
		"-sandbox",    SANDBOX,
	};
	char program[PATH_MAX];
	*args = (struct qemu_args){.argv = NULL};
	if (count_devices(machine) > qemu_arch__places(machine))
		return failure__set(why, ENOSPC, NULL,
				    "engine \"qemu\" has places for %u devices, and this machine has %u: each of its "
				    "networks is one",
				    qemu_arch__places(machine), count_devices(machine));
	qemu_args__add(args, realpath(config->qemu, program) ? program
							     : config->qemu); /* beside which it looks for its files */
	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		qemu_args__add(args, fixed[i]);
	qemu_arch__add_machine(args, machine);
	qemu_args__add(args, "-smp");
	qemu_args__addf(args, "%u", config->cpus);
	qemu_args__add(args, "-m");
	qemu_args__addf(args, "%lluk", (unsigned long long)config->memory / 1024);
	qemu_args__add(args, "-object");
	qemu_args__addf(args, "memory-backend-file,id=ram,share=on,mem-path=/proc/self/fd/%d,size=%llu", wires->memory,
			(unsigned long long)config->memory);
	inherit(args, wires->memory);
	qemu_args__add(args, "-chardev");
	qemu_args__addf(args, "socket,id=monitor,fd=%d", wires->monitor);
	inherit(args, wires->monitor);
	qemu_args__add(args, "-mon");
	qemu_args__add(args, "chardev=monitor,mode=control");
	add_file(args, "-kernel", wires->kernel);
	if (wires->initrd >= 0)
		add_file(args, "-initrd", wires->initrd);
	qemu_arch__add_cmdline(args, config);
	int err = 0;
	for (unsigned i = 0; !err && i < machine->device_count; i++)
		err = add_device(args, machine->devices[i].dev, i, wires->devices[i], config->runtime_dir, why);
	if (qemu_args__has_balloon(machine)) {
		qemu_args__add(args, "-device");
		qemu_args__add(args, "virtio-balloon-device,free-page-reporting=on,page-poison=off");
	}
	if (wires->console >= 0) {
		qemu_args__add(args, "-chardev");
		qemu_args__addf(args, "socket,id=console,fd=%d", wires->console);
		inherit(args, wires->console);
		qemu_args__add(args, "-device");
		qemu_args__add(args, "virtio-serial-device,max_ports=1");
		qemu_args__add(args, "-device");
		qemu_args__add(args, "virtconsole,chardev=console");
	}
	if (wires->serial >= 0) {
		qemu_args__add(args, "-chardev");
		qemu_args__addf(args, "socket,id=serial,fd=%d", wires->serial);
		inherit(args, wires->serial);
		qemu_args__add(args, "-serial");
		qemu_args__add(args, "chardev:serial");
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
