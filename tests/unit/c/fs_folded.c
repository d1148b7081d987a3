/* virtio-fs: what is protected on a file system that takes "A" for "a". There is none to be had everywhere, so the
 * calls by which the server reaches entries are taken over here, and what they name is put in small letters. */
#include <ctype.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "fs_guest.h"

#define ROOT FUSE_ROOT_ID

int linkat(int dir, const char *path, int new_dir, const char *new_path, int flags);

static const char *folded(const char *path)
{
	static _Thread_local char names[2][PATH_MAX];
	static _Thread_local unsigned next;
	char *name = names[next++ % 2];
	size_t i = 0;
	if (!guest.host[0] || strchr(path, '/')) /* no name that the server uses */
		return path;
	for (; path[i]; i++)
		name[i] = (char)tolower((unsigned char)path[i]);
	name[i] = 0;
	return name;
}

static _Atomic unsigned looks;

int statx(int dir, const char *path, int flags, unsigned mask, struct statx *stx)
{
	looks++;
	return (int)syscall(SYS_statx, dir, folded(path), flags, mask, stx);
}

int openat(int dir, const char *path, int flags, ...)
{
	va_list args;
	va_start(args, flags);
	mode_t mode = va_arg(args, mode_t);
	va_end(args);
	return (int)syscall(SYS_openat, dir, folded(path), flags, mode);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
	return (int)syscall(SYS_mkdirat, dir, folded(path), mode);
}

int unlinkat(int dir, const char *path, int flags)
{
	return (int)syscall(SYS_unlinkat, dir, folded(path), flags);
}

int renameat2(int dir, const char *path, int new_dir, const char *new_path, unsigned flags)
{
	return (int)syscall(SYS_renameat2, dir, folded(path), new_dir, folded(new_path), flags);
}

int symlinkat(const char *target, int dir, const char *path)
{
	return (int)syscall(SYS_symlinkat, target, dir, folded(path));
}

int linkat(int dir, const char *path, int new_dir, const char *new_path, int flags)
{
	return (int)syscall(SYS_linkat, dir, path, new_dir, folded(new_path), flags);
}

static void a_name_in_other_letters_is_the_same(void)
{
	static const char *const protect[] = {"capsa.toml", ".git/hooks", "new/tree"};
	struct fs_root root = {.name = "0", .protect = {protect, 3}};
	uint64_t node, fh;
	guest__start(&root, 1, true);
	CHECK_EQ(mkdir(host(".git"), 0755), 0);
	CHECK_EQ(mkdir(host(".git/hooks"), 0755), 0);
	host__write(host("capsa.toml"), "protected");
	host__write(host(".git/hooks/hook"), "protected");
	host__write(host("file"), "free");
	uint64_t toml = guest__lookup(ROOT, "CAPSA.toml"), git = guest__lookup(ROOT, ".GIT");
	uint64_t hooks = guest__lookup(git, "HOOKS"), hook = guest__lookup(hooks, "HOOK");
	CHECK(toml && git && hooks && hook);
	CHECK_EQ(guest__open(toml, O_RDWR, &fh), -EROFS);
	CHECK_EQ(guest__open(hook, O_RDWR, &fh), -EROFS);
	CHECK_EQ(guest__chmod(toml, 0777), -EROFS);
	CHECK_EQ(guest__create(hooks, "NEW", O_RDWR, 0644, &node, &fh), -EROFS);
	CHECK_EQ(guest__rename(ROOT, "File", ROOT, "Capsa.Toml", 0), -EROFS);
	CHECK_EQ(guest__rename(ROOT, ".Git", ROOT, "elsewhere", 0), -EROFS);
	CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, "Capsa.Toml", NULL), -EROFS);
	CHECK_EQ(guest__rename(git, "Hooks", git, "elsewhere", 0), -EROFS);
	CHECK_EQ(guest__symlink(ROOT, "New", "x"), -EROFS);
	CHECK_EQ(guest__mkdir(ROOT, "New", 0755), 0);
	CHECK_EQ(guest__mkdir(guest__lookup(ROOT, "NEW"), "TREE", 0755), -EROFS);
	CHECK_EQ(guest__rename(ROOT, "File", git, "File", 0), 0); /* the rest is the guest's */
	CHECK_EQ(guest__open(guest__lookup(git, "FILE"), O_RDWR, &fh), 0);
	CHECK_STR(host__read(host("capsa.toml")), "protected");
	CHECK_STR(host__read(host(".git/hooks/hook")), "protected");
	guest__stop();
}

static unsigned looks_of_entries(unsigned protect_count)
{
	static const char *const protect[] = {"capsa.toml", "capsa.lock", ".git/hooks"};
	struct fs_root root = {.name = "0", .protect = {protect, protect_count}};
	uint64_t node, fh;
	guest__start(&root, 1, true);
	host__write(host("capsa.toml"), "protected");
	CHECK_EQ(mkdir(host("src"), 0755), 0);
	uint64_t src = guest__lookup(ROOT, "src");
	unsigned before = looks;
	for (unsigned i = 0; i < 2; i++) {
		uint64_t dir = i ? src : ROOT;
		CHECK_EQ(guest__create(dir, "new", O_RDWR, 0644, &node, &fh), 0);
		CHECK_EQ(guest__rename(dir, "new", dir, "other", 0), 0);
		CHECK_EQ(guest__op(FUSE_UNLINK, dir, NULL, 0, "other", NULL), 0);
	}
	unsigned took = looks - before;
	guest__stop();
	return took;
}

static void what_begins_otherwise_costs_no_look(void)
{
	CHECK_EQ(looks_of_entries(3), looks_of_entries(0));
}

int main(void)
{
	CASE(a_name_in_other_letters_is_the_same);
	CASE(what_begins_otherwise_costs_no_look);
	return check__done();
}
