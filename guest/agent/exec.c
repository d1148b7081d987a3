/* exec: a program run for the host, its input and output as they come, its end. */
#include "exec.h"

#include "call.h"
#include "process/output.h"
#include "process/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STDOUT, STDERR, OUTPUTS };
enum { INPUT_PIPE_SIZE = 256 * 1024 };

struct exec {
	struct call call;
	struct exec *next, *prev; /* in agent->execs, from the start of the program to the end of the call */
	struct output outputs[OUTPUTS];
	struct watch input;   /* write end of the program's stdin; fd -1: closed */
	struct buffer queued; /* for stdin, at most a window */
	size_t taken;         /* of stdin, by the program, and not yet credited */
	bool input_ending;
	pid_t pid;
	int status;
	bool started, ended, timed_out;
	struct timer timeout, grace;
};

static struct exec *exec_of(struct call *call)
{
	return container_of(call, struct exec, call);
}

static void close_input(struct exec *exec)
{
	if (exec->input.fd < 0)
		return;
	watch__remove(&exec->input);
	close(exec->input.fd);
	exec->input.fd = -1;
	buffer__free(&exec->queued);
}

static void respond(struct exec *exec)
{
	struct frame frame;
	struct writer *writer = &frame.writer;

	if (call__respond(&exec->call, &frame, 2, 64))
		return;
	if (WIFSIGNALED(exec->status)) {
		writer__text(writer, "signal");
		writer__uint(writer, (uint64_t)WTERMSIG(exec->status));
	} else {
		writer__text(writer, "exitCode");
		writer__uint(writer, (uint64_t)WEXITSTATUS(exec->status));
	}
	writer__text(writer, "timedOut");
	writer__bool(writer, exec->timed_out);
	call__finish(&exec->call, &frame);
}

/* Pass on what one output has, as far as the window goes. Returns false when it gave nothing. */
static bool pass_on(struct exec *exec, int which)
{
	static const char *const names[OUTPUTS] = {"stdout", "stderr"};
	struct output *output = &exec->outputs[which];
	struct call *call = &exec->call;
	size_t room = call__room(call);
	struct data_frame frame;
	uint8_t *payload;
	ssize_t n;

	if (output__ended(output) || !room || connection__congested(call->connection))
		return false;
	payload =
		data_frame__begin(&frame, &call->connection->out, call->id, names[which], room < CHUNK ? room : CHUNK);
	if (!payload) {
		call__break(call);
		return false;
	}
	n = output__read(output, payload, frame.max);
	if (n > 0) {
		data_frame__end(&frame, (size_t)n);
		call->unacknowledged += (size_t)n;
	} else if (n < 0 && n != -EAGAIN) {
		output__close(output);
	}
	return n > 0;
}

/* Await what can be taken; and respond once all is delivered. The exec may be gone afterwards. */
static void advance(struct exec *exec)
{
	bool room = call__room(&exec->call) > 0 && !connection__congested(exec->call.connection);

	for (int which = 0; which < OUTPUTS; which++)
		output__await(&exec->outputs[which], room);
	if (exec->ended && output__ended(&exec->outputs[STDOUT]) && output__ended(&exec->outputs[STDERR]))
		respond(exec);
}

static void stdout_ready(struct watch *watch, short revents)
{
	struct exec *exec = container_of(watch, struct exec, outputs[STDOUT].watch);

	(void)revents;
	pass_on(exec, STDOUT);
	advance(exec);
}

static void stderr_ready(struct watch *watch, short revents)
{
	struct exec *exec = container_of(watch, struct exec, outputs[STDERR].watch);

	(void)revents;
	pass_on(exec, STDERR);
	advance(exec);
}

/* Give the program what is queued; what it took, or will never take, is credited: all of it when nothing is left, else
 * a quarter of the window at a time, as a pipe takes little at a time. */
