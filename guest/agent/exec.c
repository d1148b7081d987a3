/* exec and attach: a program run for the host, or one in the background found again; and what the host may say to it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/job.h"
#include "process/identity.h"

/* Most a limit may say: far beyond what there is, and no sum with it overflows. */
#define LIMIT_MOST (1ULL << 48)
/* The kernel's least quota is a millisecond of its period of 100. */
#define CPU_LEAST 10

enum { SIGNAL_LIMIT = 64 };

/* A call that has a job. */
struct job_call {
	struct call call;
	struct job *job; /* NULL until there is one */
};

/* What an exec asks for; zeroed before, and freed in either case. */
struct exec_request {
	struct program program;
	struct job_options options;
	char *cwd;                /* program.cwd */
	struct identity identity; /* program.groups */
};

static struct job_call *job_call_of(struct call *call)
{
	return container_of(call, struct job_call, call);
}

/* "columns" and "rows" of a map, each 1 to 65535. Returns 0 or -EPROTO. */
static int take_size(const CborValue *map, struct terminal_size *size)
{
	uint64_t columns = 0, rows = 0;
	if (reader__uint(map, "columns", &columns) != 1 || reader__uint(map, "rows", &rows) != 1 || !columns || !rows ||
	    columns > UINT16_MAX || rows > UINT16_MAX)
		return -EPROTO;
	*size = (struct terminal_size){.columns = (uint16_t)columns, .rows = (uint16_t)rows};
	return 0;
}

static int take_argv(struct call *call, const CborValue *request, struct strings *argv)
{
	CborValue list;
	if (reader__array(request, "argv", &list) != 1)
		return call__refuse(call, "argv");
	int err = strings__add_array(argv, &list);
	if (err == -EPROTO || (!err && !argv->count))
		return call__refuse(call, "argv");
	if (err)
		return call__fail(call, err, "exec: argv: %s", err == -EINVAL ? "a NUL inside" : strerror(-err));
	return 0;
}

/* By name, and then with its groups; or by number. */
static int take_user(struct call *call, const CborValue *request, struct exec_request *wanted)
{
	struct program *program = &wanted->program;
	struct identity *identity = &wanted->identity;
	struct span name;
	uint64_t user = 0, group = 0;
	char text[256];
	int found = reader__string(request, "user", &name), err;
	if (found == 1) {
		err = identity__find(name, identity, text, sizeof(text));
		if (err)
			return call__fail(call, err, "%s", text);
		program->has_user = program->has_group = true;
		program->user = identity->user;
		program->group = identity->group;
		program->groups = identity->groups;
		program->group_count = identity->group_count;
	} else {
		found = reader__uint(request, "user", &user);
		if (found < 0 || user >= UINT32_MAX)
			return call__refuse(call, "user");
		program->has_user = found == 1;
		program->user = (uid_t)user;
	}
	found = reader__uint(request, "group", &group);
	if (found < 0 || group >= UINT32_MAX)
		return call__refuse(call, "group");
	if (found == 1) {
		program->has_group = true;
		program->group = (gid_t)group;
		program->group_count = 0;
	}
	return 0;
}

static int set(struct strings *environment, const char *name, const char *value)
{
	return environment__set(environment, (struct span){.at = (const uint8_t *)name, .length = strlen(name)},
				(struct span){.at = (const uint8_t *)value, .length = strlen(value)});
}

/* The sandbox's, what belongs to the user and the terminal, the request's: the later ones win. */
static int take_environment(struct call *call, const CborValue *request, struct exec_request *wanted)
{
	struct strings *environment = &wanted->program.environment;
	const struct identity *identity = &wanted->identity;
	bool clear = false;
	int err = 0;
	if (reader__bool(request, "clearEnv", &clear) < 0)
		return call__refuse(call, "clearEnv");
	if (!clear)
		err = strings__add_all(environment, call->connection->agent->environment);
	if (!err && !clear && *identity->name) {
		err = set(environment, "HOME", identity->home);
		if (!err)
			err = set(environment, "USER", identity->name);
		if (!err)
			err = set(environment, "LOGNAME", identity->name);
	}
	CborValue env;
	int found = reader__map(request, "env", &env);
	if (!err && found == 1)
		err = environment__set_map(environment, &env);
	if (found < 0 || err == -EPROTO)
		return call__refuse(call, "env");
	if (!err && wanted->options.has_terminal && !environment__get(environment, "TERM"))
		err = set(environment, "TERM", "xterm");
	if (err)
		return call__fail(call, err, "exec: env: %s",
				  err == -EINVAL ? "a NUL inside, or a bad name" : strerror(-err));
	return 0;
}

static int take_cwd(struct call *call, const CborValue *request, struct exec_request *wanted)
{
	struct span span;
	int found = reader__string(request, "cwd", &span);
	if (found < 0)
		return call__refuse(call, "cwd");
	if (found == 0)
		return 0;
	int err = span__copy(span, &wanted->cwd);
	wanted->program.cwd = wanted->cwd;
	return err ? call__fail(call, err, "exec: cwd: %s", err == -EINVAL ? "a NUL inside" : strerror(-err)) : 0;
}

