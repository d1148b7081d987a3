/* The QEMU engine: QEMU keeps CPUs and memory, capsa's devices serve it over vhost-user. */
#include "engine/qemu/qemu.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/errno_name.h"
#include "confine/tree.h"
#include "os/memory_file.h"
#include "os/socket.h"

#define START_MS 20000 /* for QEMU to set itself up on a busy machine */
#define COMMAND_MS 5000
#define LAST_TURNS 64 /* of reading the monitor: more than a socket holds */

struct qemu {
	struct machine *machine;
	struct qemu_process process;
	struct qemu_monitor monitor;
	struct vhost_user *backends[MACHINE_MAX_DEVICES];
	/* Where QEMU connects to nothing by itself: for each of its connect(2), in their order. */
	int connections[MACHINE_MAX_DEVICES];
	unsigned connection_count, connected;
	bool watched; /* the main loop has our descriptors */
	bool told;    /* machine->ended was called */
};

/* ---- the end ---- */

static void tell_end(struct qemu *qemu, enum machine_end end, const struct failure *why)
{
	if (qemu->told)
		return;
	qemu->told = true;
	qemu->machine->ended(qemu->machine, end, end == MACHINE_FAILED ? why : NULL);
}

static void on_process_end(void *arg, int fd, unsigned ready)
{
	struct qemu *qemu = arg;
	struct failure why;
	int code;
	(void)ready;
	for (int i = 0; i < LAST_TURNS && qemu_monitor__read(&qemu->monitor) >= 0; i++)
		;
	if (!qemu_process__ended(&qemu->process, &code, &why))
		return;
	loop__del(qemu->machine->loop, fd);
	if (code == 0 && qemu->monitor.host_ended) {
		code = 1;
		(void)!failure__set(&why, EIO, "ENGINE_FAILED", "QEMU was told to end by a signal");
	}
	tell_end(qemu, code == 0 ? MACHINE_SHUTDOWN : MACHINE_FAILED, &why);
}

static void on_monitor(void *arg, int fd, unsigned ready)
{
	struct qemu *qemu = arg;
	(void)ready;
	if (qemu_monitor__read(&qemu->monitor) < 0)
		loop__del(qemu->machine->loop, fd);
}

static void on_words(void *arg, int fd, unsigned ready)
{
	struct qemu *qemu = arg;
	(void)ready;
	if (!qemu_process__listen(&qemu->process))
		loop__del(qemu->machine->loop, fd);
}

/* ---- the devices' back ends, each on its worker ---- */

struct broken_report {
	struct qemu *qemu;
	struct failure why;
};

static void on_broken(void *arg)
{
	struct broken_report *report = arg;
	tell_end(report->qemu, MACHINE_FAILED, &report->why);
	free(report);
}

/* On a worker's thread. The machine outlives its workers' last call, and posts are made in order. */
static void backend_broken(void *arg, const struct failure *why)
{
	struct qemu *qemu = arg;
	struct broken_report *report = malloc(sizeof(*report));
	if (!report)
		return;
	*report = (struct broken_report){.qemu = qemu, .why = *why};
	if (loop__post(qemu->machine->loop, on_broken, report) < 0)
		free(report);
}

struct attach_call {
	struct qemu *qemu;
	unsigned index;
	int fd;
	bool listens;
	int result;
};

static void attach_on_worker(void *arg)
{
	struct attach_call *call = arg;
	struct virtio_device *dev = call->qemu->machine->devices[call->index].dev;
	struct vhost_user_options options = {
		.fd = call->fd,
		.listens = call->listens,
		.config = dev->ops->front_end.config,
		.broken = backend_broken,
		.arg = call->qemu,
	};
	call->result = vhost_user__new(dev, &options, &call->qemu->backends[call->index]);
}

static void detach_on_worker(void *arg)
{
	vhost_user__free(arg);
}

static int net_socket(const struct qemu *qemu, unsigned index, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	return (size_t)snprintf(address->sun_path, sizeof(address->sun_path), "%s/" QEMU_NET_SOCKET,
				qemu->machine->config->runtime_dir, index) < sizeof(address->sun_path)
		       ? 0
		       : -ENAMETOOLONG;
}