static void feed(struct exec *exec)
{
	size_t before = buffer__pending(&exec->queued);
	int error = buffer__flush(&exec->queued, exec->input.fd);
	size_t left = buffer__pending(&exec->queued);

	if (error && error != -EAGAIN)
		left = 0; /* it closed its stdin */
	exec->taken += before - left;
	if (!left || exec->taken >= exec->call.window / 4) {
		call__credit(&exec->call, exec->taken);
		exec->taken = 0;
	}
	if ((error && error != -EAGAIN) || (!left && exec->input_ending))
		close_input(exec);
	else
		exec->input.events = left ? POLLOUT : 0;
}

static void input_ready(struct watch *watch, short revents)
{
	(void)revents;
	feed(container_of(watch, struct exec, input));
}

static void timeout(struct timer *timer)
{
	struct exec *exec = container_of(timer, struct exec, timeout);

	exec->timed_out = true;
	kill(-exec->pid, SIGKILL);
}

static void grace_over(struct timer *timer)
{
	struct exec *exec = container_of(timer, struct exec, grace);

	output__seal(&exec->outputs[STDOUT]);
	output__seal(&exec->outputs[STDERR]);
	advance(exec);
}

void exec__ended(struct agent *agent, pid_t pid, int status)
{
	struct exec *exec = agent->execs;

	while (exec && (exec->ended || exec->pid != pid))
		exec = exec->next;
	if (!exec)
		return;
	exec->ended = true;
	exec->status = status;
	timer__clear(&exec->timeout);
	close_input(exec);
	for (int which = 0; which < OUTPUTS; which++)
		while (pass_on(exec, which))
			continue;
	if (!output__ended(&exec->outputs[STDOUT]) || !output__ended(&exec->outputs[STDERR]))
		timer__set(&agent->loop, &exec->grace, OUTPUT_GRACE_MS);
	advance(exec);
}

