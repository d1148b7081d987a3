/* ACPI 6.4 in the hardware-reduced form: RSDP, XSDT, FADT, MADT, and a DSDT assembled from templates. */
#include "board/x86_64/acpi.h"

#include <stddef.h>
#include <string.h>

#include "board/x86_64/layout.h"

#define PACKED __attribute__((packed))
#define KEYBOARD_PORT 0x64
#define KEYBOARD_RESET 0xfe

/* Section 5.2.6 */
struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} PACKED;

/* Section 5.2.3.2 */
struct address {
	uint8_t space, width, offset, access;
	uint64_t at;
} PACKED;

enum { SPACE_IO = 1, ACCESS_BYTE = 1 };

/* Section 5.2.5.3 */
struct root_pointer {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
} PACKED;

/* Section 5.2.9; what the hardware-reduced form leaves out is left out here as well. */
struct fadt {
	struct header header;
	uint8_t unused[109 - 36];
	uint16_t boot_flags;
	uint8_t reserved;
	uint32_t flags;
	struct address reset;
	uint8_t reset_value;
	uint16_t arm_flags;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	uint8_t more[244 - 148];
	struct address sleep_control, sleep_status;
	uint64_t hypervisor;
} PACKED;

_Static_assert(offsetof(struct fadt, flags) == 112 && offsetof(struct fadt, reset) == 116 &&
		       offsetof(struct fadt, x_dsdt) == 140 && offsetof(struct fadt, sleep_control) == 244 &&
		       sizeof(struct fadt) == 276,
	       "as the specification numbers the bytes");

enum { FADT_RESET = 1 << 10, FADT_REDUCED = 1 << 20 };
enum { BOOT_NO_VGA = 1 << 2, BOOT_NO_CMOS = 1 << 5 };

/* Section 5.2.12 */
struct madt {
	struct header header;
	uint32_t local_apic, flags;
} PACKED;

struct madt_cpu {
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
} PACKED;

struct madt_ioapic {
	uint8_t type, length, id, reserved;
	uint32_t at, base;
} PACKED;

enum { MADT_CPU = 0, MADT_IOAPIC = 1, CPU_ENABLED = 1 };

/* Device (Vnnn) { _HID "LNRO0005", _UID, _CCA 1, _CRS { Memory32Fixed, Interrupt (edge, active high) } } */
static const uint8_t virtio_template[] = {
	0x5b, 0x82, 0x42, 0x04, 'V',  '0',  '0',  '0',  0x08, '_',  'H',  'I',  'D',  0x0d, 'L',  'N',  'R',
	'O',  '0',  '0',  '0',  '5',  0x00, 0x08, '_',  'U',  'I',  'D',  0x0a, 0x00, 0x08, '_',  'C',  'C',
	'A',  0x01, 0x08, '_',  'C',  'R',  'S',  0x11, 0x1a, 0x0a, 0x17, 0x86, 0x09, 0x00, 0x01, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x89, 0x06, 0x00, 0x03, 0x01, 0x00, 0x00, 0x00, 0x00, 0x79, 0x00,
};

enum { VIRTIO_NAME = 6, VIRTIO_UID = 29, VIRTIO_BASE = 49, VIRTIO_IRQ = 62 };

/* Device (COM1) { _HID PNP0501, _UID 0, _CRS { IO 0x3f8, 8 ports; Interrupt 4 (edge, active high) } } */
static const uint8_t serial_template[] = {
	0x5b, 0x82, 0x31, 'C',  'O',  'M',  '1',  0x08, '_',  'H',  'I',  'D',  0x0c, 0x41, 0xd0, 0x05, 0x01,
	0x08, '_',  'U',  'I',  'D',  0x00, 0x08, '_',  'C',  'R',  'S',  0x11, 0x16, 0x0a, 0x13, 0x47, 0x01,
	0xf8, 0x03, 0xf8, 0x03, 0x01, 0x08, 0x89, 0x06, 0x00, 0x03, 0x01, 0x04, 0x00, 0x00, 0x00, 0x79, 0x00,
};

/* Name (_S5, Package () { 5, 5 }): what is written to the sleep control register to power off */
static const uint8_t s5_template[] = {0x08, '_', 'S', '5', '_', 0x12, 0x06, 0x02, 0x0a, 0x05, 0x0a, 0x05};

#define SCOPE_MAX 4095 /* what a length in two bytes can say */

_Static_assert(sizeof(virtio_template) * BOARD_MAX_DEVICES + sizeof(serial_template) + 8 < SCOPE_MAX,
	       "the scope's length takes two bytes");

struct writer {
	uint8_t *base, *at; /* base: guest address 0 */
};

static uint64_t writer__here(const struct writer *w)
{
	return (uint64_t)(w->at - w->base);
}

static void *writer__put(struct writer *w, const void *bytes, size_t len)
{
	void *here = w->at;
	memcpy(here, bytes, len);
	w->at += len;
	return here;
}

static uint8_t checksum(const uint8_t *bytes, size_t len)
{
	uint8_t sum = 0;
	for (size_t i = 0; i < len; i++)
		sum += bytes[i];
	return (uint8_t)-sum;
}

