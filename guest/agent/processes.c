/* processes: those in the background that run, and the last that ended. */
#include <string.h>

#include "agent/job.h"

static void put_argv(struct writer *out, const struct strings *argv)
{
	writer__list(out, "argv", argv->count);
	for (size_t i = 0; i < argv->count; i++)
		writer__name(out, NULL, argv->list[i], strlen(argv->list[i]));
}

static void put(struct writer *out, const struct job *job)
{
	writer__open(out, NULL);
	writer__uint(out, "process", job->number);
	writer__uint(out, "pid", (uint64_t)job->pid);
	put_argv(out, &job->argv);
	writer__int(out, "startedMs", job->started_ms);
	writer__bool(out, "running", !job->ended);
	if (job->ended)
		job__write_status(job, out);
	writer__close(out);
}

/* The list is the newest first; told is the oldest first. */
static const struct job *oldest(const struct agent *agent)
{
	const struct job *job = agent->jobs;
	while (job && job->next)
		job = job->next;
	return job;
}

static void start(struct call *call, const CborValue *request)
{
	const struct agent *agent = call->connection->agent;
	uint64_t count = 0;
	(void)request;
	for (const struct job *job = agent->jobs; job; job = job->next)
		count += job->number != 0;
	struct writer out = call__respond(call);
	writer__list(&out, "processes", count);
	for (const struct job *job = oldest(agent); job; job = job->prev)
		if (job->number)
			put(&out, job);
	call__finish(call, &out);
}

const struct operation operation__processes = {
	.op = "processes", .size = sizeof(struct call), .passive = true, .start = start};
