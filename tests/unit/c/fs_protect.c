/* virtio-fs: what is protected in a writable share stays as it is, whatever the guest does, and by whatever name. */
#include <sys/mount.h>

#include "fs_guest.h"

#define ROOT FUSE_ROOT_ID

enum { NOREPLACE = 1, EXCHANGE = 2 };

static uint64_t toml, git, config, hooks, hook, file, dir;

static void start(void)
{
	static const char *const protect[] = {"capsa.toml", ".git/hooks", ".git/config", "way/to/it", "pointer/hooks"};
	static struct fs_root root;
	root = (struct fs_root){.name = "0", .protect = {protect, 5}};
	guest__start(&root, 1, true);
	CHECK_EQ(mkdir(host(".git"), 0755), 0);
	CHECK_EQ(mkdir(host(".git/hooks"), 0755), 0);
	CHECK_EQ(mkdir(host("dir"), 0755), 0);
	host__write(host("capsa.toml"), "protected");
	host__write(host(".git/config"), "protected");
	host__write(host(".git/hooks/hook"), "protected");
	host__write(host("file"), "free");
	toml = guest__lookup(ROOT, "capsa.toml");
	git = guest__lookup(ROOT, ".git");
	config = guest__lookup(git, "config");
	hooks = guest__lookup(git, "hooks");
	hook = guest__lookup(hooks, "hook");
	file = guest__lookup(ROOT, "file");
	dir = guest__lookup(ROOT, "dir");
	CHECK(toml && git && config && hooks && hook && file && dir);
}

static int set_attribute(uint64_t node, const char *name)
{
	struct {
		uint8_t in[FUSE_COMPAT_SETXATTR_IN_SIZE];
		char rest[32];
	} body = {{1}, ""};
	size_t len = strlen(name) + 1;
	memcpy(body.rest, name, len);
	body.rest[len] = 'v';
	return guest__op(FUSE_SETXATTR, node, &body, sizeof(body.in) + len + 1, NULL, NULL);
}

/* No operation on the node itself changes it. */
static void node_is_held(uint64_t node)
{
	static const uint32_t flags[] = {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_RDWR | O_TRUNC, O_WRONLY | O_APPEND,
					 3};
	uint64_t fh, free_fh;
	for (unsigned i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		CHECK_EQ(guest__open(node, flags[i], &fh), -EROFS);
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), 0);
	CHECK_EQ(guest__read(node, fh, 0, 100), 9);
	CHECK_EQ(guest__write(node, fh, 0, "X", 1, O_RDWR), -EBADF);
	struct fuse_write_in empty = {.fh = fh, .write_flags = FUSE_WRITE_KILL_SUIDGID};
	CHECK_EQ(guest__op(FUSE_WRITE, node, &empty, sizeof(empty), NULL, NULL), -EBADF);
	CHECK_EQ(guest__truncate(node, 0), -EROFS);
	CHECK_EQ(guest__setattr(node, (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .fh = fh}), -EROFS);
	CHECK_EQ(guest__setattr(node, (struct fuse_setattr_in){.valid = FATTR_KILL_SUIDGID}), -EROFS);
	struct fuse_fallocate_in fallocate_in = {.fh = fh, .length = 4096};
	CHECK_EQ(guest__op(FUSE_FALLOCATE, node, &fallocate_in, sizeof(fallocate_in), NULL, NULL), -EROFS);
	CHECK_EQ(guest__open(file, O_RDWR, &free_fh), 0);
	struct fuse_copy_file_range_in copy = {.fh_in = free_fh, .nodeid_out = node, .fh_out = fh, .len = 3};
	CHECK_EQ(guest__op(FUSE_COPY_FILE_RANGE, file, &copy, sizeof(copy), NULL, NULL), -EBADF);
	copy = (struct fuse_copy_file_range_in){.fh_in = free_fh, .nodeid_out = node, .fh_out = free_fh, .len = 3};
	CHECK_EQ(guest__op(FUSE_COPY_FILE_RANGE, file, &copy, sizeof(copy), NULL, NULL), -EBADF);
	CHECK_EQ(guest__release(file, free_fh, false), 0);
	CHECK_EQ(guest__release(node, fh, false), 0);
	CHECK_EQ(guest__link(node, ROOT, "linked"), -EROFS);
	CHECK_EQ(guest__link(node, dir, "linked"), -EROFS);
}

