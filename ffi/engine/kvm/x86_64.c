/* The x86-64 half of the KVM engine: interrupt controllers, processor features and state, port I/O. */
#include <cpuid.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "board/x86_64/entry.h"
#include "board/x86_64/ioapic.h"
#include "board/x86_64/layout.h"
#include "board/x86_64/ports.h"
#include "engine/kvm/kvm.h"

#define CR0_PE 0x1U
#define CR0_ET 0x10U
#define CR0_NE 0x20U
#define CR0_PG 0x80000000U
#define CR4_PAE 0x20U
#define EFER_LME_LMA 0x500U
#define RFLAGS_FIXED 0x2U

#define MSR_MISC_ENABLE 0x1a0
#define MISC_ENABLE_FAST_STRING 1U
#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLED_WRITE_BACK 0x806U

int kvm_arch__set_up_vm(struct kvm_machine *vm, struct failure *why)
{
	struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {IOAPIC_PINS_MAX}};
	uint64_t identity_map = LAYOUT_IDENTITY_MAP;
	int error = 0;
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, LAYOUT_TSS) < 0 ||
	    ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0)
		error = -errno;
	/* KVM's own I/O APIC comes with a PIC, and a kernel that finds one goes three times over 24 pins, an exit for
	 * each half of a pin: a third of all exits of a boot */
	if (!error && ioctl(vm->fd, KVM_ENABLE_CAP, &split) < 0)
		error = -errno;
	return error ? failure__set(why, -error, NULL, "KVM makes no interrupt controllers") : 0;
}

void kvm_arch__route(void *arg, const struct board_route *routes, unsigned count)
{
	const struct kvm_machine *vm = arg;
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[IOAPIC_PINS_MAX];
	} table;
	memset(&table, 0, sizeof(table));
	for (unsigned i = 0; i < count && i < IOAPIC_PINS_MAX; i++)
		table.entries[table.head.nr++] = (struct kvm_irq_routing_entry){
			.gsi = routes[i].irq,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = {.address_lo = (uint32_t)routes[i].address, .data = routes[i].data}};
	/* what KVM does not take is a pin that leads nowhere, as it would on a board */
	(void)ioctl(vm->fd, KVM_SET_GSI_ROUTING, &table);
}

/* ---- CPUID ---- */

/* Bits that hold a number up to n - 1. */
static unsigned bits_for(unsigned n)
{
	unsigned bits = 0;
	while (1U << bits < n)
		bits++;
	return bits;
}

/* One package, one core a vCPU, one thread a core; APIC ID = number of the vCPU. */
static void cpuid__set_topology(struct kvm_cpuid_entry2 *e, unsigned index, unsigned cpus)
{
	const unsigned shift = bits_for(cpus);
	switch (e->function) {
	case 1:
		e->ebx = (e->ebx & 0x0000ffff) | index << 24 | cpus << 16;
		if (cpus > 1)
			e->edx |= 1U << 28; /* HTT: the count above means something */
		break;
	case 4: /* Intel's caches: shared by one thread, but for those of level 3 */
		e->eax &= 0x3fff;
		if ((e->eax & 0x1f) == 0)
			break;
		e->eax |= ((1U << shift) - 1) << 26 | ((e->eax >> 5 & 7) >= 3 ? (cpus - 1) << 14 : 0);
		break;
	case 0x80000008: /* AMD: cores of the package, bits of the APIC ID that number them */
		e->ecx = (e->ecx & ~0xf0ffU) | shift << 12 | (cpus - 1);
		break;
	case 0x8000001d: /* AMD's caches, as above */
		e->eax &= 0x3fff;
		if ((e->eax & 0x1f) != 0 && (e->eax >> 5 & 7) >= 3)
			e->eax |= (cpus - 1) << 14;
		break;
	case 0x8000001e: /* AMD: extended APIC ID, core, node */
		e->eax = index;
		e->ebx = index;
		e->ecx = 0;
		break;
	default:
		break;
	}
}

/* What the processor can do without hardware's help for the guest, and what is not for guests. */
static void cpuid__set_features(struct kvm_cpuid_entry2 *e, bool has_deadline_timer)
{
	switch (e->function) {
	case 1:
		e->ecx |= 1U << 31; /* under a hypervisor */
		if (has_deadline_timer)
			e->ecx |= 1U << 24;
		break;
	case 0xa: /* no performance counters: probing them costs boot time */
		e->eax = e->ebx = e->ecx = e->edx = 0;
		break;
	default:
		break;
	}
}

/* Leaf 0xb, which KVM leaves to us: threads of a core, cores of the package. */
static void cpuid__add_topology(struct kvm_cpuid2 *cpuid, unsigned index, unsigned cpus)
{
	const struct kvm_cpuid_entry2 levels[] = {
		{.index = 0, .eax = 0, .ebx = 1, .ecx = 0 | 1 << 8},
		{.index = 1, .eax = bits_for(cpus), .ebx = cpus, .ecx = 1 | 2 << 8},
		{.index = 2, .ecx = 2},
	};
	for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[cpuid->nent++];
		*e = levels[i];
		e->function = 0xb;
		e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		e->edx = index;
	}
}

