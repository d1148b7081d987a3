/* The running VMM: what its parts share. */
#ifndef CAPSA_VMM_VMM_H
#define CAPSA_VMM_VMM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/clock.h"
#include "confine/confine.h"
#include "engine/engine.h"
#include "vmm/build/config.h"
#include "vmm/build/devices.h"
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

	struct loop *loop;
	int signals; /* what ends the VMM, by end_signals__open */
	struct control *control;
	struct log *events_log, *console_log, *network_log;
	atomic_uint notices; /* on their way from the net device to the main loop */
	struct guest_stream *guest;
	struct host_clock *clock; /* NULL where the guest asks for none */
	struct console *console;
	char own_dir[CONFIG_MAX_RUNTIME_DIR + 16]; /* runtime_dir/VMM_DIR */
	struct doors doors;

	int kernel, initrd;              /* files, open until the engine has loaded them; else -1 */
	const struct engine_ops *engine; /* NULL until found */
	bool created;                    /* engine->destroy is owed */
	struct machine_config machine_config;
	struct machine machine;
	struct share_hold share_hold;
	struct device_set devices;
	struct confine_report confinement;
};

/* The VMM proper, from start to end: returns the exit code once the runtime directory is gone and "exited" is sent. */
int vmm__run(const struct vmm_config *config, const struct keeper *keeper, uint64_t began);

/* End with this reason ("stopped", "shutdown", "expired", "failed"); the first one counts. Returns at once. */
void vmm__end(struct vmm *vmm, const char *reason);

/* vmm/build/build.c, in this order; each 0, or -errno with *why. What was made until then is taken down as always. */
/* What lives in the runtime directory: logs and sockets. */
__attribute__((warn_unused_result)) int build__runtime(struct vmm *vmm, struct failure *why);
/* Kernel and initrd: they are those that were looked at, and fit into memory. */
__attribute__((warn_unused_result)) int build__open_files(struct vmm *vmm, struct failure *why);
/* Devices, and the engine's create. */
__attribute__((warn_unused_result)) int build__machine(struct vmm *vmm, struct failure *why);
__attribute__((warn_unused_result)) int build__confinement(struct vmm *vmm, struct failure *why);
/* Once the engine has loaded them, or nothing comes of it. Closes what is open. */
void build__close_files(struct vmm *vmm);

/* vmm/vmm.c: what the machine's parts tell. `arg`: the VMM. */
void vmm__guest_said(void *arg, const void *data, size_t len);
void vmm__console_said(void *arg, const void *data, size_t len);
void vmm__machine_ended(struct machine *machine, enum machine_end end, const struct failure *why);

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
void network__add_ports(struct writer *out, const struct device_set *devices);

/* control_ops.request: vmm/control/requests.c */
void vmm__request(void *owner, struct control_channel *from, const struct control_request *request);

#endif
