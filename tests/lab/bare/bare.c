/* The entry, the devices and the console of a guest without an operating system. */
#include "bare.h"

struct device devices[MAX_DEVICES];
unsigned device_count;
const char *command_line = "";
const char *initrd = "";
uint32_t initrd_size;

static struct ring console_ring;
static const struct device *console;

/* The note that makes the file a PVH kernel, and its entry: the start info's address is in EBX. At the end a reset by
 * the keyboard controller, and where there is none a triple fault. */
__asm__(".pushsection .note.pvh, \"a\", @note\n"
	".long 4, 4, 18\n.asciz \"Xen\"\n.long entry\n.popsection\n"
	".pushsection .text\n.global entry\nentry:\n"
	"mov $stack_end, %esp\npush %ebx\ncall begin\n"
	"mov $0xfe, %al\nout %al, $0x64\n"
	"push $0\npush $0\nlidt (%esp)\nint $3\n1: hlt\njmp 1b\n.popsection\n"
	".pushsection .bss\n.balign 16\n.skip 65536\nstack_end:\n.popsection\n");

/* Xen's "x86/HVM direct boot ABI". */
struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, command_line;
};

struct module {
	uint64_t address, size;
};

/* What a compiler may call for by itself. */
void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);

void *memcpy(void *to, const void *from, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
	return to;
}

void *memset(void *to, int byte, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)to)[i] = (uint8_t)byte;
	return to;
}

uint32_t reg_read(const struct device *device, uint32_t offset)
{
	return *(volatile uint32_t *)(device->at + offset);
}

void reg_write(const struct device *device, uint32_t offset, uint32_t value)
{
	*(volatile uint32_t *)(device->at + offset) = value;
}

/* Where engine "kvm" and QEMU's microvm put devices. */
static void find_devices(uint32_t at, uint32_t step, unsigned count)
{
	for (unsigned i = 0; i < count && device_count < MAX_DEVICES; i++) {
		struct device device = {.at = (volatile uint8_t *)(uintptr_t)(at + i * step)};
		if (reg_read(&device, REG_MAGIC) != 0x74726976)
			continue;
		device.id = reg_read(&device, REG_DEVICE_ID);
		if (device.id)
			devices[device_count++] = device;
	}
}

const struct device *device__find(uint32_t id)
{
	for (unsigned i = 0; i < device_count; i++)
		if (devices[i].id == id)
			return &devices[i];
	return NULL;
}

void device__begin(const struct device *device)
{
	const uint32_t steps[] = {0, 1, 3};
	for (unsigned i = 0; i < 3; i++)
		reg_write(device, REG_STATUS, steps[i]);
	for (uint32_t word = 0; word < 2; word++) { /* VIRTIO_F_VERSION_1 and nothing else */
		reg_write(device, REG_DRIVER_FEATURES_SEL, word);
		reg_write(device, REG_DRIVER_FEATURES, word);
	}
	reg_write(device, REG_STATUS, 11);
}

void device__queue(const struct device *device, uint32_t index, struct ring *ring)
{
	const struct {
		uint32_t reg;
		const void *at;
	} parts[] = {{REG_QUEUE_DESC, ring->desc}, {REG_QUEUE_DRIVER, &ring->avail}, {REG_QUEUE_DEVICE, &ring->used}};
	memset(ring, 0, sizeof(*ring));
	reg_write(device, REG_QUEUE_SEL, index);
	reg_write(device, REG_QUEUE_NUM, RING_SIZE);
	for (unsigned i = 0; i < 3; i++) {
		reg_write(device, parts[i].reg, (uint32_t)(uintptr_t)parts[i].at);
		reg_write(device, parts[i].reg + 4, 0);
	}
	reg_write(device, REG_QUEUE_READY, 1);
}

void device__go(const struct device *device)
{
	reg_write(device, REG_STATUS, 15);
}

int32_t ring__exchange(const struct device *device, uint32_t index, struct ring *ring, void *data, uint32_t len,
		       bool writable)
{
	volatile uint16_t *used = &ring->used.idx;
	uint16_t before = *used;
	ring->desc[0] = (struct desc){.addr = (uintptr_t)data, .len = len, .flags = writable ? DESC_WRITE : 0};
	ring->avail.ring[ring->avail.idx % RING_SIZE] = 0;
	__asm__ volatile("" ::: "memory");
	ring->avail.idx++;
	__asm__ volatile("" ::: "memory");
	reg_write(device, REG_QUEUE_NOTIFY, index);
	for (uint32_t tries = 0; tries < 1000000 && *used == before; tries++)
		reg_read(device, REG_STATUS); /* leaves the guest: its one processor is not all there is */
	return *used == before ? -1 : (int32_t)ring->used.ring[before % RING_SIZE].len;
}

void console__open(void)
{
	console = device__find(ID_CONSOLE);
	if (!console)
		return;
	device__begin(console);
	device__queue(console, 1, &console_ring);
	device__go(console);
}

void print_bytes(const void *text, uint32_t len)
{
	static uint8_t line[4096];
	if (!console || len > sizeof(line))
		return;
	memcpy(line, text, len);
	ring__exchange(console, 1, &console_ring, line, len, false);
}

void print(const char *text)
{
	uint32_t len = 0;
	while (text[len])
		len++;
	print_bytes(text, len);
}

void print_number(uint32_t value)
{
	char digits[10];
	unsigned at = sizeof(digits);
	do
		digits[--at] = (char)('0' + value % 10);
	while (value /= 10);
	print_bytes(digits + at, sizeof(digits) - at);
}

uint32_t option(const char *name, uint32_t otherwise)
{
	for (const char *at = command_line; *at; at++) {
		unsigned len = 0;
		while (name[len] && at[len] == name[len])
			len++;
		if (name[len] || at[len] != '=' || (at != command_line && at[-1] != ' '))
			continue;
		uint32_t value = 0;
		for (at += len + 1; *at >= '0' && *at <= '9'; at++)
			value = value * 10 + (uint32_t)(*at - '0');
		return value;
	}
	return otherwise;
}

void begin(const struct start_info *info);

void begin(const struct start_info *info)
{
	command_line = (const char *)(uintptr_t)info->command_line;
	if (info->module_count) {
		const struct module *module = (const struct module *)(uintptr_t)info->modules;
		initrd = (const char *)(uintptr_t)module->address;
		initrd_size = (uint32_t)module->size;
	}
	find_devices(0xd0000000, 0x1000, MAX_DEVICES);
	find_devices(0xfeb00000, 0x200, 24);
	console__open();
	run();
}
