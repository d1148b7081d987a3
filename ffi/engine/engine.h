/* The contract between the VMM and an engine: what a machine is made of, and what runs its vCPUs. */
#ifndef CAPSA_ENGINE_H
#define CAPSA_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/failure.h"
#include "common/loop.h"
#include "confine/confine.h"
#include "virtio/virtio.h"

#define MACHINE_MAX_DEVICES 16

/* What the machine is to be. Strings are borrowed and outlive the machine. */
struct machine_config {
	const char *name;
	int kernel; /* regular file, open until create returns: vmlinux (ELF with a PVH note) or bzImage */
	int initrd; /* the same, -1 without */
	const char *kernel_path, *initrd_path; /* absolute; what has that name by now may be another file */
	const char *cmdline;                   /* the engine adds what its machine needs */
	bool acpi; /* the kernel learns of the machine from ACPI tables; else from an MP table and from words
		      on its command line */
	const char *runtime_dir;
	const char *qemu;          /* path of qemu-system-<arch>; engine "qemu" only */
	enum confine_mode confine; /* of a process that the engine makes */
	uint64_t data;             /* bytes of memory that such a process may have beside the guest's; 0: any number */
	unsigned cpus;
	uint64_t memory; /* bytes, a multiple of 4096 */
};

struct machine_device {
	struct virtio_device *dev; /* owned by the machine's creator, destroyed after the engine */
	struct loop *loop; /* its worker's loop; its thread starts between create and start, so that it is confined */
};

enum machine_end {
	MACHINE_SHUTDOWN, /* the guest powered off, reset or panicked */
	MACHINE_FAILED,   /* the engine broke; the failure tells */
};

struct machine {
	const struct machine_config *config;
	struct loop *loop; /* the VMM's main loop; every call below is made on its thread */
	struct machine_device devices[MACHINE_MAX_DEVICES];
	unsigned device_count;
	int console_fd; /* only for an engine that carries_console: its end of the console, a non-blocking stream socket
			 * the engine takes over at create, succeed or fail; else -1 */

	bool has_balloon; /* where the engine has `balloon`; else it is a device like the others */
	bool has_serial;  /* a serial port, COM1, for kernels without virtio console */
	int serial_fd;    /* where has_serial: a non-blocking stream socket the engine takes over at create, succeed or
			     fail */

	bool narrow; /* from start on: system calls are filtered, and each thread is confined to its own */

	pid_t child; /* a process the engine made at create and sends signals to; 0: none */
	struct confine_report
		child_confinement; /* how that is confined, once started; layers without a name: unknown */

	/* Told by the engine once, on the main loop, when the machine has ended by itself. `why` only for FAILED. */
	void (*ended)(struct machine *machine, enum machine_end end, const struct failure *why);
	void *owner; /* for `ended` */

	void *engine; /* the engine's own state */
};

/*
 * Order of calls: create, (confinement is applied here), start, any number of pause and resume, destroy.
 * create: memory, kernel, vCPUs, devices attached to their transport; whatever needs files, exec or new privileges
 *         happens here. No guest instruction runs. On failure nothing is left and *why is filled in. Only the main
 *         thread exists: a thread made here would escape confinement. Workers' loops do not run yet (loop__call is
 *         then inline).
 * start:  threads are made and vCPUs run; the workers run already. On failure destroy is still called.
 * pause:  returns once no vCPU runs and no device touches guest memory; resume undoes it.
 * destroy: ends vCPUs at once (power cut), detaches the devices, frees everything. Legal at any time after create.
 */
struct engine_ops {
	const char *name;     /* engine_<name> is the table, engine/<name> the folder */
	bool carries_console; /* makes the virtio console itself, from console_fd; else it is a device like the others
			       */
	int (*create)(struct machine *machine, struct failure *why);
	int (*start)(struct machine *machine, struct failure *why);
	int (*pause)(struct machine *machine);
	int (*resume)(struct machine *machine);
	/* For an engine that makes the balloon itself, where the machine has_balloon; else NULL. Ask the guest to make
	 * do with so much memory, bytes, unless `memory` is 0; *now gets what it has. 0, -ENODEV where it had no place
	 * for one, or -errno. */
	int (*balloon)(struct machine *machine, uint64_t memory, uint64_t *now);
	void (*destroy)(struct machine *machine);
};

/* The engine of that name, NULL when there is none; `names` gets the list of those there are. */
const struct engine_ops *engine__find(const char *name, char *names, size_t names_len);

#endif
