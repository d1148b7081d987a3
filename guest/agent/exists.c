/* exists: whether a path names something; a dangling link does. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/call.h"

static void start(struct call *call, const CborValue *request)
{
	char path[PATH_MAX];
	struct stat status;
	struct frame frame;
	int error;

	if (call__take_path(call, request, "path", path))
		return;
	error = lstat(path, &status) ? errno : 0;
	if (error && error != ENOENT && error != ENOTDIR) {
		call__fail(call, error, "%s: %s", path, strerror(error));
		return;
	}
	if (call__respond(call, &frame, 1, 16))
		return;
	writer__text(&frame.writer, "exists");
	writer__bool(&frame.writer, !error);
	call__finish(call, &frame);
}

const struct operation operation__exists = {.op = "exists", .size = sizeof(struct call), .start = start};
