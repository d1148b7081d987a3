/* mkdir, rename, symlink and read_link: what names a directory holds, and what they lead to. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/call.h"
#include "process/directories.h"

static bool is_directory(const char *path)
{
	struct stat status;
	return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* What a new directory is to be. */
struct wanted {
	mode_t mode;
	uid_t user; /* -1, as the group: whose it is by itself */
	gid_t group;
};

/* A directory that is there is as good as one that is made, with `recursive`. Returns 0 or an errno. */
static int make(const char *path, const struct wanted *wanted, bool recursive)
{
	int err = recursive ? -directories__make_above(path) : 0;
	if (err)
		return err;
	if (mkdir(path, 0700)) {
		err = errno;
		return recursive && is_directory(path) ? 0 : err;
	}
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno;
	bool given = wanted->user != (uid_t)-1 || wanted->group != (gid_t)-1;
	if ((given && fchown(fd, wanted->user, wanted->group)) || fchmod(fd, wanted->mode))
		err = errno;
	close(fd);
	return err;
}

static void make_directory(struct call *call, const CborValue *request)
{
	char path[PATH_MAX];
	bool recursive = false;
	struct wanted wanted = {.mode = 0755};
	uint64_t user = UINT32_MAX, group = UINT32_MAX;
	if (call__take_path(call, request, "path", path) || call__take_mode(call, request, &wanted.mode) < 0 ||
	    call__take_bool(call, request, "recursive", &recursive) ||
	    call__take_uint(call, request, "user", UINT32_MAX - 1, &user) < 0 ||
	    call__take_uint(call, request, "group", UINT32_MAX - 1, &group) < 0)
		return;
	wanted.user = (uid_t)user;
	wanted.group = (gid_t)group;
	for (size_t end = strlen(path); end > 1 && path[end - 1] == '/'; end--)
		path[end - 1] = '\0';
	int err = make(path, &wanted, recursive);
	if (err)
		call__fail_at(call, err, path);
	else
		call__succeed(call);
}

static void rename_path(struct call *call, const CborValue *request)
{
	char path[PATH_MAX], to[PATH_MAX];
	if (call__take_path(call, request, "path", path) || call__take_path(call, request, "to", to))
		return;
	if (rename(path, to))
		call__fail(call, errno, "%s to %s: %s", path, to, strerror(errno));
	else
		call__succeed(call);
}

static void make_symlink(struct call *call, const CborValue *request)
{
	char path[PATH_MAX];
	if (call__take_path(call, request, "path", path))
		return;
	char target[PATH_MAX];
	struct span span;
	if (reader__string(request, "target", &span) != 1 || !span.length || span.length >= sizeof(target) ||
	    memchr(span.at, 0, span.length)) {
		call__refuse(call, "target");
		return;
	}
	memcpy(target, span.at, span.length);
	target[span.length] = '\0';
	if (symlinkat(target, AT_FDCWD, path))
		call__fail_at(call, errno, path);
	else
		call__succeed(call);
}

static void read_link(struct call *call, const CborValue *request)
{
	char path[PATH_MAX];
	if (call__take_path(call, request, "path", path))
		return;
	char target[PATH_MAX];
	ssize_t length = readlink(path, target, sizeof(target));
	if (length < 0) {
		call__fail_at(call, errno, path);
		return;
	}
	struct writer out = call__respond(call);
	writer__name(&out, "target", target, (size_t)length);
	call__finish(call, &out);
}

const struct operation operation__mkdir = {.op = "mkdir", .size = sizeof(struct call), .start = make_directory};
const struct operation operation__rename = {.op = "rename", .size = sizeof(struct call), .start = rename_path};
const struct operation operation__symlink = {.op = "symlink", .size = sizeof(struct call), .start = make_symlink};
const struct operation operation__read_link = {.op = "read_link", .size = sizeof(struct call), .start = read_link};