static struct header header_of(const char *signature, uint8_t revision)
{
	struct header header = {.revision = revision,
				.oem = {'C', 'A', 'P', 'S', 'A', ' '},
				.oem_table = {'M', 'I', 'C', 'R', 'O', 'V', 'M', ' '},
				.oem_revision = 1,
				.creator = {'C', 'A', 'P', 'S'},
				.creator_revision = 1};
	memcpy(header.signature, signature, sizeof(header.signature));
	return header;
}

/* Fill in length and checksum of the table from `start` on, and go on at the next 16 bytes. */
static void writer__end_table(struct writer *w, uint8_t *start)
{
	uint32_t length = (uint32_t)(w->at - start);
	memcpy(start + offsetof(struct header, length), &length, sizeof(length));
	start[offsetof(struct header, checksum)] = checksum(start, length);
	w->at += -(uintptr_t)w->at & 15;
}

static void put_virtio(struct writer *w, unsigned index)
{
	const struct board_device device = board__place(index);
	uint8_t *at = writer__put(w, virtio_template, sizeof(virtio_template));
	uint32_t base = (uint32_t)device.addr;
	at[VIRTIO_NAME] = (uint8_t)('0' + index / 10);
	at[VIRTIO_NAME + 1] = (uint8_t)('0' + index % 10);
	at[VIRTIO_UID] = (uint8_t)index;
	memcpy(at + VIRTIO_BASE, &base, sizeof(base));
	at[VIRTIO_IRQ] = (uint8_t)device.irq;
}

static uint64_t put_dsdt(struct writer *w, const struct board_request *request)
{
	const struct header header = header_of("DSDT", 2);
	uint64_t here = writer__here(w);
	uint8_t *start = writer__put(w, &header, sizeof(header));
	uint8_t *scope = writer__put(w, "\x10\x40\x00\\_SB_", 8); /* Scope (\_SB), its length to come */
	for (unsigned i = 0; i < request->device_count; i++)
		put_virtio(w, i);
	if (request->has_serial)
		writer__put(w, serial_template, sizeof(serial_template));
	size_t length = (size_t)(w->at - scope) - 1;
	scope[1] = (uint8_t)(0x40 | (length & 15));
	scope[2] = (uint8_t)(length >> 4);
	writer__put(w, s5_template, sizeof(s5_template));
	writer__end_table(w, start);
	return here;
}

static struct address port_address(uint64_t port)
{
	return (struct address){.space = SPACE_IO, .width = 8, .access = ACCESS_BYTE, .at = port};
}

static uint64_t put_fadt(struct writer *w, uint64_t dsdt)
{
	struct fadt fadt = {.header = header_of("FACP", 6),
			    .boot_flags = BOOT_NO_VGA | BOOT_NO_CMOS,
			    .flags = FADT_REDUCED | FADT_RESET,
			    .reset = port_address(KEYBOARD_PORT),
			    .reset_value = KEYBOARD_RESET,
			    .minor = 4,
			    .x_dsdt = dsdt,
			    .sleep_control = port_address(ACPI_SLEEP_CONTROL),
			    .sleep_status = port_address(ACPI_SLEEP_STATUS)};
	uint64_t here = writer__here(w);
	writer__end_table(w, writer__put(w, &fadt, sizeof(fadt)));
	return here;
}

static uint64_t put_madt(struct writer *w, unsigned cpus)
{
	struct madt madt = {.header = header_of("APIC", 5), .local_apic = LAYOUT_LOCAL_APIC};
	uint64_t here = writer__here(w);
	uint8_t *start = writer__put(w, &madt, sizeof(madt));
	for (unsigned i = 0; i < cpus; i++) {
		struct madt_cpu cpu = {.type = MADT_CPU,
				       .length = sizeof(cpu),
				       .uid = (uint8_t)i,
				       .apic_id = (uint8_t)i,
				       .flags = CPU_ENABLED};
		writer__put(w, &cpu, sizeof(cpu));
	}
	struct madt_ioapic ioapic = {
		.type = MADT_IOAPIC, .length = sizeof(ioapic), .id = (uint8_t)cpus, .at = LAYOUT_IOAPIC};
	writer__put(w, &ioapic, sizeof(ioapic));
	writer__end_table(w, start);
	return here;
}

uint64_t acpi__write(const struct guest_memory *mem, const struct board_request *request)
{
	uint8_t *base = mem->regions[0].host;
	struct writer w = {.base = base, .at = base + LAYOUT_ACPI + sizeof(struct root_pointer) + 12};
	uint64_t tables[2];
	tables[0] = put_fadt(&w, put_dsdt(&w, request));
	tables[1] = put_madt(&w, request->cpus);
	struct root_pointer root = {.signature = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '},
				    .oem = {'C', 'A', 'P', 'S', 'A', ' '},
				    .revision = 2,
				    .length = sizeof(root),
				    .xsdt = writer__here(&w)};
	const struct header xsdt = header_of("XSDT", 1);
	uint8_t *start = writer__put(&w, &xsdt, sizeof(xsdt));
	writer__put(&w, tables, sizeof(tables));
	writer__end_table(&w, start);
	root.checksum = checksum((uint8_t *)&root, 20); /* the part the first version had */
	root.extended_checksum = checksum((uint8_t *)&root, sizeof(root));
	memcpy(base + LAYOUT_ACPI, &root, sizeof(root));
	return LAYOUT_ACPI;
}
