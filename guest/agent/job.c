/* A job's life: its start, its end, and which of the ended are remembered. */
#include "agent/job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent/job_streams.h"

enum {
	HANGUP_GRACE_MS = 2000, /* between a terminal's hang-up and SIGKILL */
	ARGV_KEPT = 512,        /* bytes of argv, for listings: one of all that can be fits into a frame */
};

static void kill_all(const struct job *job)
{
	kill(-job->pid, SIGKILL);
	limits__kill(&job->limits);
}

static void timeout(void *arg)
{
	struct job *job = arg;
	job->timeout = 0;
	job->timed_out = true;
	kill_all(job);
}

/* Out of patience: with what still holds the outputs of an ended program, or with one that was hung up on. */
static void grace_over(void *arg)
{
	struct job *job = arg;
	job->grace = 0;

	if (!job->ended) {
		kill_all(job);
		return;
	}
	output__seal(&job->outputs[JOB_STDOUT]);
	output__seal(&job->outputs[JOB_STDERR]);
	job__advance(job);
}

static void link_job(struct job *job)
{
	job->next = job->agent->jobs;
	if (job->next)
		job->next->prev = job;
	job->agent->jobs = job;
}

static void unlink_job(struct job *job)
{
	if (job->prev)
		job->prev->next = job->next;
	else
		job->agent->jobs = job->next;
	if (job->next)
		job->next->prev = job->prev;
}

static void forget_timeout(struct job *job)
{
	loop__timer_cancel(job->agent->loop, job->timeout);
	job->timeout = 0;
}

/* Of one that could not be started too. */
static void free_job(struct job *job)
{
	forget_timeout(job);
	loop__timer_cancel(job->agent->loop, job->grace);
	job__close_streams(job);
	limits__end(&job->limits, job->agent->cgroups);
	strings__free(&job->argv);
	history__free(&job->history);
	unlink_job(job);
	free(job);
}

static size_t in_background(const struct agent *agent)
{
	size_t count = 0;
	for (const struct job *job = agent->jobs; job; job = job->next)
		count += job->number && !job__is_over(job);
	return count;
}

/* The beginning of argv. */
static int keep_argv(struct job *job, const struct strings *argv)
{
	size_t room = ARGV_KEPT;
	int err = 0;
	for (size_t i = 0; i < argv->count && room && !err; i++) {
		size_t length = strlen(argv->list[i]);
		struct span text = {.at = (const uint8_t *)argv->list[i], .length = length < room ? length : room};
		err = strings__add(&job->argv, text);
		/* an empty one takes some of it too: there could be many */
		room -= text.length < room ? text.length + 1 : room;
	}
	return err;
}

static int put_in_background(struct job *job, const struct program *program)
{
	if (in_background(job->agent) >= JOBS_IN_BACKGROUND)
		return -EAGAIN;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	job->started_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	job->number = ++job->agent->job_count;
	return keep_argv(job, &program->argv);
}

static bool is_limited(const struct limits *limits)
{
	return limits->memory || limits->cpu_milli || limits->pids;
}

/* What the program needs, then the program. Returns 0, or -errno with a sentence. */
static int start(struct job *job, struct program *program, const struct job_options *options, char *text, size_t size)
{
	const char *name = program->argv.list[0], *what = NULL;
	enum spawn_stage stage = SPAWN_PROCESS;
	int err = options->background ? put_in_background(job, program) : 0;
	if (err == -EAGAIN) {
		snprintf(text, size, "%s: %d processes run in the background: the limit", name, JOBS_IN_BACKGROUND);
		return err;
	}
	if (!err)
		err = job__open_streams(job, options, program);
	if (err == -ENODEV) {
		snprintf(text, size, "%s: the sandbox has no terminal for it", name);
		return err;
	}
	if (!err && is_limited(&options->limits)) {
		err = limits__make(&job->limits, job->agent->cgroups, &options->limits, &program->limit_procs, &what);
		if (err) {
			snprintf(text, size, "%s: its limits cannot be set: %s: %s", name, what, strerror(-err));
			return -EOPNOTSUPP;
		}
	}
	if (!err && options->has_timeout)
		err = loop__timer(job->agent->loop, options->timeout_ms, timeout, job, &job->timeout);
	if (!err)
		err = job->pid = program__start(program, &stage);
	if (program->limit_procs > 0)
		close(program->limit_procs);
	if (err < 0)
		program__explain(program, stage, err, text, size);
	return err < 0 ? err : 0;
}

