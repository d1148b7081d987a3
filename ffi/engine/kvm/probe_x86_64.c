/* The guest of the probe on x86-64: a loop in 64-bit mode. */
#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engine/kvm/probe.h"

#define GUEST_PML4 0x0000
#define GUEST_PDPT 0x1000
#define GUEST_PD 0x2000
#define GUEST_CODE 0x3000

#define PAGE_PRESENT_WRITE 0x3
#define PAGE_LARGE 0x80

/* 1:	dec rcx
 *	jnz 1b
 *	hlt
 * 2:	jmp 2b */
static const uint8_t guest_code[] = {0x48, 0xff, 0xc9, 0x75, 0xfb, 0xf4, 0xeb, 0xfe};

int probe_arch__set_up_vm(int kvm, int vm)
{
	/* Intel's VMX wants three pages for a task state segment of its own, outside memory. */
	return ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_SET_TSS_ADDR) > 0 &&
			       ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL) < 0
		       ? -errno
		       : 0;
}

static void put64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* Flat 64-bit mode at the guest code, the first 2 MiB mapped to themselves. */
int probe_arch__set_up_guest(int vcpu, uint8_t *memory)
{
	put64(memory + GUEST_PML4, GUEST_PDPT | PAGE_PRESENT_WRITE);
	put64(memory + GUEST_PDPT, GUEST_PD | PAGE_PRESENT_WRITE);
	put64(memory + GUEST_PD, PAGE_PRESENT_WRITE | PAGE_LARGE);
	memcpy(memory + GUEST_CODE, guest_code, sizeof(guest_code));

	struct kvm_sregs sregs;
	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 0x10, .type = 3, .present = 1, .s = 1, .g = 1, .db = 1};
	struct kvm_segment code = data;
	code.selector = 0x8;
	code.type = 11;
	code.db = 0;
	code.l = 1;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr3 = GUEST_PML4;
	sregs.cr4 = 0x20;       /* PAE */
	sregs.cr0 = 0x80000031; /* PG, NE, ET, PE */
	sregs.efer = 0x500;     /* LMA, LME */
	return ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 ? -errno : 0;
}

int probe_arch__begin(int vcpu, uint64_t rounds)
{
	struct kvm_regs regs = {.rip = GUEST_CODE, .rcx = rounds, .rsp = PROBE_GUEST_SIZE, .rflags = 2};
	return ioctl(vcpu, KVM_SET_REGS, &regs) < 0 ? -errno : 0;
}

int probe_arch__left(int vcpu, uint64_t *rounds)
{
	struct kvm_regs regs;
	if (ioctl(vcpu, KVM_GET_REGS, &regs) < 0)
		return -errno;
	*rounds = regs.rcx;
	return 0;
}

bool probe_arch__has_halted(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_HLT;
}

int32_t probe_arch__virtualizes(void)
{
	unsigned a, b, c, d;
	bool vmx = __get_cpuid(1, &a, &b, &c, &d) && (c & 1U << 5);
	bool svm = __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & 1U << 2);
	return vmx || svm;
}
