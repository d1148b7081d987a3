/* A job's input and output: between its pipes, or its terminal, and the call it has, or its history. */
#include "agent/job_streams.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum {
	INPUT_PIPE_SIZE = 256 * 1024,
	INPUT_LIMIT = WINDOW_LIMIT, /* bytes queued for a program, whoever they are from */
	KEPT_AT_ONCE = 32 * 1024,
	ROUNDS = 16, /* of taking output at the end: what is left behind may write for ever */
};

bool job__is_replaying(const struct job *job)
{
	return job->number && job->call && !history__at_end(&job->history, &job->replayed);
}

static bool has_room(const struct job *job)
{
	/* a job in the background does not wait for somebody to come */
	if (!job->call)
		return true;
	return call__room(job->call) > 0 && !connection__congested(job->call->connection) && !job__is_replaying(job);
}

/* The history goes along with what is sent: the next call may want to see it. */
static void remember(struct job *job, int which, const uint8_t *bytes, size_t length)
{
	if (!job->number)
		return;
	history__add(&job->history, (uint8_t)which, bytes, length);
	job->replayed = (struct history_cursor){.at = job->history.end};
}

/* Room for *max bytes of output. */
static uint8_t *begin_frame(struct job *job, struct writer *out, int which, size_t *max)
{
	static const char *const names[JOB_OUTPUTS] = {"stdout", "stderr"};
	struct call *call = job->call;
	size_t room = call__room(call);
	*max = room < CHUNK ? room : CHUNK;
	uint8_t *payload = data_frame__begin(out, &call->connection->out, call->id, names[which], *max);
	if (!payload)
		call__break(call);
	return payload;
}

static void end_frame(struct job *job, struct writer *out, size_t length)
{
	data_frame__end(out, length);
	job->call->unacknowledged += length;
}

/* Pass on what one output has, as far as the window goes. Returns false when it gave nothing. */
static bool pass_on(struct job *job, int which)
{
	struct output *output = &job->outputs[which];
	uint8_t kept[KEPT_AT_ONCE], *payload = kept;
	size_t max = sizeof(kept);
	if (output__ended(output) || !has_room(job))
		return false;
	struct writer out;
	if (job->call)
		payload = begin_frame(job, &out, which, &max);
	if (!payload)
		return false;
	ssize_t n = output__read(output, payload, max);
	if (n > 0) {
		remember(job, which, payload, (size_t)n);
		if (job->call)
			end_frame(job, &out, (size_t)n);
	} else if (n < 0 && n != -EAGAIN) {
		output__close(output); /* a terminal whose programs have all gone is in error */
	}
	return n > 0;
}

bool job__replay(struct job *job)
{
	struct history_cursor next = job->replayed;
	if (!job__is_replaying(job) || !call__room(job->call) || connection__congested(job->call->connection))
		return false;
	const uint8_t *bytes;
	uint8_t which;
	history__next(&job->history, &next, 1, &which, &bytes);
	struct writer out;
	size_t max;
	uint8_t *payload = begin_frame(job, &out, which, &max);
	if (!payload)
		return false;
	size_t length = history__next(&job->history, &job->replayed, max, &which, &bytes);
	memcpy(payload, bytes, length);
	end_frame(job, &out, length);
	return true;
}

/* Nobody knows in which order they were written to; errors first, so that they are told before what may follow them. */
static void output_ready(void *arg, int fd, unsigned ready)
{
	struct job *job = arg;
	(void)ready;
	bool is_stdout = fd == job->outputs[JOB_STDOUT].fd;
	pass_on(job, JOB_STDERR);
	if (is_stdout)
		pass_on(job, JOB_STDOUT);
	job__advance(job);
}

void job__take_output(struct job *job)
{
	for (int which = 0; which < JOB_OUTPUTS; which++)
		for (int round = 0; round < ROUNDS && pass_on(job, which); round++)
			continue;
}

void job__await(struct job *job)
{
	bool room = has_room(job);
	for (int which = 0; which < JOB_OUTPUTS; which++)
		output__await(&job->outputs[which], room);
}

/* Give the program what is queued; what it took, or will never take, is credited: all of it when nothing is left, else
 * a quarter of the window at a time, as a pipe takes little at a time. */
static void feed(struct job *job)
{
	size_t before = buffer__pending(&job->queued);
	int err = buffer__flush(&job->queued, job->input);
	size_t left = buffer__pending(&job->queued);
	if (err && err != -EAGAIN)
		left = 0; /* it closed its stdin */
	size_t given = before - left;
	size_t inherited = given < job->inherited ? given : job->inherited;
	job->inherited -= inherited;
	job->taken += given - inherited;
	if (job->call && (!left || job->taken >= job->call->window / 4)) {
		call__credit(job->call, job->taken);
		job->taken = 0;
	}
	if ((err && err != -EAGAIN) || (!left && job->input_ending && !job->has_terminal))
		job__close_input(job);
	else
		(void)!loop__mod(job->agent->loop, job->input, left ? LOOP_WRITE : 0);
}

