/* Processes that the kernel killed for want of memory, as its log tells of them (Documentation/ABI/testing/dev-kmsg).
 */
#ifndef CAPSA_INIT_OOM_H
#define CAPSA_INIT_OOM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/loop.h"

struct events;

struct oom_kill {
	pid_t pid;
	bool limited; /* by a cgroup, not by the guest's memory */
	char program[64];
};

/* Watches /dev/kmsg; fd is -1 where there is none. */
struct oom {
	int fd;
	struct events *events;
};

/* Tell of those from now on. */
void oom__watch(struct oom *oom, struct loop *loop, struct events *events);

/* What a record of the kernel's log says; false where it is about something else, or not the kernel's own. `record`
 * ends with a NUL. */
bool oom__parse(const char *record, struct oom_kill *kill);

#endif
