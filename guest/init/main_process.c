/* The sandbox's main process: started once, its output told as events, its end the sandbox's. */
#include "init/main_process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "process/spawn.h"

enum { STDOUT, STDERR, OUTPUTS, CHUNK = 65536 };

/* Returns false when the output gave nothing, or the host cannot take more. */
static bool pass_on(struct main_process *process, int which)
{
	static const char *const names[OUTPUTS] = {"main-stdout", "main-stderr"};
	struct output *output = &process->outputs[which];
	if (output__ended(output) || events__congested(process->events))
		return false;
	struct writer out;
	uint8_t *payload = data_frame__begin(&out, &process->events->out, 0, names[which], CHUNK);
	if (!payload)
		return false;
	ssize_t n = output__read(output, payload, CHUNK);
	if (n < 0 && n != -EAGAIN)
		output__close(output);
	/* with no one left to tell it is thrown away, so that the process does not stand still */
	if (n > 0 && !process->events->lost)
		data_frame__end(&out, (size_t)n);
	if (n > 0)
		events__flush(process->events);
	return n > 0;
}

static void ready(void *arg, int fd, unsigned events)
{
	struct main_process *process = arg;
	(void)events;
	pass_on(process, fd == process->outputs[STDERR].fd ? STDERR : STDOUT);
}

static void grace_over(void *arg)
{
	struct main_process *process = arg;
	process->grace = 0;
	output__seal(&process->outputs[STDOUT]);
	output__seal(&process->outputs[STDERR]);
}

int main_process__start(struct main_process *process, struct loop *loop, struct events *events, const struct plan *plan,
			char *message, size_t size)
{
	struct program program = {
		.argv = plan->main_argv,
		.environment = plan->main_environment,
		.cwd = plan->main_cwd,
		.has_user = plan->main_has_user,
		.has_group = plan->main_has_group,
		.user = plan->main_user,
		.group = plan->main_group,
		.fds = {-1, -1, -1},
	};
	enum spawn_stage stage = SPAWN_PROCESS;
	pid_t pid = 0;
	*process = (struct main_process){.events = events, .loop = loop, .outputs = {{.fd = -1}, {.fd = -1}}};
	program.fds[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (program.fds[0] < 0)
		pid = -errno;
	if (!pid)
		pid = output__open(&process->outputs[STDOUT], loop, ready, process, &program.fds[1]);
	if (!pid)
		pid = output__open(&process->outputs[STDERR], loop, ready, process, &program.fds[2]);
	if (!pid)
		pid = program__start(&program, &stage);
	for (int i = 0; i < 3; i++)
		if (program.fds[i] >= 0)
			close(program.fds[i]);
	if (pid < 0) {
		output__close(&process->outputs[STDOUT]);
		output__close(&process->outputs[STDERR]);
		program__explain(&program, stage, pid, message, size);
		return pid;
	}
	process->pid = pid;
	events__main_started(events, pid);
	return 0;
}

void main_process__ended(struct main_process *process, int status)
{
	process->ended = true;
	process->status = status;
	for (int which = 0; which < OUTPUTS; which++)
		while (pass_on(process, which))
			continue;
	if ((!output__ended(&process->outputs[STDOUT]) || !output__ended(&process->outputs[STDERR])) &&
	    loop__timer(process->loop, OUTPUT_GRACE_MS, grace_over, process, &process->grace))
		grace_over(process);
}

void main_process__settle(struct main_process *process)
{
	if (!process->pid || process->told)
		return;
	bool room = !events__congested(process->events);
	for (int which = 0; which < OUTPUTS; which++)
		output__await(&process->outputs[which], room);
	if (process->ended && output__ended(&process->outputs[STDOUT]) && output__ended(&process->outputs[STDERR])) {
		process->told = true;
		loop__timer_cancel(process->loop, process->grace);
		events__main_exit(process->events, process->status);
	}
}
