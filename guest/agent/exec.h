/* The exec operation: its parts that others see. */
#ifndef CAPSA_AGENT_EXEC_H
#define CAPSA_AGENT_EXEC_H

#include "call.h"
#include "process/spawn.h"

#include <sys/types.h>

/* A child of the agent ended with a wait(2) status; it may be none of an open call. */
void exec__ended(struct agent *agent, pid_t pid, int status);

/* Read argv, environment, working directory, user and group of the request into `program`, whose lists and *cwd are the
 * caller's to free in either case. Returns 0, or -1 after call__fail. */
__attribute__((warn_unused_result)) int exec__take_program(struct call *call, const CborValue *request,
							   struct program *program, char **cwd);

#endif
