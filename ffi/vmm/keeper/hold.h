/* What VMM and QEMU hold of this machine, all together: the keeper puts them into a cgroup where one is to be had. */
#ifndef CAPSA_VMM_KEEPER_HOLD_H
#define CAPSA_VMM_KEEPER_HOLD_H

#include <poll.h>

#include "vmm/keeper/linux/cgroup.h"

/*
 * Done beside the start of the machine, which does not wait: to move a process takes the kernel some milliseconds, and
 * systemd more. The keeper and the janitor stay where they are, to tell and to tidy up.
 */
struct hold {
	struct cgroup_home home;
	struct cgroup group; /* while `held` */
	struct cgroup_limits limits;
	char name[64]; /* of one that was made here, or of a scope */
	pid_t pids[2];
	unsigned count;
	bool held, ran_out;
	int scope; /* -1; or systemd was asked, then: */
	uint64_t asked;
	int denied;    /* the errno for which none was made here */
	char why[160]; /* not `held`: why not, for people */
};

/* A hold of nothing yet. `keeper`: the process that calls all of these, and lives as long. */
void hold__init(struct hold *hold, const struct cgroup_limits *limits, pid_t keeper);

/* Take hold of the VMM and, unless that is 0, its child. Once. */
void hold__take(struct hold *hold, pid_t vmm, pid_t child);

/* What to poll for in the meantime; hold__look when there is something. */
struct pollfd hold__poll(const struct hold *hold);
void hold__look(struct hold *hold);

/* Whether it was the kernel that ended them, because they held too much. While the janitor still lives. */
bool hold__ran_out(struct hold *hold);

/* All of them have ended. */
void hold__end(struct hold *hold);

/* The same from another process, which has waited for the keeper's end as well: it gives them a moment to end. */
void hold__end_of(pid_t keeper);

#endif
