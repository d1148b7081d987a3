/* An intruder in the VMM: linked between the KVM engine and its devices in build/compromised alone, it does in the
 * VMM's process, on the thread of choice, what the guest orders at an address where no device is. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#include "deeds.h"
#include "engine/kvm/kvm.h"
#include "vmm/keeper/trap.h"

enum { AT = 0xcafe0000, ORDER_ADDRESS = 0, ORDER_LENGTH = 4, RESULT = 8 };

/* "THREAD DEED ARGUMENT" */
struct order {
	char thread[16], deed[24], arg[DEED_MAX];
	int result;
};

/*
 * A system call that the VMM never makes ends it. Here it fails instead, with EPERM, so that one run can try them all;
 * unless the deed "end" came before.
 */
static volatile sig_atomic_t ends;

static void on_trap(int number, siginfo_t *info, void *context)
{
	ucontext_t *at = context;
	(void)number;
	if (ends)
		trap__end(info->si_syscall);
	at->uc_mcontext.gregs[REG_RAX] = -EPERM;
}

int __wrap_trap__install(void);

int __wrap_trap__install(void)
{
	struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
	return sigaction(SIGSYS, &action, NULL);
}

static void carry_out(void *arg)
{
	struct order *order = arg;
	bool end = strcmp(order->deed, "end") == 0;
	ends = ends || end;
	order->result = end ? 0 : deeds__act(order->deed, order->arg);
}

static struct loop *find_loop(const struct kvm_machine *vm, const char *thread)
{
	if (strcmp(thread, "main") == 0)
		return vm->machine->loop;
	for (unsigned i = 0; i < vm->machine->device_count; i++)
		if (strcmp(vm->machine->devices[i].dev->ops->name, thread) == 0)
			return vm->machine->devices[i].loop;
	return NULL;
}

static int obey(const struct kvm_machine *vm, uint32_t address, uint32_t len)
{
	char text[DEED_MAX];
	struct order order = {.result = DEED_NOT_UNDERSTOOD};
	const char *from = len < sizeof(text) ? guest_memory__at(&vm->mem, address, len) : NULL;
	if (!from)
		return DEED_NOT_UNDERSTOOD;
	memcpy(text, from, len);
	text[len] = 0;
	if (sscanf(text, "%15s %23s %511[^\n]", order.thread, order.deed, order.arg) < 2)
		return DEED_NOT_UNDERSTOOD;
	struct loop *loop = find_loop(vm, order.thread);
	if (strcmp(order.thread, "vcpu") == 0)
		carry_out(&order);
	else if (!loop || loop__call(loop, carry_out, &order) < 0)
		return DEED_NOT_UNDERSTOOD;
	return order.result;
}

void __real_kvm_devices__access(struct kvm_machine *vm, uint64_t addr, uint8_t *data, unsigned len, bool is_write);
void __wrap_kvm_devices__access(struct kvm_machine *vm, uint64_t addr, uint8_t *data, unsigned len, bool is_write);

void __wrap_kvm_devices__access(struct kvm_machine *vm, uint64_t addr, uint8_t *data, unsigned len, bool is_write)
{
	static uint32_t address, result;
	uint32_t value = 0;
	if (addr < AT || addr > AT + RESULT || len != sizeof(value)) {
		__real_kvm_devices__access(vm, addr, data, len, is_write);
		return;
	}
	memcpy(&value, data, sizeof(value));
	if (!is_write)
		memcpy(data, &result, sizeof(result));
	else if (addr == AT + ORDER_ADDRESS)
		address = value;
	else if (addr == AT + ORDER_LENGTH)
		result = (uint32_t)obey(vm, address, value);
}
