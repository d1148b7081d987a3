/* What an exec request asks to be started. */
#include "exec.h"

#include <errno.h>
#include <string.h>

int exec__take_program(struct call *call, const CborValue *request, struct program *program, char **cwd)
{
	CborValue argv, env;
	struct span span;
	uint64_t user = 0, group = 0;
	bool clear = false;
	int found, error = 0;

	if (reader__array(request, "argv", &argv) != 1)
		return call__refuse(call, "argv"), -1;
	error = strings__add_array(&program->argv, &argv);
	if (error == -EPROTO || (!error && !program->argv.count))
		return call__refuse(call, "argv"), -1;
	if (reader__bool(request, "clearEnv", &clear) < 0)
		return call__refuse(call, "clearEnv"), -1;
	if (!error && !clear)
		error = strings__add_all(&program->environment, call->connection->agent->environment);
	found = reader__map(request, "env", &env);
	if (!error && found == 1)
		error = environment__set_map(&program->environment, &env);
	if (found < 0 || error == -EPROTO)
		return call__refuse(call, "env"), -1;
	found = reader__string(request, "cwd", &span);
	if (found < 0)
		return call__refuse(call, "cwd"), -1;
	if (!error && found == 1) {
		program->cwd = *cwd = span__copy(span);
		error = *cwd ? 0 : -errno;
	}
	if (error)
		return call__fail(call, error, "exec: %s",
				  error == -EINVAL ? "a NUL in argv, env or cwd, or a bad name in env"
						   : strerror(-error)),
		       -1;
	found = reader__uint(request, "user", &user);
	program->has_user = found == 1;
	if (found < 0 || user >= UINT32_MAX)
		return call__refuse(call, "user"), -1;
	found = reader__uint(request, "group", &group);
	program->has_group = found == 1;
	if (found < 0 || group >= UINT32_MAX)
		return call__refuse(call, "group"), -1;
	program->user = (uid_t)user;
	program->group = (gid_t)group;
	return 0;
}
