/* The janitor: a last process that waits for keeper and VMM to be dead, and removes what they could not; until then it
 * opens the doors of the VMM. */
#ifndef CAPSA_VMM_KEEPER_JANITOR_H
#define CAPSA_VMM_KEEPER_JANITOR_H

#include <sys/types.h>

#include "vmm/build/config.h"

/*
 * Why, beside the keeper: when the keeper is killed the VMM is alone, and it may be confined to a place from which it
 * cannot remove its own runtime directory.
 * Forks it from the VMM, while that has one thread. `keeper`: its process, and the read end of a pipe that it alone
 * holds open for writing; taken over. `close_fds`: what the janitor must not hold open. Returns this side of a link, or
 * -errno; *doors gets the VMM's side of what vmm/build/doors.h is about.
 */
__attribute__((warn_unused_result)) int janitor__start(const struct vmm_config *config, pid_t keeper_pid, int keeper,
						       const int *close_fds, unsigned close_count, int *doors);

#endif
