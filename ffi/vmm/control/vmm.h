/* The running VMM: what its parts share. */
#ifndef CAPSA_VMM_CONTROL_VMM_H
#define CAPSA_VMM_CONTROL_VMM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/clock.h"
#include "vmm/build/build.h"
#include "vmm/build/doors.h"
#include "vmm/control/console.h"
#include "vmm/control/control.h"
#include "vmm/control/guest_stream.h"
#include "vmm/control/host_clock.h"
#include "vmm/control/log.h"
#include "vmm/control/share_hold.h"
#include "vmm/keeper/keeper.h"

enum vmm_state { VMM_STARTING, VMM_RUNNING, VMM_PAUSED, VMM_ENDING };

struct vmm {
	const struct vmm_config *config;
	const struct keeper *keeper;
	uint64_t began; /* CLOCK_MONOTONIC, ns */
	enum vmm_state state;
	const char *reason; /* of "exited", once ending */
	bool detached;
	bool waits; /* its time has not begun */

	struct loop *loop;
	int signals; /* what the VMM is told by others, by told_signals__open */
	struct control *control;
	struct log *events_log, *console_log, *network_log;
	atomic_uint notices; /* on their way from the net device to the main loop */
	struct guest_stream *guest;
	struct host_clock *clock; /* NULL where the guest asks for none */
	struct console *console;
	struct doors doors;
	struct share_hold share_hold;
	struct built built;
};

/* End with this reason ("stopped", "shutdown", "expired", "failed"); the first one counts. Returns at once. */
void vmm__end(struct vmm *vmm, const char *reason);

/* Events. */
void vmm__say_failed(struct vmm *vmm, const struct failure *why);
/* For who wants them all: what is said waits for the starter to take it. `arg`: the VMM. */
void vmm__guest_said(void *arg, const void *data, size_t len);
/* A console that waited for its reader would hold up the guest's kernel: who is behind misses output, the log has it.
 */
void vmm__console_said(void *arg, const void *data, size_t len);

/* vmm/control/network.c: the net device refused something, or let it through and tells of it; on its worker. `arg`: the
 * VMM. */
void network__notice(void *arg, const struct gate_notice *notice);
/* vmm/control/notice.c: the file system device watches no more files, see fs_notice_fn; on its worker. `arg`: the VMM.
 */
void notice__watches(void *arg, int error, unsigned count);
/* vmm/control/notice.c: which layers of confinement this machine lacks, with confine = "auto", and what that opens. */
void notice__confinement(struct vmm *vmm);
/* vmm/control/notice.c: the shares have stood long enough. */
void notice__hold_over(struct vmm *vmm);
/* vmm/control/network.c: add "ports": what was published, where anything was. */
void network__add_ports(struct writer *out, const struct vmm_config *config);

#endif