int job__start(struct job **started, struct call *call, struct program *program, const struct job_options *options,
	       char *text, size_t size)
{
	struct agent *agent = call->connection->agent;
	struct job *job = calloc(1, sizeof(*job));
	if (!job) {
		snprintf(text, size, "no memory");
		return -ENOMEM;
	}
	job->agent = agent;
	job->call = call;
	link_job(job);
	job->limits.fd = job->terminal = job->input = -1;
	job->outputs[JOB_STDOUT].fd = job->outputs[JOB_STDERR].fd = -1;
	program->open_files = &agent->open_files;
	program->dies_with_parent = true;
	for (int i = 0; i < 3; i++)
		program->fds[i] = -1;
	int err = start(job, program, options, text, size);
	for (int i = 0; i < 3; i++)
		if (program->fds[i] >= 0 && program->fds[i] != job->terminal)
			close(program->fds[i]);
	if (err) {
		free_job(job);
		return err;
	}
	*started = job;
	return 0;
}

/* Forget those in the background that ended longest ago; who is attached to one may go on. */
static void forget(struct agent *agent)
{
	for (;;) {
		struct job *oldest = NULL;
		size_t remembered = 0;
		for (struct job *job = agent->jobs; job; job = job->next) {
			if (!job->over || job->call)
				continue;
			remembered++;
			if (!oldest || job->over < oldest->over)
				oldest = job;
		}
		if (remembered <= JOBS_REMEMBERED)
			return;
		free_job(oldest);
	}
}

static void respond(struct job *job)
{
	struct writer out = call__respond(job->call);
	job__write_status(job, &out);
	call__finish(job->call, &out);
}

void job__advance(struct job *job)
{
	job__await(job);
	if (!job__is_over(job))
		return;
	if (job->number && !job->over)
		job->over = ++job->agent->over_count;
	if (!job->call)
		forget(job->agent);
	else if (!job__is_replaying(job))
		respond(job);
}

void job__attach(struct job *job, struct call *call, uint64_t replay)
{
	struct call *before = job->call;
	job->call = call;
	job->replayed = history__last(&job->history, replay);
	job__disown_input(job);
	if (before)
		call__fail(before, ECANCELED, "another call has attached to process %llu",
			   (unsigned long long)job->number);
}

void job__let_go(struct job *job, const struct call *call)
{
	if (job->call != call)
		return;
	job->call = NULL;
	if (job->number) {
		job__disown_input(job);
		job__advance(job);
		return;
	}
	if (job->ended || !job->has_terminal) {
		if (!job->ended)
			kill_all(job);
		free_job(job);
		return;
	}
	/* as when the line of a terminal is cut: its programs may put things in order */
	forget_timeout(job);
	job__close_streams(job);
	if (loop__timer(job->agent->loop, HANGUP_GRACE_MS, grace_over, job, &job->grace))
		kill_all(job);
}

void job__ended(struct agent *agent, pid_t pid, int status)
{
	struct job *job = agent->jobs;
	while (job && (job->ended || job->pid != pid))
		job = job->next;
	if (!job)
		return;
	job->ended = true;
	job->status = status;
	/* whoever tells every process to end tells the agent in the same moment, before any of them can have ended */
	job->cut_short = agent->ending && WIFSIGNALED(status) && !job->timed_out;
	job->out_of_memory = limits__ran_out_of_memory(&job->limits);
	limits__end(&job->limits, agent->cgroups);
	forget_timeout(job);
	if (!job->call && !job->number) { /* it was hung up on */
		free_job(job);
		return;
	}
	job__close_input(job);
	job__take_output(job);
	loop__timer_cancel(agent->loop, job->grace);
	job->grace = 0;
	if (!job__is_over(job) && loop__timer(agent->loop, OUTPUT_GRACE_MS, grace_over, job, &job->grace))
		grace_over(job);
	else
		job__advance(job);
}

void job__signal(struct job *job, int signal)
{
	if (job->ended)
		return;
	kill(-job->pid, signal);
	if (signal == SIGKILL)
		limits__kill(&job->limits);
}

struct job *job__find(const struct agent *agent, uint64_t number)
{
	struct job *job = number ? agent->jobs : NULL;
	while (job && job->number != number)
		job = job->next;
	return job;
}

bool job__is_over(const struct job *job)
{
	return job->ended && output__ended(&job->outputs[JOB_STDOUT]) && output__ended(&job->outputs[JOB_STDERR]);
}

bool job__any_running(const struct agent *agent)
{
	const struct job *job = agent->jobs;
	while (job && job->ended)
		job = job->next;
	return job != NULL;
}

void job__end_all(struct agent *agent)
{
	for (struct job *job = agent->jobs, *next; job; job = next) {
		next = job->next;
		if (!job->ended)
			kill_all(job);
		free_job(job);
	}
}

void job__write_status(const struct job *job, struct writer *writer)
{
	if (WIFSIGNALED(job->status)) {
		writer__uint(writer, "signal", (uint64_t)WTERMSIG(job->status));
	} else {
		writer__uint(writer, "exitCode", (uint64_t)WEXITSTATUS(job->status));
	}
	writer__bool(writer, "timedOut", job->timed_out);
	if (job->out_of_memory)
		writer__bool(writer, "oomKilled", true);
	if (job->cut_short)
		writer__bool(writer, "ending", true);
}
