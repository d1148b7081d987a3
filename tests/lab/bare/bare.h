/* A guest without an operating system: entered by PVH in flat 32-bit mode, it drives virtio-mmio devices by hand. */
#ifndef CAPSA_TEST_BARE_H
#define CAPSA_TEST_BARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ID_CONSOLE = 3, ID_RNG = 4, ID_VSOCK = 19, ID_FS = 26 };

/* Registers of virtio-mmio (virtio 1.2, section 4.2.2). */
enum {
	REG_MAGIC = 0x000,
	REG_DEVICE_ID = 0x008,
	REG_DRIVER_FEATURES = 0x020,
	REG_DRIVER_FEATURES_SEL = 0x024,
	REG_QUEUE_SEL = 0x030,
	REG_QUEUE_NUM = 0x038,
	REG_QUEUE_READY = 0x044,
	REG_QUEUE_NOTIFY = 0x050,
	REG_INTERRUPT_ACK = 0x064,
	REG_STATUS = 0x070,
	REG_QUEUE_DESC = 0x080, /* low; the high word follows, as below */
	REG_QUEUE_DRIVER = 0x090,
	REG_QUEUE_DEVICE = 0x0a0,
	REG_CONFIG = 0x100,
};

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

#define RING_SIZE 16 /* entries of each queue this guest sets up as it should */

struct ring {
	struct desc desc[RING_SIZE];
	struct {
		uint16_t flags, idx, ring[RING_SIZE + 1];
	} avail;
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[RING_SIZE];
		uint16_t event;
	} used __attribute__((aligned(16)));
} __attribute__((aligned(4096)));

struct device {
	volatile uint8_t *at;
	uint32_t id;
};

#define MAX_DEVICES 16

extern struct device devices[MAX_DEVICES];
extern unsigned device_count;

/* What the machine was started with. */
extern const char *command_line;
extern const char *initrd;
extern uint32_t initrd_size;

/* The guest's program: called with the devices found and a console that prints; its end ends the machine. */
void run(void);

uint32_t reg_read(const struct device *device, uint32_t offset);
void reg_write(const struct device *device, uint32_t offset, uint32_t value);

/* Reset the device and bring it to FEATURES_OK, then set up queues, then say it is driven. */
void device__begin(const struct device *device);
void device__queue(const struct device *device, uint32_t index, struct ring *ring);
void device__go(const struct device *device);
const struct device *device__find(uint32_t id);

/* One buffer through the queue, waited for: the length the device says it wrote, or -1 when it does not come back. */
int32_t ring__exchange(const struct device *device, uint32_t index, struct ring *ring, void *data, uint32_t len,
		       bool writable);

/* Set up the console device, which `print` then writes to. */
void console__open(void);
void print(const char *text);
void print_bytes(const void *text, uint32_t len);
void print_number(uint32_t value);

/* The number behind `name=` on the command line. */
uint32_t option(const char *name, uint32_t otherwise);

#endif
