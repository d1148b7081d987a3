/* The machine that QEMU emulates on x86-64: a microvm. */
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

#include "common/clock.h"
#include "engine/qemu/qemu.h"

#define MICROVM_PLACES 8 /* for devices, with one interrupt controller */

const char qemu_arch__package[] = "qemu-system-x86";

/* With ACPI QEMU adds a second interrupt controller, and has places for more than a machine can have. */
unsigned qemu_arch__places(const struct machine *machine)
{
	return machine->config->acpi ? MACHINE_MAX_DEVICES + 2 : MICROVM_PLACES;
}

void qemu_arch__add_machine(struct qemu_args *args, const struct machine *machine)
{
	/* -erms: Linux copies and clears words then; the "fast" string instructions TCG does byte by byte */
	qemu_args__add(args, "-cpu");
	qemu_args__add(args, "max,-erms");
	/* no option ROMs: qboot finds the kernel without; an RTC, for want of which Linux waits a second */
	qemu_args__add(args, "-machine");
	qemu_args__addf(args,
			"microvm,acpi=%s,rtc=on,isa-serial=%s,x-option-roms=off,graphics=off,dump-guest-core=off,"
			"mem-merge=off,memory-backend=ram",
			machine->config->acpi ? "on" : "off", machine->has_serial ? "on" : "off");
}

/* A reading of both clocks at one moment: of a few tries, the one least disturbed. */
static void read_clocks(uint64_t *tsc, uint64_t *ns)
{
	uint64_t best = UINT64_MAX;
	for (int i = 0; i < 8; i++) {
		uint64_t before = monotonic_ns(), ticks = __rdtsc(), after = monotonic_ns();
		if (after - before >= best)
			continue;
		best = after - before;
		*tsc = ticks;
		*ns = before + (after - before) / 2;
	}
}

/*
 * The TSC in kHz, 0 where it cannot be told. TCG passes the host's TSC on to the guest, which cannot calibrate
 * it: the timers it would do that with are emulated. Measured over 2 ms, to about 20 millionths.
 */
static uint64_t tsc_khz(void)
{
	uint64_t tsc = 0, ns = 0, tsc_end = 0, ns_end = 0;
	read_clocks(&tsc, &ns);
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	read_clocks(&tsc_end, &ns_end);
	return ns_end > ns && tsc_end > tsc ? (tsc_end - tsc) * 1000000 / (ns_end - ns) : 0;
}

/*
 * What the guest's kernel is told beyond its own words. An emulated processor makes waiting dear, so it is spared what
 * it would measure or try out: the TSC's rate, whether the timer interrupt works, and the APIC timer's rate: 1 GHz in
 * QEMU, and a single CPU can do with the PIT. reboot=t: a triple fault ends the machine, as there is no ACPI to do it.
 * With ACPI the machine is a "reduced" one, and Linux uses no PIT in it: one that does not know the TSC's rate, for a
 * busy host disturbed its measuring, has no clock at all then and stands still.
 */
void qemu_arch__add_cmdline(struct qemu_args *args, const struct machine_config *config)
{
	char tsc[64] = "";
	uint64_t khz = tsc_khz();
	if (khz)
		snprintf(tsc, sizeof(tsc), " tsc_early_khz=%llu tsc=reliable", (unsigned long long)khz);
	qemu_args__add(args, "-append");
	if (config->acpi) /* before the words of others, which may contradict, or end in some for init */
		qemu_args__addf(args, "no_timer_check%s %s", tsc, config->cmdline);
	else
		qemu_args__addf(args, "%s%sreboot=t no_timer_check%s%s", config->cmdline, *config->cmdline ? " " : "",
				tsc, config->cpus == 1 ? " nolapic_timer" : " lapic_timer_khz=1000000");
}