static int take_limits(struct call *call, const CborValue *request, struct limits *limits)
{
	static const char *const keys[] = {"memory", "cpuMilli", "pids"};
	uint64_t *const values[] = {&limits->memory, &limits->cpu_milli, &limits->pids};
	CborValue map;
	int found = reader__map(request, "limits", &map);
	if (found < 0)
		return call__refuse(call, "limits");
	for (size_t i = 0; found == 1 && i < sizeof(keys) / sizeof(*keys); i++) {
		int given = reader__uint(&map, keys[i], values[i]);
		if (given < 0 || (given == 1 && (*values[i] == 0 || *values[i] > LIMIT_MOST)))
			return call__refuse(call, "limits");
	}
	if (limits->cpu_milli && limits->cpu_milli < CPU_LEAST)
		limits->cpu_milli = CPU_LEAST;
	return 0;
}

static int take_options(struct call *call, const CborValue *request, struct job_options *options)
{
	int found = reader__uint(request, "timeoutMs", &options->timeout_ms);
	if (found < 0)
		return call__refuse(call, "timeoutMs");
	options->has_timeout = found == 1;
	if (reader__bool(request, "stdin", &options->has_input) < 0)
		return call__refuse(call, "stdin");
	if (reader__bool(request, "detach", &options->background) < 0)
		return call__refuse(call, "detach");
	struct span stderr_to;
	found = reader__string(request, "stderr", &stderr_to);
	if (found < 0 || (found == 1 && !span__equals(stderr_to, "stdout") && !span__equals(stderr_to, "discard")))
		return call__refuse(call, "stderr");
	if (found == 1)
		options->stderr_to = span__equals(stderr_to, "stdout") ? STDERR_TO_STDOUT : STDERR_NOWHERE;
	CborValue pty;
	found = reader__map(request, "pty", &pty);
	if (found < 0 || (found == 1 && take_size(&pty, &options->size)))
		return call__refuse(call, "pty");
	options->has_terminal = found == 1;
	return take_limits(call, request, &options->limits);
}

/* Returns 0, or -errno after call__fail. */
static int take_request(struct call *call, const CborValue *request, struct exec_request *wanted)
{
	int err = take_options(call, request, &wanted->options);
	if (!err)
		err = take_argv(call, request, &wanted->program.argv);
	if (!err)
		err = take_cwd(call, request, wanted);
	if (!err)
		err = take_user(call, request, wanted);
	return err ? err : take_environment(call, request, wanted);
}

static void free_request(struct exec_request *wanted)
{
	strings__free(&wanted->program.argv);
	strings__free(&wanted->program.environment);
	free(wanted->cwd);
}

static void event(struct call *call, struct span ev, const CborValue *message)
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
		if (take_size(message, &size))
			call__refuse(call, "columns, rows");
		else
			job__resize(job, size);
	} else if (span__equals(ev, "detach") && job->number) {
		call__succeed(call);
	}
}

static bool produce(struct call *call)
{
	struct job *job = job_call_of(call)->job;
	if (job__replay(job))
		return true;
	/* the outputs tell by themselves when they have something: only say whether that is of use */
	job__advance(job);
	return false;
}

static void release(struct call *call)
{
	struct job *job = job_call_of(call)->job;
	if (job)
		job__let_go(job, call);
}

static void tell_started(struct call *call, const struct job *job)
{
	struct writer out = call__begin_event(call, "started");
	writer__uint(&out, "pid", (uint64_t)job->pid);
	if (job->number) {
		writer__bool(&out, "stdin", job->input >= 0);
		writer__bool(&out, "pty", job->has_terminal);
	}
	call__tell(call, &out);
}

static void respond_detached(struct call *call, const struct job *job)
{
	struct writer out = call__respond(call);
	writer__uint(&out, "process", job->number);
	writer__uint(&out, "pid", (uint64_t)job->pid);
	call__finish(call, &out);
}

static void exec(struct call *call, const CborValue *request)
{
	struct exec_request wanted = {0};
	struct job *job = NULL;
	if (call__take_window(call, request))
		return;
	int err = take_request(call, request, &wanted);
	char text[1024];
	if (!err) {
		err = job__start(&job, call, &wanted.program, &wanted.options, text, sizeof(text));
		if (err)
			call__fail(call, err, "%s", text);
	}
	free_request(&wanted);
	if (err)
		return;
	job_call_of(call)->job = job;
	if (job->number)
		respond_detached(call, job);
	else
		tell_started(call, job);
}

const struct operation operation__exec = {
	.op = "exec",
	.size = sizeof(struct job_call),
	.start = exec,
	.event = event,
	.produce = produce,
	.release = release,
};

static void attach(struct call *call, const CborValue *request)
{
	uint64_t number = 0, replay = HISTORY_SIZE;
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
	struct job *job = job__find(call->connection->agent, number);
	if (!job) {
		call__fail(call, ESRCH, "no process %llu: it was never started, or ended too long ago",
			   (unsigned long long)number);
		return;
	}
	job_call_of(call)->job = job;
	job__attach(job, call, replay);
	tell_started(call, job);
}

const struct operation operation__attach = {
	.op = "attach",
	.size = sizeof(struct job_call),
	.start = attach,
	.event = event,
	.produce = produce,
	.release = release,
};
