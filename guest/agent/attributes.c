/* stat, chmod and chown: what a file is, who may use it and whose it is. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "agent/call.h"
#include "agent/entry.h"

/* Keys and numbers beside those of entry__put. */
static void report_status(struct call *call, const CborValue *request)
{
	char path[PATH_MAX];
	bool follow = true;
	if (call__take_path(call, request, "path", path) || call__take_bool(call, request, "follow", &follow))
		return;
	struct stat status;
	if (fstatat(AT_FDCWD, path, &status, follow ? 0 : AT_SYMLINK_NOFOLLOW)) {
		call__fail_at(call, errno, path);
		return;
	}
	struct writer out = call__respond(call);
	entry__put(&out, &status);
	writer__uint(&out, "user", status.st_uid);
	writer__uint(&out, "group", status.st_gid);
	writer__uint(&out, "links", status.st_nlink);
	writer__int(&out, "atimeMs", entry__ms(status.st_atim));
	writer__int(&out, "ctimeMs", entry__ms(status.st_ctim));
	call__finish(call, &out);
}

static void change_mode(struct call *call, const CborValue *request)
{
	char path[PATH_MAX];
	if (call__take_path(call, request, "path", path))
		return;
	mode_t mode;
	int found = call__take_mode(call, request, &mode);
	if (found < 0)
		return;
	if (!found)
		call__refuse(call, "mode");
	else if (chmod(path, mode))
		call__fail_at(call, errno, path);
	else
		call__succeed(call);
}

static void change_owner(struct call *call, const CborValue *request)
{
	char path[PATH_MAX];
	bool follow = true;
	uint64_t user = UINT32_MAX, group = UINT32_MAX; /* -1: as it is */
	if (call__take_path(call, request, "path", path) || call__take_bool(call, request, "follow", &follow) ||
	    call__take_uint(call, request, "user", UINT32_MAX - 1, &user) < 0 ||
	    call__take_uint(call, request, "group", UINT32_MAX - 1, &group) < 0)
		return;
	if (fchownat(AT_FDCWD, path, (uid_t)user, (gid_t)group, follow ? 0 : AT_SYMLINK_NOFOLLOW))
		call__fail_at(call, errno, path);
	else
		call__succeed(call);
}

const struct operation operation__stat = {.op = "stat", .size = sizeof(struct call), .start = report_status};
const struct operation operation__chmod = {.op = "chmod", .size = sizeof(struct call), .start = change_mode};
const struct operation operation__chown = {.op = "chown", .size = sizeof(struct call), .start = change_owner};
