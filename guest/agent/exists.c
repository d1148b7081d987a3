/* exists: whether a path names something; a dangling link does. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/call.h"

static void start(struct call *call, const CborValue *request)
{
	char path[PATH_MAX];
	if (call__take_path(call, request, "path", path))
		return;
	struct stat status;
	int err = lstat(path, &status) ? errno : 0;
	if (err && err != ENOENT && err != ENOTDIR) {
		call__fail(call, err, "%s: %s", path, strerror(err));
		return;
	}
	struct writer out = call__respond(call);
	writer__bool(&out, "exists", !err);
	call__finish(call, &out);
}

const struct operation operation__exists = {.op = "exists", .size = sizeof(struct call), .start = start};
