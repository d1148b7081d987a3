/* Limits of a program and all it starts: a control group of its own (cgroup v2, the kernel's
 * Documentation/admin-guide/cgroup-v2.rst). */
#ifndef CAPSA_PROCESS_LIMITS_H
#define CAPSA_PROCESS_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

/* 0: no such limit. */
struct limits {
	uint64_t memory;    /* bytes; what goes beyond is killed, all of it */
	uint64_t cpu_milli; /* thousandths of a processor's time */
	uint64_t pids;      /* processes and threads */
};

struct limit_group {
	int fd;          /* its directory; -1: there is none */
	uint64_t number; /* its name */
};

/* Make a group below the cgroup file system at `root`, and clear away what earlier ones left. *procs is a descriptor,
 * close-on-exec and the caller's: a process that writes "0" to it is in the group. Returns 0, or -errno with nothing
 * made and in *what what could not be. */
__attribute__((warn_unused_result)) int limits__make(struct limit_group *group, const char *root,
						     const struct limits *limits, int *procs, const char **what);
/* Kill every process in it. */
void limits__kill(const struct limit_group *group);
/* Whether processes in it were killed for want of memory. */
bool limits__ran_out_of_memory(const struct limit_group *group);
/* Kill what is left in it, and be done with it. */
void limits__end(struct limit_group *group, const char *root);

#endif