static void attributes_are_held(uint64_t node)
{
	CHECK_EQ(guest__chmod(node, 0777), -EROFS);
	CHECK_EQ(guest__chown(node, 5, 5), -EROFS);
	CHECK_EQ(guest__setattr(node, (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtime = 1}), -EROFS);
	CHECK_EQ(guest__setattr(node, (struct fuse_setattr_in){.valid = FATTR_ATIME | FATTR_ATIME_NOW}), -EROFS);
	CHECK_EQ(set_attribute(node, "user.x"), -EROFS);
	CHECK_EQ(guest__op(FUSE_REMOVEXATTR, node, NULL, 0, "user.x", NULL), -EROFS);
	struct fuse_access_in access_in = {.mask = W_OK};
	CHECK_EQ(guest__op(FUSE_ACCESS, node, &access_in, sizeof(access_in), NULL, NULL), -EROFS);
	access_in.mask = R_OK;
	CHECK_EQ(guest__op(FUSE_ACCESS, node, &access_in, sizeof(access_in), NULL, NULL), 0);
}

/* The name cannot be made, whatever it is to be; `directory`: but as a directory. */
static void name_cannot_be_made(uint64_t parent, const char *name, bool directory)
{
	uint64_t node, fh;
	struct fuse_rename_in rename_in = {.newdir = parent};
	CHECK_EQ(guest__create(parent, name, O_RDWR, 0644, &node, &fh), -EROFS);
	CHECK_EQ(guest__create(parent, name, O_RDWR | O_EXCL, 0644, &node, &fh), -EROFS);
	CHECK_EQ(guest__mknod(parent, name, S_IFREG | 0644, 0), -EROFS);
	CHECK_EQ(guest__mknod(parent, name, S_IFIFO | 0644, 0), -EROFS);
	CHECK_EQ(guest__symlink(parent, name, "dir"), -EROFS);
	CHECK_EQ(guest__link(file, parent, name), -EROFS);
	for (unsigned flags = 0; flags <= EXCHANGE; flags++) {
		CHECK_EQ(guest__rename(ROOT, "file", parent, name, flags), -EROFS);
		CHECK_EQ(guest__rename(ROOT, "dir", parent, name, flags), -EROFS);
		CHECK_EQ(guest__rename(parent, name, ROOT, "file", flags), -EROFS);
		CHECK_EQ(guest__rename(parent, name, ROOT, "moved", flags), -EROFS);
	}
	CHECK_EQ(guest__op(FUSE_RENAME, ROOT, &rename_in, sizeof(rename_in), "file", name), -EROFS);
	CHECK_EQ(guest__op(FUSE_UNLINK, parent, NULL, 0, name, NULL), -EROFS);
	if (directory)
		return;
	CHECK_EQ(guest__mkdir(parent, name, 0755), -EROFS);
	CHECK_EQ(guest__op(FUSE_RMDIR, parent, NULL, 0, name, NULL), -EROFS);
}

static void stop(void)
{
	CHECK_STR(host__read(host("capsa.toml")), "protected");
	CHECK_STR(host__read(host(".git/config")), "protected");
	CHECK_STR(host__read(host(".git/hooks/hook")), "protected");
	guest__stop();
}

static void files_stay_as_they_are(void)
{
	start();
	uint64_t nodes[] = {toml, config, hook};
	const char *paths[] = {"capsa.toml", ".git/config", ".git/hooks/hook"};
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(chmod(host("%s", paths[i]), 06755), 0); /* nor does a write strip them */
		struct stat before = host__stat(host("%s", paths[i]));
		node_is_held(nodes[i]);
		attributes_are_held(nodes[i]);
		struct stat after = host__stat(host("%s", paths[i]));
		CHECK_EQ(memcmp(&before.st_mtim, &after.st_mtim, sizeof(after.st_mtim)), 0);
		CHECK_EQ(memcmp(&before.st_ctim, &after.st_ctim, sizeof(after.st_ctim)), 0);
		CHECK_EQ(after.st_mode & 07777, 06755);
	}
	name_cannot_be_made(ROOT, "capsa.toml", false);
	name_cannot_be_made(git, "config", false);
	stop();
}

