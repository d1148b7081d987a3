/* Inside of the QEMU engine: its process, its monitor, and the parts of a machine they share. */
#ifndef CAPSA_ENGINE_QEMU_H
#define CAPSA_ENGINE_QEMU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "confine/confine.h"
#include "engine/engine.h"
#include "engine/qemu/vhost_user.h"

/* ---- process.c: the child ---- */

#define QEMU_WORDS 1024 /* what is kept of standard error: its end */

struct qemu_process {
	pid_t pid; /* 0: none, or collected */
	int pidfd; /* readable when it ended */
	int errors;
	int connects; /* -1; or readable when it waits in connect(2) for qemu_process__connect */
	char words[QEMU_WORDS + 1];
	size_t words_len;
};

/* Start cage->program with these arguments; it inherits exactly the descriptors in `fds`, and dies with this thread's
 * process. On return it is confined, and *report says how. 0, or -errno with *why and nothing left. */
__attribute__((warn_unused_result)) int qemu_process__start(struct qemu_process *process,
							    const struct confine_request *cage, char *const argv[],
							    const int *fds, unsigned fd_count,
							    struct confine_report *report, struct failure *why);
/* Where process->connects is readable: the socket that it connects becomes `fd`, which stays the caller's; -1 refuses.
 * 0, -EAGAIN when it waits no more, or -errno. */
__attribute__((warn_unused_result)) int qemu_process__connect(struct qemu_process *process, int fd);
/* It connects to nothing any more. Idempotent. */
void qemu_process__connected(struct qemu_process *process);
/* Take in what it has written to standard error, as much as fits into a pipe; false at its end. */
bool qemu_process__listen(struct qemu_process *process);
/* Whether it ended: then it is collected, and *why says how, in its last words. `code` gets 0 for a regular end. */
bool qemu_process__ended(struct qemu_process *process, int *code, struct failure *why);
/* End it at once and collect it. Idempotent. */
void qemu_process__kill(struct qemu_process *process);

/* ---- monitor.c: QMP, QEMU's machine protocol: lines of JSON ---- */

#define QEMU_LINE 4096 /* longer lines are skipped */

struct qemu_monitor {
	int fd;
	unsigned awaited; /* replies to commands sent */
	bool refused;     /* the last reply was an error: `line` has it */
	bool host_ended;  /* QEMU was told to end by a signal, not by the guest */
	size_t len;
	bool skipping;
	char line[QEMU_LINE];
};

/* Send one command, whose reply is awaited. `arguments`: a JSON object, or NULL. 0 or -errno. */
__attribute__((warn_unused_result)) int qemu_monitor__send(struct qemu_monitor *monitor, const char *command,
							   const char *arguments);
/* Take in some of what arrived, up to the next reply. 1: a reply came; 0: none so far; -errno: the monitor is closed.
 */
__attribute__((warn_unused_result)) int qemu_monitor__read(struct qemu_monitor *monitor);

/* The number of that name in the last reply. 0, or -EPROTO where there is none. */
__attribute__((warn_unused_result)) int qemu_monitor__number(const struct qemu_monitor *monitor, const char *name,
							     uint64_t *number);

/* ---- args.c: the command line ---- */

struct qemu_args {
	char **argv; /* NULL-terminated */
	unsigned count, room;
	bool failed; /* out of memory */
	int fds[MACHINE_MAX_DEVICES + 6];
	unsigned fd_count;
};

/* QEMU's ends of what it talks over; -1 where there is none. */
struct qemu_wires {
	int memory; /* memfd of config->memory bytes */
	int kernel, initrd;
	int monitor;
	int console, serial;
	int devices[MACHINE_MAX_DEVICES]; /* none for a front end with `netdev` */
};

/* Whether there is a balloon: the one device to do without where there are many. */
bool qemu_args__has_balloon(const struct machine *machine);

/* Where QEMU will have a device only by the path of a socket (a front end with `netdev`), N its index: -netdev wants a
 * socket that passes descriptors, and believes it only of one it has connected itself. */
#define QEMU_NET_SOCKET "net%u.sock"
#define QEMU_MAX_PATH 128 /* of one: more than a socket's may have */

/* The arguments for this machine. 0, or -errno with *why; freed with qemu_args__free in both cases. */
__attribute__((warn_unused_result)) int qemu_args__build(struct qemu_args *args, const struct machine *machine,
							 const struct qemu_wires *wires, struct failure *why);
void qemu_args__free(struct qemu_args *args);

/* Add one argument. */
void qemu_args__add(struct qemu_args *args, const char *text);
__attribute__((format(printf, 2, 3))) void qemu_args__addf(struct qemu_args *args, const char *format, ...);

/* ---- the architecture: x86_64.c ---- */

extern const char qemu_arch__package[]; /* Debian's, with QEMU for this architecture */
/* How many devices the machine has places for. */
unsigned qemu_arch__places(const struct machine *machine);
/* Processor and machine. */
void qemu_arch__add_machine(struct qemu_args *args, const struct machine *machine);
/* The words for the guest's kernel, its own among them. */
void qemu_arch__add_cmdline(struct qemu_args *args, const struct machine_config *config);

#endif
