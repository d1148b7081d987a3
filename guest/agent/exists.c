/* exists: whether a path names something; a dangling link does. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/call.h"

static void start(struct call *call, const CborValue *request)
{
	char path[PATH_MAX];
	struct stat status;
	int error;

	if (call__take_path(call, request, "path", path))
		return;
	error = lstat(path, &status) ? errno : 0;
	if (error && error != ENOENT && error != ENOTDIR) {
		call__fail(call, error, "%s: %s", path, strerror(error));
		return;
	}
	struct writer out = call__respond(call);
	writer__bool(&out, "exists", !error);
	call__finish(call, &out);
}

const struct operation operation__exists = {.op = "exists", .size = sizeof(struct call), .start = start};