static void trees_stay_as_they_are(void)
{
	start();
	struct guest_dirent entries[8];
	struct fuse_create_in tmp = {.flags = O_RDWR | O_TMPFILE, .mode = S_IFREG | 0644};
	CHECK_EQ(mkdir(host(".git/hooks/sub"), 0755), 0);
	uint64_t sub = guest__lookup(hooks, "sub");
	uint64_t places[] = {hooks, sub};
	for (unsigned i = 0; i < 2; i++) {
		attributes_are_held(places[i]);
		name_cannot_be_made(places[i], "new", false);
		CHECK_EQ(guest__op(FUSE_TMPFILE, places[i], &tmp, sizeof(tmp), "/", NULL), -EROFS);
	}
	name_cannot_be_made(git, "hooks", false);
	name_cannot_be_made(hooks, "hook", false);
	name_cannot_be_made(hooks, "sub", false);
	CHECK_EQ(guest__list(hooks, true, 4096, entries, 8), 4);
	stop();
}

static void the_way_to_them_stays(void)
{
	start();
	uint64_t node, fh;
	CHECK_EQ(guest__mkdir(dir, "hooks", 0755), 0);
	name_cannot_be_made(ROOT, ".git", true);
	CHECK_EQ(guest__mkdir(ROOT, ".git", 0755), -EEXIST);
	CHECK_EQ(guest__op(FUSE_RMDIR, ROOT, NULL, 0, ".git", NULL), -ENOTEMPTY);
	/* what else is there is the guest's */
	CHECK_EQ(guest__chmod(git, 0750), 0);
	CHECK_EQ(guest__create(git, "index", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(guest__rename(git, "index", git, "config.lock", 0), 0);
	CHECK_EQ(guest__rename(git, "config.lock", git, "config", 0), -EROFS);
	CHECK_EQ(guest__op(FUSE_UNLINK, git, NULL, 0, "config.lock", NULL), 0);
	CHECK_EQ(guest__mkdir(git, "objects", 0755), 0);
	CHECK_EQ(guest__rename(git, "objects", dir, "moved", 0), 0);
	uint64_t moved = guest__lookup(dir, "moved");
	CHECK_EQ(guest__rename(dir, "moved", git, "objects", 0), 0);
	CHECK_EQ(guest__create(moved, "o", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(access(host(".git/objects/o"), F_OK), 0);
	stop();
}

static void what_is_not_there_cannot_be_made(void)
{
	start();
	name_cannot_be_made(ROOT, "way", true);
	CHECK_EQ(guest__mkdir(ROOT, "way", 0755), 0);
	uint64_t way = guest__lookup(ROOT, "way");
	name_cannot_be_made(way, "to", true);
	CHECK_EQ(guest__mkdir(way, "to", 0755), 0);
	uint64_t to = guest__lookup(way, "to");
	name_cannot_be_made(to, "it", false);
	CHECK_EQ(guest__mkdir(to, "IT", 0755), -EROFS); /* which some file systems take for the same */
	CHECK_EQ(guest__mkdir(to, "other", 0755), 0);
	CHECK_EQ(guest__op(FUSE_RMDIR, to, NULL, 0, "other", NULL), 0);
	CHECK_EQ(guest__op(FUSE_RMDIR, way, NULL, 0, "to", NULL), 0); /* and made again, as a directory only */
	name_cannot_be_made(way, "to", true);
	CHECK_EQ(guest__op(FUSE_RMDIR, ROOT, NULL, 0, "way", NULL), 0);
	name_cannot_be_made(ROOT, "way", true);
	uint64_t node, fh;
	CHECK_EQ(guest__create(ROOT, "CAPSA.TOML", O_RDWR, 0644, &node, &fh),
		 0); /* there are two of them: they differ */
	stop();
}

/* As `.git` of a working tree that is not the first is a file that says where to go on. */
static void what_stands_where_a_directory_should_stays(void)
{
	start();
	host__write(host("pointer"), "protected");
	uint64_t pointer = guest__lookup(ROOT, "pointer");
	node_is_held(pointer);
	attributes_are_held(pointer);
	name_cannot_be_made(ROOT, "pointer", true);
	CHECK_EQ(guest__mkdir(ROOT, "pointer", 0755), -EEXIST);
	CHECK_EQ(guest__op(FUSE_RMDIR, ROOT, NULL, 0, "pointer", NULL), -ENOTDIR);
	CHECK_STR(host__read(host("pointer")), "protected");
	CHECK_EQ(unlink(host("pointer")), 0);
	CHECK_EQ(symlink("dir", host("pointer")), 0);
	CHECK(guest__lookup(ROOT, "pointer") != 0);
	name_cannot_be_made(ROOT, "pointer", true);
	stop();
}

static void other_names_of_them_lead_nowhere(void)
{
	start();
	CHECK_EQ(link(host("capsa.toml"), host("dir/toml")), 0);
	CHECK_EQ(link(host(".git/hooks/hook"), host("dir/hook")), 0);
	CHECK_EQ(link(host("capsa.toml"), host("beside")), 0);
	CHECK_EQ(link(host("file"), host("dir/free")), 0);
	uint64_t node, fh;
	node_is_held(guest__lookup(dir, "toml"));
	attributes_are_held(guest__lookup(dir, "toml"));
	node_is_held(guest__lookup(dir, "hook"));
	node_is_held(guest__lookup(ROOT, "beside"));
	CHECK_EQ(guest__create(dir, "hook", O_RDWR, 0644, &node, &fh), -EROFS);
	CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, "beside", NULL), 0);
	CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, "capsa.toml", NULL), -EROFS);
	/* other names themselves are the guest's, and without them the file is as protected as before */
	uint64_t alias = guest__lookup(dir, "hook");
	CHECK_EQ(alias, hook);
	CHECK_EQ(guest__rename(dir, "hook", dir, "renamed", 0), 0);
	node_is_held(alias);
	CHECK_EQ(guest__op(FUSE_UNLINK, dir, NULL, 0, "renamed", NULL), 0);
	node_is_held(alias);
	/* of others nothing is refused */
	uint64_t free_alias = guest__lookup(dir, "free");
	CHECK_EQ(guest__open(free_alias, O_RDWR, &fh), 0);
	CHECK_EQ(guest__link(free_alias, dir, "third"), 0);
	CHECK_EQ(guest__create(dir, "unlinked", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(guest__op(FUSE_UNLINK, dir, NULL, 0, "unlinked", NULL), 0);
	CHECK_EQ(guest__setattr(node, (struct fuse_setattr_in){.valid = FATTR_MODE | FATTR_FH, .mode = 0600, .fh = fh}),
		 0);
	CHECK_EQ(guest__write(node, fh, 0, "x", 1, O_RDWR), 1);
	stop();
}

static void other_mounts_of_them_lead_nowhere(void)
{
	start();
	uint64_t node, fh;
	CHECK_EQ(mkdir(host("dir/git"), 0755), 0);
	CHECK_EQ(mkdir(host("dir/hooks"), 0755), 0);
	CHECK_EQ(mkdir(host("dir/share"), 0755), 0);
	CHECK_EQ(mkdir(host("other"), 0755), 0);
	host__write(host("other/f"), "");
	CHECK_EQ(mkdir(host("dir/other"), 0755), 0);
	if (mount(host(".git/hooks"), host("dir/hooks"), NULL, MS_BIND, NULL)) {
		guest__stop();
		SKIP("mounting is not permitted here");
	}
	CHECK_EQ(mount(host(".git"), host("dir/git"), NULL, MS_BIND, NULL), 0);
	CHECK_EQ(mount(guest.host, host("dir/share"), NULL, MS_BIND, NULL), 0);
	CHECK_EQ(mount(host("other"), host("dir/other"), NULL, MS_BIND, NULL), 0);
	uint64_t hooks2 = guest__lookup(dir, "hooks"), git2 = guest__lookup(dir, "git");
	uint64_t share2 = guest__lookup(dir, "share"), other2 = guest__lookup(dir, "other");
	CHECK(hooks2 != hooks && git2 != git);
	attributes_are_held(hooks2);
	name_cannot_be_made(hooks2, "new", false);
	node_is_held(guest__lookup(hooks2, "hook"));
	node_is_held(guest__lookup(git2, "config"));
	name_cannot_be_made(git2, "hooks", false);
	name_cannot_be_made(share2, "capsa.toml", false);
	node_is_held(guest__lookup(guest__lookup(guest__lookup(share2, ".git"), "hooks"), "hook"));
	CHECK_EQ(guest__create(git2, "index", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(guest__create(other2, "new", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(guest__open(guest__lookup(other2, "f"), O_RDWR, &fh), 0);
	for (unsigned i = 0; i < 4; i++)
		umount2(host("dir/%s", i == 0 ? "hooks" : i == 1 ? "git" : i == 2 ? "share" : "other"), MNT_DETACH);
	stop();
}

static void nor_does_another_share(void)
{
	static const char *const protect[] = {"tree"};
	uint64_t fh;
	struct fs_root roots[3] = {
		{.name = "one", .protect = {protect, 1}}, {.name = "two"}, {.name = "file", .fd = GUEST_FILE}};
	guest__start(roots, 3, false);
	CHECK_EQ(mkdir(host("one/tree"), 0755), 0);
	host__write(host("one/tree/f"), "protected");
	CHECK_EQ(link(host("one/tree/f"), host("two/f")), 0);
	CHECK_EQ(link(host("file"), host("one/tree/file")), 0);
	uint64_t two = guest__lookup(ROOT, "two");
	uint64_t f = guest__lookup(two, "f");
	CHECK_EQ(guest__open(f, O_RDWR, &fh), -EROFS);
	CHECK_EQ(guest__chmod(f, 0777), -EROFS);
	CHECK_EQ(guest__open(guest__lookup(ROOT, "file"), O_RDWR, &fh), -EROFS);
	CHECK_EQ(guest__op(FUSE_UNLINK, two, NULL, 0, "f", NULL), 0); /* and without the name no more so */
	CHECK_EQ(guest__open(f, O_RDWR, &fh), -EROFS);
	CHECK_EQ(guest__mkdir(two, "tree", 0755), 0); /* the paths are those of one share */
	guest__stop();
}

static void paths_are_checked(void)
{
	static const char *const bad[] = {"", "/a", "a/", "a//b", ".", "..", "a/..", "./a", "a/../b"};
	struct virtio_device *dev;
	char top[] = "/tmp/capsa-fs-XXXXXX", name[NAME_MAX + 2], path[64];
	CHECK(mkdtemp(top) != NULL);
	struct fs_root root = {.name = "0", .fd = open(top, O_PATH | O_CLOEXEC), .protect.count = 1};
	struct fs_options options = {.tag = "t", .roots = {&root, 1}};
	const char *at = name;
	root.protect.at = &at;
	memset(name, 'n', sizeof(name));
	name[NAME_MAX + 1] = 0;
	CHECK_EQ(virtio_fs__new(&options, &dev), -EINVAL);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		root.protect.at = &bad[i];
		CHECK_EQ(virtio_fs__new(&options, &dev), -EINVAL);
	}
	snprintf(path, sizeof(path), "%s/f", top);
	host__write(path, "");
	struct fs_root single = {.name = "0", .fd = open(path, O_PATH | O_CLOEXEC), .protect.count = 1};
	static const char *const good[] = {"a/.../..b"};
	single.protect.at = good; /* there is nothing below a file */
	options.roots.at = &single;
	CHECK_EQ(virtio_fs__new(&options, &dev), -ENOTDIR);
	CHECK_EQ(fcntl(root.fd, F_GETFD), FD_CLOEXEC); /* they stay the caller's */
	CHECK_EQ(fcntl(single.fd, F_GETFD), FD_CLOEXEC);
	close(root.fd);
	close(single.fd);
	unlink(path);
	rmdir(top);
}

int main(void)
{
	CASE(files_stay_as_they_are);
	CASE(trees_stay_as_they_are);
	CASE(the_way_to_them_stays);
	CASE(what_is_not_there_cannot_be_made);
	CASE(what_stands_where_a_directory_should_stays);
	CASE(other_names_of_them_lead_nowhere);
	CASE(other_mounts_of_them_lead_nowhere);
	CASE(nor_does_another_share);
	CASE(paths_are_checked);
	return check__done();
}