static int vcpu__set_cpuid(struct kvm_vcpu *vcpu)
{
	enum { MAX_ENTRIES = 256, ADDED = 3 };
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + (MAX_ENTRIES + ADDED) * sizeof(cpuid->entries[0]));
	if (!cpuid)
		return -ENOMEM;
	cpuid->nent = MAX_ENTRIES;
	int error = ioctl(vcpu->vm->kvm, KVM_GET_SUPPORTED_CPUID, cpuid) < 0 ? -errno : 0;
	bool has_deadline_timer = ioctl(vcpu->vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	unsigned kept = 0;
	for (unsigned i = 0; i < cpuid->nent && !error; i++) {
		struct kvm_cpuid_entry2 *e = &cpuid->entries[i];
		if (e->function == 0xb || e->function == 0x1f)
			continue;
		cpuid__set_features(e, has_deadline_timer);
		cpuid__set_topology(e, vcpu->index, vcpu->vm->vcpu_count);
		cpuid->entries[kept++] = *e;
	}
	if (!error) {
		cpuid->nent = kept;
		cpuid__add_topology(cpuid, vcpu->index, vcpu->vm->vcpu_count);
		error = ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0 ? -errno : 0;
	}
	free(cpuid);
	return error;
}

/* ---- registers ---- */

static int vcpu__set_msrs(struct kvm_vcpu *vcpu)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} msrs = {.head.nmsrs = 2,
		  .entries = {{.index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING},
			      {.index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLED_WRITE_BACK}}};
	_Static_assert(offsetof(__typeof__(msrs), entries) == sizeof(struct kvm_msrs), "the kernel sees one array");
	return ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) < 0 ? -errno : 0;
}

/* The boot processor at the kernel's entry; the others wait for it to start them. */
static int vcpu__set_entry(struct kvm_vcpu *vcpu, const struct board_entry *entry)
{
	struct kvm_sregs sregs;
	if (ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	bool is_64 = entry->mode == ENTRY_LINUX64;
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 0x18, .type = 3, .present = 1, .s = 1, .g = 1, .db = 1};
	struct kvm_segment code = data;
	code.selector = 0x10;
	code.type = 11;
	code.db = !is_64;
	code.l = is_64;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.tr = (struct kvm_segment){.limit = 0x67, .selector = 0x20, .type = 11, .present = 1};
	sregs.gdt = (struct kvm_dtable){.base = LAYOUT_GDT, .limit = 5 * 8 - 1};
	sregs.idt = (struct kvm_dtable){0};
	sregs.cr0 = CR0_PE | CR0_ET;
	sregs.cr4 = 0;
	sregs.efer = 0;
	if (is_64) {
		sregs.cr3 = LAYOUT_PAGE_TABLES;
		sregs.cr4 = CR4_PAE;
		sregs.efer = EFER_LME_LMA;
		sregs.cr0 |= CR0_PG | CR0_NE;
	}
	struct kvm_regs regs = {.rip = entry->pc, .rflags = RFLAGS_FIXED};
	if (is_64)
		regs.rsi = entry->argument;
	else
		regs.rbx = entry->argument;
	return ioctl(vcpu->fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu->fd, KVM_SET_REGS, &regs) < 0 ? -errno : 0;
}

int kvm_arch__set_up_vcpu(struct kvm_vcpu *vcpu, const struct board_entry *entry, struct failure *why)
{
	int error = vcpu__set_cpuid(vcpu);
	if (!error)
		error = vcpu__set_msrs(vcpu);
	if (!error && vcpu->index == 0)
		error = vcpu__set_entry(vcpu, entry);
	return error ? failure__set(why, -error, NULL, "KVM does not take the state of vCPU %u", vcpu->index) : 0;
}

/* ---- clock ---- */

void kvm_arch__hold_clock(struct kvm_machine *vm)
{
	struct kvm_clock_data clock;
	vm->clock = ioctl(vm->fd, KVM_GET_CLOCK, &clock) < 0 ? 0 : clock.clock;
}

void kvm_arch__let_clock_go(struct kvm_machine *vm)
{
	struct kvm_clock_data clock = {.clock = vm->clock};
	if (clock.clock)
		(void)ioctl(vm->fd, KVM_SET_CLOCK, &clock);
}

/* ---- port I/O ---- */

/* Devices here have ports of one byte: of a wider access the first byte counts. */
static enum kvm_verdict handle_port(struct kvm_vcpu *vcpu)
{
	struct kvm_machine *vm = vcpu->vm;
	struct kvm_run *run = vcpu->run;
	const uint16_t port = run->io.port;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;
	enum kvm_verdict verdict = KVM_GO_ON;
	for (uint32_t i = 0; i < run->io.count && verdict == KVM_GO_ON; i++, data += run->io.size) {
		enum port_outcome outcome;
		if (run->io.direction == KVM_EXIT_IO_OUT) {
			outcome = ports__write(vm->board, port, data[0]);
		} else {
			memset(data, 0xff, run->io.size);
			outcome = ports__read(vm->board, port, data);
		}
		if (outcome == PORT_NOBODY)
			atomic_fetch_add_explicit(&vm->ignored, 1, memory_order_relaxed);
		verdict = outcome == PORT_POWER_OFF ? KVM_SHUT_DOWN : KVM_GO_ON;
	}
	return verdict;
}

enum kvm_verdict kvm_arch__handle_exit(struct kvm_vcpu *vcpu, struct failure *why)
{
	if (vcpu->run->exit_reason == KVM_EXIT_IO)
		return handle_port(vcpu);
	struct kvm_regs regs = {0};
	(void)ioctl(vcpu->fd, KVM_GET_REGS, &regs);
	(void)!failure__set(
		why, EIO, "ENGINE_FAILED",
		"vCPU %u stopped at instruction pointer 0x%llx for a reason capsa does not know (KVM exit %u, "
		"detail 0x%llx)",
		vcpu->index, regs.rip, vcpu->run->exit_reason, vcpu->run->hw.hardware_exit_reason);
	return KVM_GIVE_UP;
}
