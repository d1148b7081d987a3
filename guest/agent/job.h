/* A job: a program that runs for the host, its input and output, its end. One in the background outlives the call that
 * started it; any other ends with it. */
#ifndef CAPSA_AGENT_JOB_H
#define CAPSA_AGENT_JOB_H

#include <sys/types.h>

#include "agent/agent.h"
#include "agent/call.h"
#include "process/history.h"
#include "process/limits.h"
#include "process/output.h"
#include "process/spawn.h"
#include "process/terminal.h"

enum { JOB_STDOUT, JOB_STDERR, JOB_OUTPUTS };

enum {
	JOBS_IN_BACKGROUND = 256, /* run at once */
	JOBS_REMEMBERED = 64,     /* of those in the background that ended */
};

enum stderr_to { STDERR_APART, STDERR_TO_STDOUT, STDERR_NOWHERE };

/* What a job is to be, beside its program. */
struct job_options {
	enum stderr_to stderr_to;
	bool has_input; /* else /dev/null */
	bool background;
	bool has_terminal;
	struct terminal_size size; /* of the terminal */
	struct limits limits;      /* all 0: none */
	uint64_t timeout_ms;       /* with has_timeout */
	bool has_timeout;
};

struct job {
	struct agent *agent;
	struct job *next, *prev; /* in agent->jobs, the newest first */
	struct call *call;       /* its output goes to and its input comes from; NULL: nobody is there */
	pid_t pid;
	struct output outputs[JOB_OUTPUTS]; /* of a terminal the first alone */
	int input;                          /* write end of the program's stdin; -1: closed */
	struct buffer queued;               /* for stdin */
	size_t inherited;                   /* of it, from calls that have gone */
	size_t taken;                       /* of the call's, by the program, and not yet credited */
	bool input_ending;
	bool has_terminal;
	int terminal; /* the program's end, held open until its end: else its closing would be taken for that; or -1 */
	struct limit_group limits;
	int status; /* wait(2)'s */
	bool ended, timed_out, out_of_memory, cut_short;
	uint64_t timeout, grace; /* timers; 0: none */

	/* in the background only */
	uint64_t number; /* 1 and up; 0: not in the background */
	int64_t started_ms;
	uint64_t over; /* its place among those that are over; 0: it is not */
	struct strings argv;
	struct history history;
	struct history_cursor replayed; /* what of it the call has had */
};

/* Start the program for `call`, which stays the job's until it lets go. Returns 0, or -errno with a sentence in `text`.
 * Changes program->fds and its other fields about a terminal and limits. */
__attribute__((warn_unused_result)) int job__start(struct job **job, struct call *call, struct program *program,
						   const struct job_options *options, char *text, size_t size);

/* Let `call` have what comes, after the last `replay` bytes of what came before; a call that had it is ended. */
void job__attach(struct job *job, struct call *call, uint64_t replay);
/* The call goes: a job in the background goes on, any other is ended, and is not to be touched again. Nothing for a
 * call that the job was taken from. */
void job__let_go(struct job *job, const struct call *call);
/* Take input, which may be the end of the call. */
void job__write(struct job *job, struct span data);
void job__end_input(struct job *job);
/* To the process group. */
void job__signal(struct job *job, int signal);
void job__resize(struct job *job, struct terminal_size size);
/* Queue what there is from before the call, if anything. Returns whether something was queued. */
bool job__replay(struct job *job);
/* Await what can be taken, and tell the call when all is over. The job may be gone afterwards. */
void job__advance(struct job *job);

/* The job in the background with that number, or NULL. */
struct job *job__find(const struct agent *agent, uint64_t number);
/* Whether a job is over, its output included. */
bool job__is_over(const struct job *job);
bool job__any_running(const struct agent *agent);
/* A child of the agent ended with a wait(2) status; it may be none of an open job. */
void job__ended(struct agent *agent, pid_t pid, int status);
/* The agent ends: so do all. */
void job__end_all(struct agent *agent);

/* The pairs of exit-status. */
void job__write_status(const struct job *job, struct writer *writer);

#endif
