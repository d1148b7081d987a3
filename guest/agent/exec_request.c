/* What an exec request asks to be started. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "agent/exec.h"
#include "agent/job_call.h"

/* Most a limit may say: far beyond what there is, and no sum with it overflows. */
#define LIMIT_MOST (1ULL << 48)
/* The kernel's least quota is a millisecond of its period of 100. */
#define CPU_LEAST 10

static int take_argv(struct call *call, const CborValue *request, struct strings *argv)
{
	CborValue list;
	int error;

	if (reader__array(request, "argv", &list) != 1)
		return call__refuse(call, "argv"), -1;
	error = strings__add_array(argv, &list);
	if (error == -EPROTO || (!error && !argv->count))
		return call__refuse(call, "argv"), -1;
	if (error)
		return call__fail(call, error, "exec: argv: %s", error == -EINVAL ? "a NUL inside" : strerror(-error)),
		       -1;
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
	int found = reader__string(request, "user", &name), error;

	if (found == 1) {
		error = identity__find(name, identity, text, sizeof(text));
		if (error)
			return call__fail(call, error, "%s", text), -1;
		program->has_user = program->has_group = true;
		program->user = identity->user;
		program->group = identity->group;
		program->groups = identity->groups;
		program->group_count = identity->group_count;
	} else {
		found = reader__uint(request, "user", &user);
		if (found < 0 || user >= UINT32_MAX)
			return call__refuse(call, "user"), -1;
		program->has_user = found == 1;
		program->user = (uid_t)user;
	}
	found = reader__uint(request, "group", &group);
	if (found < 0 || group >= UINT32_MAX)
		return call__refuse(call, "group"), -1;
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
	CborValue env;
	bool clear = false;
	int found, error = 0;

	if (reader__bool(request, "clearEnv", &clear) < 0)
		return call__refuse(call, "clearEnv"), -1;
	if (!clear)
		error = strings__add_all(environment, call->connection->agent->environment);
	if (!error && !clear && *identity->name) {
		error = set(environment, "HOME", identity->home);
		if (!error)
			error = set(environment, "USER", identity->name);
		if (!error)
			error = set(environment, "LOGNAME", identity->name);
	}
	found = reader__map(request, "env", &env);
	if (!error && found == 1)
		error = environment__set_map(environment, &env);
	if (found < 0 || error == -EPROTO)
		return call__refuse(call, "env"), -1;
	if (!error && wanted->options.has_terminal && !environment__get(environment, "TERM"))
		error = set(environment, "TERM", "xterm");
	if (error)
		return call__fail(call, error, "exec: env: %s",
				  error == -EINVAL ? "a NUL inside, or a bad name" : strerror(-error)),
		       -1;
	return 0;
}

static int take_cwd(struct call *call, const CborValue *request, struct exec_request *wanted)
{
	struct span span;
	int found = reader__string(request, "cwd", &span);

	if (found < 0)
		return call__refuse(call, "cwd"), -1;
	if (found == 0)
		return 0;
	wanted->program.cwd = wanted->cwd = span__copy(span);
	if (!wanted->cwd)
		return call__fail(call, errno, "exec: cwd: %s", errno == EINVAL ? "a NUL inside" : strerror(errno)), -1;
	return 0;
}

static int take_limits(struct call *call, const CborValue *request, struct limits *limits)
{
	static const char *const keys[] = {"memory", "cpuMilli", "pids"};
	uint64_t *const values[] = {&limits->memory, &limits->cpu_milli, &limits->pids};
	CborValue map;
	int found = reader__map(request, "limits", &map);

	if (found < 0)
		return call__refuse(call, "limits"), -1;
	for (size_t i = 0; found == 1 && i < sizeof(keys) / sizeof(*keys); i++) {
		int given = reader__uint(&map, keys[i], values[i]);

		if (given < 0 || (given == 1 && (*values[i] == 0 || *values[i] > LIMIT_MOST)))
			return call__refuse(call, "limits"), -1;
	}
	if (limits->cpu_milli && limits->cpu_milli < CPU_LEAST)
		limits->cpu_milli = CPU_LEAST;
	return 0;
}

static int take_options(struct call *call, const CborValue *request, struct job_options *options)
{
	CborValue pty;
	int found = reader__uint(request, "timeoutMs", &options->timeout_ms);

	if (found < 0)
		return call__refuse(call, "timeoutMs"), -1;
	options->has_timeout = found == 1;
	if (reader__bool(request, "stdin", &options->has_input) < 0)
		return call__refuse(call, "stdin"), -1;
	if (reader__bool(request, "detach", &options->background) < 0)
		return call__refuse(call, "detach"), -1;
	found = reader__map(request, "pty", &pty);
	if (found < 0 || (found == 1 && terminal_size__take(&pty, &options->size)))
		return call__refuse(call, "pty"), -1;
	options->has_terminal = found == 1;
	return take_limits(call, request, &options->limits);
}

int exec_request__take(struct call *call, const CborValue *request, struct exec_request *wanted)
{
	if (take_options(call, request, &wanted->options) || take_argv(call, request, &wanted->program.argv) ||
	    take_cwd(call, request, wanted) || take_user(call, request, wanted))
		return -1;
	return take_environment(call, request, wanted);
}

void exec_request__free(struct exec_request *wanted)
{
	strings__free(&wanted->program.argv);
	strings__free(&wanted->program.environment);
	free(wanted->cwd);
}
