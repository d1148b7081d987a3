/* Start a program in its own session, telling exactly what failed when it cannot be started. */
#ifndef CAPSA_PROCESS_SPAWN_H
#define CAPSA_PROCESS_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "process/strings.h"

/* What to start. Everything is the caller's. */
struct program {
	struct strings argv;        /* argv[0] without a slash is looked up in PATH of `environment` */
	struct strings environment; /* whole */
	const char *cwd;            /* NULL: / */
	bool has_user, has_group;
	uid_t user;
	gid_t group;         /* as user when has_group is false */
	const gid_t *groups; /* supplementary */
	size_t group_count;
	int fds[3];                      /* stdin, stdout, stderr; each above 2 */
	bool terminal;                   /* stdin is to be its controlling terminal */
	int limit_procs;                 /* cgroup.procs of the group it belongs into; 0: stays in its parent's */
	bool dies_with_parent;           /* SIGKILL when the process that started it ends */
	const struct rlimit *open_files; /* NULL: inherited */
};

enum spawn_stage { SPAWN_PROCESS, SPAWN_LIMITS, SPAWN_IDENTITY, SPAWN_CWD, SPAWN_PROGRAM };

/* Returns the process id, leader of its own session and process group, or -errno with *stage. */
__attribute__((warn_unused_result)) pid_t program__start(const struct program *program, enum spawn_stage *stage);

/* A sentence on why program__start failed, into `text`. */
void program__explain(const struct program *program, enum spawn_stage stage, int err, char *text, size_t size);

/* The PATH used when the environment has none. */
extern const char spawn__default_path[];

#endif
