/* Cgroups (version 2) for processes that are to hold no more than so much of this machine, all together. */
#ifndef CAPSA_VMM_KEEPER_CGROUP_H
#define CAPSA_VMM_KEEPER_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define CGROUP_PATH 1024

struct cgroup_limits {
	uint64_t memory, swap; /* bytes */
	uint64_t processes;    /* and threads */
};

/* Where this process is. */
struct cgroup_home {
	char root[64];         /* "/sys/fs/cgroup" */
	char own[CGROUP_PATH]; /* below it: "/user.slice"; "" is the root itself */
};

/* 0; -ENOENT where this machine has no cgroups of version 2, or more of its paths than fit. */
__attribute__((warn_unused_result)) int cgroup__home(struct cgroup_home *home);

struct cgroup {
	char path[CGROUP_PATH]; /* in full */
	int events;             /* its memory.events, for cgroup__ran_out; POLLPRI tells that it changed */
};

/*
 * Make one below a cgroup in which this user may, the one that this process is in or the nearest around it, and move
 * the processes there. No other process is moved. One that runs out of memory ends as a whole. A cgroup with a limit of
 * its own is not left for one around it: -EDQUOT. Else -errno of the last that was tried, and nothing is left.
 * `name` begins with CGROUP_PREFIX and ends in the number of a process that lives as long: without it, the cgroup is
 * one that was left behind, and goes when the next is made beside it.
 */
#define CGROUP_PREFIX "capsa-"
__attribute__((warn_unused_result)) int cgroup__make(struct cgroup *group, const struct cgroup_home *home,
						     const char *name, const struct cgroup_limits *limits,
						     const pid_t *pids, unsigned count);

/* Take the one that all of these processes are in, if its last component is `name`, made by somebody else with a limit
 * of memory. 0; -EAGAIN: they are not, or not yet. */
__attribute__((warn_unused_result)) int cgroup__adopt(struct cgroup *group, const struct cgroup_home *home,
						      const char *name, const pid_t *pids, unsigned count);

/* The kernel has ended processes of it because it was out of memory. Closes `events` where it is gone. */
bool cgroup__ran_out(struct cgroup *group);

/* Remove what cgroup__make made by that name, from this process or one beside it. 0 when there is none (any more);
 * -EBUSY as long as a process lives in it. */
int cgroup__remove(const struct cgroup_home *home, const char *name);

#endif
