/* A call that has a job: what exec and attach have in common once they have found theirs. */
#ifndef CAPSA_AGENT_JOB_CALL_H
#define CAPSA_AGENT_JOB_CALL_H

#include "agent/job.h"

struct job_call {
	struct call call;
	struct job *job; /* NULL until there is one */
};

static inline struct job_call *job_call_of(struct call *call)
{
	return container_of(call, struct job_call, call);
}

/* Of struct operation. */
void job_call__event(struct call *call, struct span ev, const CborValue *message);
bool job_call__produce(struct call *call);
void job_call__release(struct call *call);

/* Say that the program runs. */
void job_call__tell_started(struct call *call, const struct job *job);

/* "columns" and "rows" of a map, each 1 to 65535. Returns 0 or -EPROTO. */
__attribute__((warn_unused_result)) int terminal_size__take(const CborValue *map, struct terminal_size *size);

#endif
