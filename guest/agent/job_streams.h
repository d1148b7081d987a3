/* A job's input and output, for the rest of the job alone. */
#ifndef CAPSA_AGENT_JOB_STREAMS_H
#define CAPSA_AGENT_JOB_STREAMS_H

#include "agent/job.h"

/* Open the program's end of its three streams, program->fds, and ours. Returns 0 or -errno, -ENODEV where there is no
 * terminal to be had; what is open by then is closed as after success. */
__attribute__((warn_unused_result)) int job__open_streams(struct job *job, const struct job_options *options,
							  struct program *program);
void job__close_input(struct job *job);
void job__close_streams(struct job *job);
/* What the call that has gone gave is the program's, and nobody is to be credited for it. */
void job__disown_input(struct job *job);
/* Take what the outputs have, as far as there is room. */
void job__take_output(struct job *job);
/* Await output as far as there is room for it. */
void job__await(struct job *job);
/* The call has not had yet all that came before it. */
bool job__is_replaying(const struct job *job);

#endif
