/* Cgroups of systemd's making: where a user may make none, the user's systemd does, and the system's moves processes.
 */
#ifndef CAPSA_VMM_KEEPER_SCOPE_H
#define CAPSA_VMM_KEEPER_SCOPE_H

#include "vmm/keeper/linux/cgroup.h"

/*
 * Ask the systemd of this user that listens at `socket` (NULL: where it does) for a scope of that name, with these
 * processes and limits. Does not wait: returns a descriptor, or -errno. It becomes readable whenever something has
 * happened, and cgroup__adopt then knows whether it was this; what can be read there is to be thrown away. systemd
 * removes the scope when its last process has ended.
 */
__attribute__((warn_unused_result)) int
scope__ask(const char *socket, const char *name, const struct cgroup_limits *limits, const pid_t *pids, unsigned count);

#endif
