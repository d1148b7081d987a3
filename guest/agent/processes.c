/* processes: those in the background that run, and the last that ended. */
#include <string.h>

#include "agent/job.h"

enum {
	EACH = 256,       /* more than the numbers and keys of one take */
	ARGV_EACH = 1024, /* more than what is kept of its argv, heads included */
};

static void put_argv(struct writer *writer, const struct strings *argv)
{
	writer__array(writer, argv->count);
	for (size_t i = 0; i < argv->count; i++)
		writer__name(writer, argv->list[i], strlen(argv->list[i]));
}

static void put(struct writer *writer, const struct job *job)
{
	writer__map(writer, 5 + (job->ended ? job__status_pairs(job) : 0));
	writer__text(writer, "process");
	writer__uint(writer, job->number);
	writer__text(writer, "pid");
	writer__uint(writer, (uint64_t)job->pid);
	writer__text(writer, "argv");
	put_argv(writer, &job->argv);
	writer__text(writer, "startedMs");
	writer__int(writer, job->started_ms);
	writer__text(writer, "running");
	writer__bool(writer, !job->ended);
	if (job->ended)
		job__write_status(job, writer);
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
	struct frame frame;
	uint64_t count = 0;

	(void)request;
	for (const struct job *job = agent->jobs; job; job = job->next)
		count += job->number != 0;
	if (call__respond(call, &frame, 1, 32 + count * (EACH + ARGV_EACH)))
		return;
	writer__text(&frame.writer, "processes");
	writer__array(&frame.writer, count);
	for (const struct job *job = oldest(agent); job; job = job->prev)
		if (job->number)
			put(&frame.writer, job);
	call__finish(call, &frame);
}

const struct operation operation__processes = {
	.op = "processes", .size = sizeof(struct call), .passive = true, .start = start};