/* Open the program's end of its three streams, *ends, and ours in `exec`. Returns 0 or -errno. */
static int open_streams(struct exec *exec, bool has_input, int ends[3])
{
	struct loop *loop = &exec->call.connection->agent->loop;
	int error;

	if (has_input) {
		int pipe_ends[2];

		if (pipe2(pipe_ends, O_CLOEXEC))
			return -errno;
		ends[0] = pipe_ends[0];
		exec->input = (struct watch){.fd = pipe_ends[1], .ready = input_ready};
		loop__add(loop, &exec->input);
		/* a larger pipe saves switches between writer and reader; the default also works */
		fcntl(pipe_ends[1], F_SETPIPE_SZ, INPUT_PIPE_SIZE);
		if (fcntl(pipe_ends[1], F_SETFL, O_WRONLY | O_NONBLOCK))
			return -errno;
	} else {
		ends[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		if (ends[0] < 0)
			return -errno;
	}
	error = output__open(&exec->outputs[STDOUT], loop, stdout_ready, &ends[1]);
	return error ? error : output__open(&exec->outputs[STDERR], loop, stderr_ready, &ends[2]);
}

static void tell_started(struct exec *exec)
{
	struct call *call = &exec->call;
	struct frame frame;

	if (frame__begin(&frame, &call->connection->out, 64) < 0) {
		call__break(call);
		return;
	}
	writer__map(&frame.writer, 3);
	writer__text(&frame.writer, "id");
	writer__uint(&frame.writer, call->id);
	writer__text(&frame.writer, "ev");
	writer__text(&frame.writer, "started");
	writer__text(&frame.writer, "pid");
	writer__uint(&frame.writer, (uint64_t)exec->pid);
	if (frame__end(&frame) < 0)
		call__break(call);
}

/* Returns 0 with the program running, or -1 after call__fail. */
static int start_program(struct exec *exec, struct program *program, bool has_input)
{
	struct call *call = &exec->call;
	struct agent *agent = call->connection->agent;
	int ends[3] = {-1, -1, -1};
	int error = open_streams(exec, has_input, ends);
	enum spawn_stage stage = SPAWN_PROCESS;
	char text[1024];

	memcpy(program->fds, ends, sizeof(ends));
	program->open_files = &agent->open_files;
	program->dies_with_parent = true;
	exec->pid = error ? error : program__start(program, &stage);
	for (int i = 0; i < 3; i++)
		if (ends[i] >= 0)
			close(ends[i]);
	if (exec->pid < 0) {
		program__explain(program, stage, exec->pid, text, sizeof(text));
		call__fail(call, exec->pid, "%s", text);
		return -1;
	}
	exec->started = true;
	exec->next = agent->execs;
	if (exec->next)
		exec->next->prev = exec;
	agent->execs = exec;
	return 0;
}

static void start(struct call *call, const CborValue *request)
{
	struct exec *exec = exec_of(call);
	struct program program = {0};
	char *cwd = NULL;
	uint64_t timeout_ms = 0;
	bool has_input = false;
	int has_timeout, error;

	exec->input.fd = exec->outputs[STDOUT].watch.fd = exec->outputs[STDERR].watch.fd = -1;
	exec->timeout.fire = timeout;
	exec->grace.fire = grace_over;
	if (call__take_window(call, request))
		return;
	has_timeout = reader__uint(request, "timeoutMs", &timeout_ms);
	if (has_timeout < 0) {
		call__refuse(call, "timeoutMs");
		return;
	}
	if (reader__bool(request, "stdin", &has_input) < 0) {
		call__refuse(call, "stdin");
		return;
	}
	error = exec__take_program(call, request, &program, &cwd);
	if (!error)
		error = start_program(exec, &program, has_input);
	strings__free(&program.argv);
	strings__free(&program.environment);
	free(cwd);
	if (error)
		return;
	tell_started(exec);
	if (has_timeout == 1)
		timer__set(&call->connection->agent->loop, &exec->timeout, timeout_ms);
}

static void take_input(struct exec *exec, struct span data)
{
	struct call *call = &exec->call;
	uint8_t *room;

	if (exec->input.fd < 0) { /* closed, by the program or its end */
		call__credit(call, data.length);
		return;
	}
	if (buffer__pending(&exec->queued) + data.length > call->window || exec->input_ending) {
		call__fail(call, EPROTO, "stdin: more than the window of %zu bytes, or after its end", call->window);
		return;
	}
	room = buffer__reserve(&exec->queued, data.length);
	if (!room) {
		call__break(call);
		return;
	}
	memcpy(room, data.at, data.length);
	buffer__commit(&exec->queued, data.length);
	feed(exec);
}

static void event(struct call *call, struct span ev, const CborValue *message)
{
	struct exec *exec = exec_of(call);
	struct span data;
	uint64_t signal;

	if (span__equals(ev, "stdin")) {
		if (reader__bytes(message, "data", &data) != 1)
			call__refuse(call, "data");
		else if (data.length)
			take_input(exec, data);
	} else if (span__equals(ev, "stdin-end")) {
		exec->input_ending = true;
		if (!buffer__pending(&exec->queued))
			close_input(exec);
	} else if (span__equals(ev, "kill")) {
		if (reader__uint(message, "signal", &signal) != 1 || signal == 0 || signal > 64)
			call__refuse(call, "signal");
		else if (!exec->ended)
			kill(-exec->pid, (int)signal);
	}
}

static bool produce(struct call *call)
{
	/* the outputs tell by themselves when they have something: only say whether that is of use */
	advance(exec_of(call));
	return false;
}

static void release(struct call *call)
{
	struct exec *exec = exec_of(call);
	struct agent *agent = call->connection->agent;

	if (exec->started && !exec->ended)
		kill(-exec->pid, SIGKILL);
	timer__clear(&exec->timeout);
	timer__clear(&exec->grace);
	close_input(exec);
	output__close(&exec->outputs[STDOUT]);
	output__close(&exec->outputs[STDERR]);
	if (!exec->started)
		return;
	if (exec->prev)
		exec->prev->next = exec->next;
	else
		agent->execs = exec->next;
	if (exec->next)
		exec->next->prev = exec->prev;
}

const struct operation operation__exec = {
	.op = "exec",
	.size = sizeof(struct exec),
	.start = start,
	.event = event,
	.produce = produce,
	.release = release,
};
