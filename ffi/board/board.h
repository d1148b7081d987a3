/* A board: what a machine is beside its vCPUs and its virtio devices, and how a kernel is started on it. A build has
 * one: board/<architecture> defines what is declared here. */
#ifndef CAPSA_BOARD_H
#define CAPSA_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"
#include "common/loop.h"
#include "memory.h"

#define BOARD_MAX_DEVICES 16

/* ---- the layout ---- */

/* Bytes of memory: the least is MEMORY of src/spec/machine.ts, which says why; a kernel and an initrd can need more. */
#define BOARD_MEMORY_MIN (40ULL << 20)
#define BOARD_MEMORY_MAX (1ULL << 40)

/* Fill in the regions (gpa and size; `host` follows in the same order) for `memory` bytes, of which a board has a least
 * and a most. 0, or -EINVAL with *why. */
__attribute__((warn_unused_result)) int board__split(uint64_t memory, struct guest_memory *mem, struct failure *why);

/* A virtio-mmio device: a window of VIRTIO_MMIO_SIZE bytes and an interrupt, told by edges. */
struct board_device {
	uint64_t addr;
	unsigned irq;
};

/* Where device `index`, below BOARD_MAX_DEVICES, is: one window lies behind the other. */
struct board_device board__place(unsigned index);

/* ---- boot ---- */

struct board_request {
	int kernel;                            /* file, of a format that the board takes */
	int initrd;                            /* file, -1 without */
	const char *kernel_path, *initrd_path; /* for messages */
	const char *cmdline;
	unsigned cpus;
	unsigned device_count; /* from board__place(0) on */
	bool has_serial;
};

/* The first vCPU's state at the first instruction. */
struct board_entry {
	unsigned mode; /* the board's own, for the half of an engine that is of its architecture */
	uint64_t pc;
	uint64_t argument; /* guest address of what tells the kernel of the machine */
};

/* Put the words that a kernel needs to find the devices behind what `cmdline` holds, in `size` bytes. 0, or -E2BIG with
 * *why. */
__attribute__((warn_unused_result)) int board__announce(unsigned device_count, char *cmdline, size_t size,
							struct failure *why);

/* Load into `mem`, which board__split laid out and which is all zeros, everything but the vCPUs' state. Files are
 * untrusted: every length and address in them is checked. 0, or -errno with *why. */
__attribute__((warn_unused_result)) int board__load(const struct guest_memory *mem, const struct board_request *request,
						    struct board_entry *entry, struct failure *why);

/* ---- the chips: interrupt controller and serial port ---- */

struct board;

/* An interrupt that is a message to a CPU. */
struct board_route {
	uint64_t address;
	unsigned irq;
	uint32_t data;
};

struct board_options {
	unsigned device_count;
	struct loop *loop; /* of the serial port */
	int serial_fd;     /* -1: none; else a non-blocking stream socket, taken over, succeed or fail */
	/* The guest has set up where interrupts lead: those that are named lead there, no other leads anywhere. On a
	 * vCPU's thread, one call at a time. */
	void (*route)(void *arg, const struct board_route *routes, unsigned count);
	void *arg;
};

/* 0, or -errno. */
__attribute__((warn_unused_result)) int board__new(const struct board_options *options, struct board **out);
/* Begin to read the serial port's input; on the loop's thread. 0 or -errno. */
__attribute__((warn_unused_result)) int board__start(struct board *board);
/* On the loop's thread, when no vCPU runs. NULL is allowed. */
void board__free(struct board *board);

/* The bell of the serial port's interrupt, the board's own, and *irq; -1 without a port. */
int board__serial_irq(const struct board *board, unsigned *irq);

/* An access by the guest to memory-mapped chips, from any vCPU's thread; false where there is none at `addr`. */
bool board__access(struct board *board, uint64_t addr, uint8_t *data, unsigned len, bool is_write);

#endif