/* Both ends of what a device is served over: near is the device's; far is -1 where QEMU connects to it. 0 or -errno. */
static int make_ends(struct qemu *qemu, unsigned index, bool connects, int *near, int *far)
{
	int pair[2];
	if (!connects) {
		int failed = socket__pair(SOCK_STREAM, true, pair);
		if (failed)
			return failed;
		*near = pair[0];
		*far = pair[1];
		return 0;
	}
	struct sockaddr_un address;
	int err = net_socket(qemu, index, &address);
	*far = -1;
	if (err)
		return err;
	*near = socket__new(AF_UNIX, SOCK_STREAM, 0, false);
	if (*near < 0)
		return *near;
	if (bind(*near, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(*near, 1) == 0)
		return 0;
	err = -errno;
	close(*near);
	return err;
}

static int attach(struct qemu *qemu, unsigned index, int *far, struct failure *why)
{
	const struct machine_device *device = &qemu->machine->devices[index];
	struct attach_call call = {.qemu = qemu, .index = index, .listens = device->dev->ops->front_end.netdev};
	int err = make_ends(qemu, index, call.listens, &call.fd, far);
	if (err)
		return failure__set(why, -err, NULL, "no sockets for the %s device", device->dev->ops->name);
	err = loop__call(device->loop, attach_on_worker, &call);
	if (err)
		close(call.fd);
	else
		err = call.result;
	return err ? failure__set(why, -err, NULL, "the %s device cannot be served", device->dev->ops->name) : 0;
}

/* QEMU waits for an answer where it connects: the answers are these connections. */
static int make_connections(struct qemu *qemu, struct failure *why)
{
	const struct machine *machine = qemu->machine;
	for (unsigned i = 0; qemu->process.connects >= 0 && i < machine->device_count; i++) {
		struct sockaddr_un address;
		if (!machine->devices[i].dev->ops->front_end.netdev)
			continue;
		int fd = socket__new(AF_UNIX, SOCK_STREAM, 0, true);
		int err = fd < 0 ? fd : net_socket(qemu, i, &address);
		if (fd >= 0)
			qemu->connections[qemu->connection_count++] = fd;
		if (!err && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
			err = -errno;
		if (err)
			return failure__set(why, -err, NULL, "no connection for the network card (%s)",
					    errno_name(-err));
	}
	return 0;
}

static void end_connecting(struct qemu *qemu)
{
	qemu_process__connected(&qemu->process);
	for (unsigned i = 0; i < qemu->connection_count; i++)
		close(qemu->connections[i]);
	qemu->connection_count = 0;
}

/* ---- create ---- */

static bool is_same_file(int one, int other)
{
	struct stat a, b;
	return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* Where mounting is permitted, in a mount that is read-only: QEMU opens it again, by a path to this very descriptor. A
 * mount is found by its path, which may lead elsewhere by now than to `file`. */
static int open_file(const char *what, const char *path, int file, int *fd, struct failure *why)
{
	char again[32];
	int tree = tree__open(path, true);
	int err = tree < 0 ? tree : is_same_file(tree, file) ? 0 : -ESTALE;
	snprintf(again, sizeof(again), "/proc/self/fd/%d", tree);
	*fd = err ? -1 : open(again, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (!err && *fd < 0)
		err = -errno;
	if (tree >= 0)
		close(tree);
	return err ? failure__set(why, -err, NULL, "the %s %s cannot be read (%s)%s", what, path, errno_name(-err),
				  err == -ESTALE ? ": another one has its name by now" : "")
		   : 0;
}

static int make_wires(struct qemu *qemu, struct qemu_wires *wires, struct failure *why)
{
	int pair[2];
	const struct machine_config *config = qemu->machine->config;
	wires->memory = memory_file__new_sized("capsa-memory", config->memory);
	if (wires->memory < 0)
		return failure__set(why, -wires->memory, NULL, "no memory for the guest: %llu MiB cannot be set aside",
				    (unsigned long long)config->memory >> 20);
	int err = open_file("kernel", config->kernel_path, config->kernel, &wires->kernel, why);
	if (!err && config->initrd >= 0)
		err = open_file("initrd", config->initrd_path, config->initrd, &wires->initrd, why);
	if (err)
		return err;
	err = socket__pair(SOCK_STREAM, true, pair);
	if (err)
		return failure__set(why, -err, NULL, "no socket pair for QEMU's monitor");
	qemu->monitor.fd = pair[0];
	wires->monitor = pair[1];
	for (unsigned i = 0; i < qemu->machine->device_count; i++) {
		err = attach(qemu, i, &wires->devices[i], why);
		if (err)
			return err;
	}
	return 0;
}

/* QEMU's ends are its own once it runs. */
static void close_wires(struct qemu_wires *wires)
{
	int fds[] = {wires->memory, wires->kernel, wires->initrd, wires->monitor, wires->console, wires->serial};
	for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	for (unsigned i = 0; i < MACHINE_MAX_DEVICES; i++)
		if (wires->devices[i] >= 0)
			close(wires->devices[i]);
}

static void qemu__destroy(struct machine *machine)
{
	struct qemu *qemu = machine->engine;
	if (!qemu)
		return;
	if (qemu->watched) {
		loop__del(machine->loop, qemu->process.pidfd);
		loop__del(machine->loop, qemu->process.errors);
		loop__del(machine->loop, qemu->monitor.fd);
	}
	end_connecting(qemu);
	qemu_process__kill(&qemu->process);
	for (unsigned i = 0; i < machine->device_count; i++)
		if (qemu->backends[i] && loop__call(machine->devices[i].loop, detach_on_worker, qemu->backends[i]) < 0)
			vhost_user__free(qemu->backends[i]); /* its loop has stopped */
	if (qemu->monitor.fd >= 0)
		close(qemu->monitor.fd);
	machine->engine = NULL;
	machine->child = 0;
	free(qemu);
}

/* Into a cage that holds QEMU, its libraries, what it was handed, and the sockets to which it connects. */
static int start_process(struct qemu *qemu, const struct qemu_args *args, const struct qemu_wires *wires,
			 struct failure *why)
{
	struct machine *machine = qemu->machine;
	char path[PATH_MAX];
	struct sockaddr_un addresses[MACHINE_MAX_DEVICES];
	const char *sockets[MACHINE_MAX_DEVICES];
	const int files[] = {wires->kernel, wires->initrd};
	struct confine_program program = {
		.path = realpath(machine->config->qemu, path) ? path : machine->config->qemu,
		.files = files,
		.file_count = wires->initrd >= 0 ? 2 : 1,
		.sockets = sockets,
	};
	for (unsigned i = 0; i < machine->device_count; i++)
		if (machine->devices[i].dev->ops->front_end.netdev && net_socket(qemu, i, &addresses[i]) == 0)
			sockets[program.socket_count++] = addresses[i].sun_path;
	const struct confine_request cage = {.mode = machine->config->confine,
					     .program = &program,
					     .runtime_dir = machine->config->runtime_dir,
					     .data = machine->config->data};
	int err = qemu_process__start(&qemu->process, &cage, args->argv, args->fds, args->fd_count,
				      &machine->child_confinement, why);
	return err ? err : make_connections(qemu, why);
}

static int qemu__create(struct machine *machine, struct failure *why)
{
	struct qemu_wires wires = {.memory = -1,
				   .kernel = -1,
				   .initrd = -1,
				   .monitor = -1,
				   .console = machine->console_fd,
				   .serial = machine->has_serial ? machine->serial_fd : -1};
	struct qemu *qemu = calloc(1, sizeof(*qemu));
	for (unsigned i = 0; i < MACHINE_MAX_DEVICES; i++)
		wires.devices[i] = -1;
	if (!qemu) {
		close_wires(&wires);
		return failure__set(why, ENOMEM, NULL, "no memory for the engine");
	}
	*qemu = (struct qemu){
		.machine = machine, .process = {.pidfd = -1, .errors = -1, .connects = -1}, .monitor = {.fd = -1}};
	machine->engine = qemu;
	struct qemu_args args = {.argv = NULL};
	int err = make_wires(qemu, &wires, why);
	if (!err)
		err = qemu_args__build(&args, machine, &wires, why);
	if (!err)
		err = start_process(qemu, &args, &wires, why);
	qemu_args__free(&args);
	close_wires(&wires);
	if (err)
		qemu__destroy(machine);
	else
		machine->child = qemu->process.pid;
	return err;
}

/* ---- start, pause, resume ---- */

static int answer_connect(struct qemu *qemu)
{
	int fd = qemu->connected < qemu->connection_count ? qemu->connections[qemu->connected++] : -1;
	int err = qemu_process__connect(&qemu->process, fd);
	return err == -EAGAIN ? 0 : err;
}

/* Wait until every command sent is answered. 0; -EIO when one was refused or QEMU ended; -ETIMEDOUT. */
static int await_replies(struct qemu *qemu, int ms)
{
	int64_t until = monotonic_ms() + ms;
	struct pollfd fds[] = {
		{.fd = qemu->monitor.fd, .events = POLLIN},
		{.fd = qemu->process.errors, .events = POLLIN},
		{.fd = qemu->process.connects, .events = POLLIN},
	};
	while (qemu->monitor.awaited) {
		int64_t left = until - monotonic_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(fds, 3, (int)left) < 0 && errno != EINTR)
			return -EIO;
		if (fds[1].revents && !qemu_process__listen(&qemu->process))
			fds[1].fd = -1;
		if (fds[2].revents && answer_connect(qemu) < 0)
			fds[2].fd = -1;
		int got = fds[0].revents ? qemu_monitor__read(&qemu->monitor) : 0;
		if (got < 0 || (got > 0 && qemu->monitor.refused))
			return -EIO;
	}
	return 0;
}

static int command(struct qemu *qemu, const char *name, const char *arguments)
{
	int err = qemu_monitor__send(&qemu->monitor, name, arguments);
	return err ? err : await_replies(qemu, COMMAND_MS);
}

/* Why QEMU did not come up. Its process may take a moment longer to end than its monitor. */
static int explain_start(struct qemu *qemu, int err, struct failure *why)
{
	struct pollfd end = {.fd = qemu->process.pidfd, .events = POLLIN};
	int code;
	if (err == -ETIMEDOUT)
		return failure__set(why, ETIMEDOUT, "ENGINE_FAILED", "QEMU was not ready within %d s", START_MS / 1000);
	if (poll(&end, 1, 1000) == 1 && qemu_process__ended(&qemu->process, &code, why))
		return -EIO;
	return failure__set(why, EIO, "ENGINE_FAILED", "QEMU does not start the machine: %.300s", qemu->monitor.line);
}

static int qemu__start(struct machine *machine, struct failure *why)
{
	struct qemu *qemu = machine->engine;
	/* written before QEMU reads: it goes on without a pause once it is set up */
	int err = qemu_monitor__send(&qemu->monitor, "qmp_capabilities", NULL);
	if (!err)
		err = qemu_monitor__send(&qemu->monitor, "cont", NULL);
	if (!err)
		err = await_replies(qemu, START_MS);
	end_connecting(qemu);
	if (err)
		return explain_start(qemu, err, why);
	qemu->watched = true;
	err = loop__add(machine->loop, qemu->process.pidfd, LOOP_READ, on_process_end, qemu);
	if (!err)
		err = loop__add(machine->loop, qemu->process.errors, LOOP_READ, on_words, qemu);
	if (!err)
		err = loop__add(machine->loop, qemu->monitor.fd, LOOP_READ, on_monitor, qemu);
	return err ? failure__set(why, -err, NULL, "QEMU cannot be watched") : 0;
}

/* QEMU answers once the vCPUs stand and every vhost-user ring was taken back. */
static int qemu__pause(struct machine *machine)
{
	return command(machine->engine, "stop", NULL);
}

static int qemu__resume(struct machine *machine)
{
	return command(machine->engine, "cont", NULL);
}

/* There is no balloon over vhost-user: it is QEMU's own. */
static int qemu__balloon(struct machine *machine, uint64_t memory, uint64_t *now)
{
	struct qemu *qemu = machine->engine;
	char arguments[40];
	if (!qemu_args__has_balloon(machine))
		return -ENODEV;
	snprintf(arguments, sizeof(arguments), "{\"value\":%llu}", (unsigned long long)memory);
	int err = memory ? command(qemu, "balloon", arguments) : 0;
	if (!err)
		err = command(qemu, "query-balloon", NULL);
	return err ? err : qemu_monitor__number(&qemu->monitor, "actual", now);
}

const struct engine_ops engine_qemu = {
	.name = "qemu",
	.carries_console = true,
	.create = qemu__create,
	.start = qemu__start,
	.pause = qemu__pause,
	.resume = qemu__resume,
	.balloon = qemu__balloon,
	.destroy = qemu__destroy,
};
