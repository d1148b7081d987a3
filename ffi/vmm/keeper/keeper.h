/* The keeper: a small process beside the VMM proper that outlives it, whatever becomes of it, and tidies up. */
#ifndef CAPSA_VMM_KEEPER_KEEPER_H
#define CAPSA_VMM_KEEPER_KEEPER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "vmm/build/config.h"
#include "vmm/keeper/link.h"

/* Memory that keeper and VMM share. */
struct keeper_shared {
	atomic_bool unfinished; /* see control_options */
	atomic_ullong held;     /* what VMM and QEMU may hold by their cgroup, bytes; 0: they have none, or not yet */
};

/*
 * The two watch each other over a socket pair. When the VMM dies, the keeper takes what it left (its children, which
 * become the keeper's, its runtime directory) and sends the last frames in its place. When the keeper dies, the VMM
 * ends. The VMM may be confined and the keeper is not, so the VMM asks it to clean up, or else the janitor.
 */
struct keeper {
	const struct vmm_config *config;
	int control; /* the control channel, which both hold */
	int link;    /* to each other; readable in the VMM only when the keeper is dead */
	int janitor; /* in the VMM: a link; in the keeper: what is closed to tell its own end */
	int doors;   /* in the VMM: its side of vmm/build/doors.h */
	pid_t vmm;   /* in the keeper */
	pid_t pid;   /* the keeper's own */
	struct keeper_shared *shared;
};

/* Fork. 1 in the keeper, 0 in the VMM, or -errno. Terminating signals are blocked in both from here on. */
__attribute__((warn_unused_result)) int keeper__split(struct keeper *keeper, const struct vmm_config *config,
						      int control);

/* In the keeper: wait for the VMM's end, tidy up, and return the exit code to leave with. */
int keeper__watch(struct keeper *keeper);

/* In the VMM: the machine is made, and its engine has this process (0: none); once, before the guest runs. */
void keeper__made(const struct keeper *keeper, pid_t engine);
/* In the VMM: the control channel may close without the sandbox ending. */
void keeper__detach(const struct keeper *keeper);
/* In the VMM: archive the logs and remove the runtime directory; done on return. */
void keeper__clean(const struct keeper *keeper);

/* Send "failed" and "exited" on a control channel that nobody serves (any more). */
void control__last_words(int control, const struct failure *why);

#endif
