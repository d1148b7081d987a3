/* The MP table: CPUs, the I/O APIC and its interrupts, for kernels that find no ACPI. */
#include <stddef.h>
#include <string.h>

#include "board/board.h"
#include "board/x86_64/layout.h"
#include "board/x86_64/params.h"
#include "board/x86_64/serial.h"

/* MultiProcessor Specification 1.4, chapter 4. */
enum { ENTRY_PROCESSOR, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_INTERRUPT, ENTRY_LOCAL_INTERRUPT };
enum { INTERRUPT_INT, INTERRUPT_NMI, INTERRUPT_SMI, INTERRUPT_EXTINT };
enum { CPU_ENABLED = 1, CPU_BOOT = 2, IOAPIC_ENABLED = 1 };

#define APIC_VERSION 0x14
#define ALL_APICS 0xff

struct floating_pointer {
	char signature[4];
	uint32_t table;
	uint8_t length, revision, checksum, features[5];
};

struct header {
	char signature[4];
	uint16_t length;
	uint8_t revision, checksum;
	char oem[8], product[12];
	uint32_t oem_table;
	uint16_t oem_size, entries;
	uint32_t local_apic;
	uint16_t extended_length;
	uint8_t extended_checksum, reserved;
};

struct processor {
	uint8_t type, apic_id, apic_version, flags;
	uint32_t signature, features, reserved[2];
};

struct bus {
	uint8_t type, id;
	char name[6];
};

struct ioapic {
	uint8_t type, id, version, flags;
	uint32_t addr;
};

struct interrupt {
	uint8_t type, kind;
	uint16_t flags; /* 0: as the bus has it, ISA: edge, active high */
	uint8_t bus, irq, apic_id, pin;
};

_Static_assert(sizeof(struct floating_pointer) == 16 && sizeof(struct header) == 44 && sizeof(struct processor) == 20 &&
		       sizeof(struct bus) == 8 && sizeof(struct ioapic) == 8 && sizeof(struct interrupt) == 8,
	       "the table is packed by nature");
_Static_assert(sizeof(struct floating_pointer) + sizeof(struct header) + LAYOUT_CPUS_MAX * sizeof(struct processor) +
			       16 + (BOARD_MAX_DEVICES + 3) * sizeof(struct interrupt) <
		       LAYOUT_MP_TABLE_END - LAYOUT_MP_TABLE,
	       "the table fits its place");

struct writer {
	uint8_t *start, *at;
	uint16_t entries;
};

static void writer__put(struct writer *w, const void *entry, size_t size)
{
	memcpy(w->at, entry, size);
	w->at += size;
	w->entries++;
}

/* The byte that makes all of them sum to zero. */
static uint8_t checksum(const uint8_t *bytes, size_t len)
{
	uint8_t sum = 0;
	for (size_t i = 0; i < len; i++)
		sum += bytes[i];
	return (uint8_t)-sum;
}

static void writer__put_interrupt(struct writer *w, uint8_t ioapic, uint8_t irq)
{
	const struct interrupt interrupt = {
		.type = ENTRY_INTERRUPT, .kind = INTERRUPT_INT, .irq = irq, .apic_id = ioapic, .pin = irq};
	writer__put(w, &interrupt, sizeof(interrupt));
}

void mp_table__write(const struct guest_memory *mem, const struct board_request *request)
{
	const unsigned cpus = request->cpus;
	uint8_t *base = mem->regions[0].host + LAYOUT_MP_TABLE;
	struct floating_pointer pointer = {.signature = {'_', 'M', 'P', '_'},
					   .table = LAYOUT_MP_TABLE + sizeof(pointer),
					   .length = 1,
					   .revision = 4};
	pointer.checksum = checksum((uint8_t *)&pointer, sizeof(pointer));
	memcpy(base, &pointer, sizeof(pointer));

	struct writer w = {.start = base + sizeof(pointer)};
	w.at = w.start + sizeof(struct header);
	for (unsigned i = 0; i < cpus; i++) {
		struct processor cpu = {.type = ENTRY_PROCESSOR,
					.apic_id = (uint8_t)i,
					.apic_version = APIC_VERSION,
					.flags = CPU_ENABLED | (i == 0 ? CPU_BOOT : 0),
					.signature = 0x600,
					.features = 0x201}; /* an FPU and an APIC; CPUID tells the rest */
		writer__put(&w, &cpu, sizeof(cpu));
	}
	const struct bus isa = {.type = ENTRY_BUS, .id = 0, .name = {'I', 'S', 'A', ' ', ' ', ' '}};
	writer__put(&w, &isa, sizeof(isa));
	const uint8_t ioapic_id = (uint8_t)cpus;
	const struct ioapic ioapic = {.type = ENTRY_IOAPIC,
				      .id = ioapic_id,
				      .version = APIC_VERSION,
				      .flags = IOAPIC_ENABLED,
				      .addr = LAYOUT_IOAPIC};
	writer__put(&w, &ioapic, sizeof(ioapic));
	if (request->has_serial)
		writer__put_interrupt(&w, ioapic_id, SERIAL_IRQ);
	for (unsigned i = 0; i < request->device_count; i++)
		writer__put_interrupt(&w, ioapic_id, (uint8_t)board__place(i).irq);
	const struct interrupt local[] = {
		{.type = ENTRY_LOCAL_INTERRUPT, .kind = INTERRUPT_EXTINT, .apic_id = 0, .pin = 0},
		{.type = ENTRY_LOCAL_INTERRUPT, .kind = INTERRUPT_NMI, .apic_id = ALL_APICS, .pin = 1},
	};
	writer__put(&w, &local[0], sizeof(local[0]));
	writer__put(&w, &local[1], sizeof(local[1]));

	struct header header = {.signature = {'P', 'C', 'M', 'P'},
				.length = (uint16_t)(w.at - w.start),
				.revision = 4,
				.oem = {'C', 'A', 'P', 'S', 'A', ' ', ' ', ' '},
				.product = {'M', 'I', 'C', 'R', 'O', 'V', 'M', ' ', ' ', ' ', ' ', ' '},
				.entries = w.entries,
				.local_apic = LAYOUT_LOCAL_APIC};
	memcpy(w.start, &header, sizeof(header));
	w.start[offsetof(struct header, checksum)] = checksum(w.start, header.length);
}
