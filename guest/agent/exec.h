/* The exec operation's part in reaping. */
#ifndef CAPSA_AGENT_EXEC_H
#define CAPSA_AGENT_EXEC_H

#include "agent.h"

#include <sys/types.h>

/* A child of the agent ended with a wait(2) status; it may be none of an open call. */
void exec__ended(struct agent *agent, pid_t pid, int status);

#endif