static void input_ready(void *arg, int fd, unsigned ready)
{
	(void)fd, (void)ready;
	feed(arg);
}

void job__write(struct job *job, struct span data)
{
	struct call *call = job->call;
	if (job->input < 0) { /* closed, by the program or its end */
		call__credit(call, data.length);
		return;
	}
	if (buffer__pending(&job->queued) - job->inherited + data.length > call->window || job->input_ending) {
		call__fail(call, EPROTO, "stdin: more than the window of %zu bytes, or after its end", call->window);
		return;
	}
	if (job->inherited && buffer__pending(&job->queued) + data.length > INPUT_LIMIT) {
		call__fail(call, EAGAIN, "stdin: process %llu has not taken what earlier calls gave it",
			   (unsigned long long)job->number);
		return;
	}
	uint8_t *room = buffer__reserve(&job->queued, data.length);
	if (!room) {
		call__break(call);
		return;
	}
	memcpy(room, data.at, data.length);
	buffer__commit(&job->queued, data.length);
	feed(job);
}

void job__end_input(struct job *job)
{
	if (job->input < 0 || job->input_ending)
		return;
	job->input_ending = true;
	if (!job->has_terminal) {
		if (!buffer__pending(&job->queued))
			job__close_input(job);
		return;
	}
	/* closing would hang up: a terminal has a character for it, for which nobody is credited */
	uint8_t *room = buffer__reserve(&job->queued, 1);
	if (!room) {
		call__break(job->call);
		return;
	}
	*room = terminal__end_of_input(job->input);
	buffer__commit(&job->queued, 1);
	job->inherited++;
	feed(job);
}

void job__disown_input(struct job *job)
{
	job->inherited = buffer__pending(&job->queued);
	job->taken = 0;
	if (job->has_terminal)
		job->input_ending = false;
}

void job__resize(struct job *job, struct terminal_size size)
{
	if (job->has_terminal && job->input >= 0)
		terminal__resize(job->input, size);
}

void job__close_input(struct job *job)
{
	if (job->terminal >= 0)
		close(job->terminal);
	job->terminal = -1;
	if (job->input < 0)
		return;
	loop__del(job->agent->loop, job->input);
	close(job->input);
	job->input = -1;
	job->inherited = 0;
	buffer__free(&job->queued);
}

void job__close_streams(struct job *job)
{
	job__close_input(job);
	output__close(&job->outputs[JOB_STDOUT]);
	output__close(&job->outputs[JOB_STDERR]);
}

static int take_input(struct job *job, int fd)
{
	int err = loop__add(job->agent->loop, fd, 0, input_ready, job);
	if (err)
		close(fd);
	else
		job->input = fd;
	return err;
}

static int open_terminal(struct job *job, const struct job_options *options, struct program *program)
{
	struct terminal terminal;
	int err = terminal__open(&terminal, options->size, program->has_user ? program->user : 0);
	if (err)
		return -ENODEV;
	job->has_terminal = program->terminal = true;
	job->terminal = program->fds[0] = program->fds[1] = program->fds[2] = terminal.program;
	err = output__take(&job->outputs[JOB_STDOUT], job->agent->loop, output_ready, job, terminal.host);
	if (err)
		return err;
	int input = fcntl(terminal.host, F_DUPFD_CLOEXEC, 3);
	if (input < 0)
		return -errno;
	return take_input(job, input);
}

static int open_input(struct job *job, bool has_input, int *end)
{
	if (!has_input) {
		*end = open("/dev/null", O_RDONLY | O_CLOEXEC);
		return *end < 0 ? -errno : 0;
	}
	int ends[2];
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	*end = ends[0];
	int err = take_input(job, ends[1]);
	if (err)
		return err;
	/* a larger pipe saves switches between writer and reader; the default also works */
	fcntl(ends[1], F_SETPIPE_SZ, INPUT_PIPE_SIZE);
	return fcntl(ends[1], F_SETFL, O_WRONLY | O_NONBLOCK) ? -errno : 0;
}

static int open_stderr(struct job *job, enum stderr_to to, struct program *program)
{
	if (to == STDERR_APART)
		return output__open(&job->outputs[JOB_STDERR], job->agent->loop, output_ready, job, &program->fds[2]);
	program->fds[2] = to == STDERR_TO_STDOUT ? fcntl(program->fds[1], F_DUPFD_CLOEXEC, 3)
						 : open("/dev/null", O_WRONLY | O_CLOEXEC);
	return program->fds[2] < 0 ? -errno : 0;
}

int job__open_streams(struct job *job, const struct job_options *options, struct program *program)
{
	struct loop *loop = job->agent->loop;
	if (options->has_terminal)
		return open_terminal(job, options, program);
	int err = open_input(job, options->has_input, &program->fds[0]);
	if (!err)
		err = output__open(&job->outputs[JOB_STDOUT], loop, output_ready, job, &program->fds[1]);
	return err ? err : open_stderr(job, options->stderr_to, program);
}
