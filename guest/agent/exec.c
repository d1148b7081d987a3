/* exec: a program run for the host. */
#include "agent/exec.h"

#include "agent/job_call.h"

static void respond_detached(struct call *call, const struct job *job)
{

	struct writer out = call__respond(call);
	writer__uint(&out, "process", job->number);
	writer__uint(&out, "pid", (uint64_t)job->pid);
	call__finish(call, &out);
}

static void start(struct call *call, const CborValue *request)
{
	struct exec_request wanted = {0};
	struct job *job = NULL;
	char text[1024];
	int error;

	if (call__take_window(call, request))
		return;
	error = exec_request__take(call, request, &wanted);
	if (!error) {
		error = job__start(&job, call, &wanted.program, &wanted.options, text, sizeof(text));
		if (error)
			call__fail(call, error, "%s", text);
	}
	exec_request__free(&wanted);
	if (error)
		return;
	job_call_of(call)->job = job;
	if (job->number)
		respond_detached(call, job);
	else
		job_call__tell_started(call, job);
}

const struct operation operation__exec = {
	.op = "exec",
	.size = sizeof(struct job_call),
	.start = start,
	.event = job_call__event,
	.produce = job_call__produce,
	.release = job_call__release,
};
