/* A call that has a job: what the host may say to it, and what it is told. */
#include "agent/job_call.h"

#include <errno.h>

enum { SIGNAL_LIMIT = 64 };

int terminal_size__take(const CborValue *map, struct terminal_size *size)
{
	uint64_t columns = 0, rows = 0;

	if (reader__uint(map, "columns", &columns) != 1 || reader__uint(map, "rows", &rows) != 1 || !columns || !rows ||
	    columns > UINT16_MAX || rows > UINT16_MAX)
		return -EPROTO;
	*size = (struct terminal_size){.columns = (uint16_t)columns, .rows = (uint16_t)rows};
	return 0;
}

void job_call__event(struct call *call, struct span ev, const CborValue *message)
{
	struct job *job = job_call_of(call)->job;
	struct terminal_size size;
	struct span data;
	uint64_t signal;

	if (span__equals(ev, "stdin")) {
		if (reader__bytes(message, "data", &data) != 1)
			call__refuse(call, "data");
		else if (data.length)
			job__write(job, data);
	} else if (span__equals(ev, "stdin-end")) {
		job__end_input(job);
	} else if (span__equals(ev, "kill")) {
		if (reader__uint(message, "signal", &signal) != 1 || signal == 0 || signal > SIGNAL_LIMIT)
			call__refuse(call, "signal");
		else
			job__signal(job, (int)signal);
	} else if (span__equals(ev, "resize")) {
		if (terminal_size__take(message, &size))
			call__refuse(call, "columns, rows");
		else
			job__resize(job, size);
	} else if (span__equals(ev, "detach") && job->number) {
		call__succeed(call);
	}
}

bool job_call__produce(struct call *call)
{
	struct job *job = job_call_of(call)->job;

	if (job__replay(job))
		return true;
	/* the outputs tell by themselves when they have something: only say whether that is of use */
	job__advance(job);
	return false;
}

void job_call__release(struct call *call)
{
	struct job *job = job_call_of(call)->job;

	if (job)
		job__let_go(job, call);
}

void job_call__tell_started(struct call *call, const struct job *job)
{

	struct writer out = call__begin_event(call, "started");
	writer__uint(&out, "pid", (uint64_t)job->pid);
	if (job->number) {
		writer__bool(&out, "stdin", job->input.fd >= 0);
		writer__bool(&out, "pty", job->has_terminal);
	}
	call__tell(call, &out);
}
