/* What an exec request asks for. */
#ifndef CAPSA_AGENT_EXEC_H
#define CAPSA_AGENT_EXEC_H

#include "agent/job.h"
#include "process/identity.h"

struct exec_request {
	struct program program;
	struct job_options options;
	char *cwd;                /* program.cwd */
	struct identity identity; /* program.groups */
};

/* Read the request into *wanted, zeroed before, to be freed in either case. Returns 0, or -1 after call__fail. */
__attribute__((warn_unused_result)) int exec_request__take(struct call *call, const CborValue *request,
							   struct exec_request *wanted);
void exec_request__free(struct exec_request *wanted);

#endif
