/* attach: the output and input of a process in the background, from where its history begins. */
#include <errno.h>

#include "agent/job_call.h"

static void start(struct call *call, const CborValue *request)
{
	uint64_t number = 0, replay = HISTORY_SIZE;
	struct job *job;

	if (call__take_window(call, request))
		return;
	if (reader__uint(request, "process", &number) != 1) {
		call__refuse(call, "process");
		return;
	}
	if (reader__uint(request, "replay", &replay) < 0) {
		call__refuse(call, "replay");
		return;
	}
	job = job__find(call->connection->agent, number);
	if (!job) {
		call__fail(call, ESRCH, "no process %llu: it was never started, or ended too long ago",
			   (unsigned long long)number);
		return;
	}
	job_call_of(call)->job = job;
	job__attach(job, call, replay);
	job_call__tell_started(call, job);
}

const struct operation operation__attach = {
	.op = "attach",
	.size = sizeof(struct job_call),
	.start = start,
	.event = job_call__event,
	.produce = job_call__produce,
	.release = job_call__release,
};
