/* virtio-fs: a read-only share is read-only here, on the host's side, for every operation that could change it. */
#include "fs_guest.h"

#define ROOT FUSE_ROOT_ID

static uint64_t file, dir, link_node;

static void start(void)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0", .read_only = true};
	guest__start(&root, 1, true);
	host__write(host("file"), "content");
	CHECK_EQ(mkdir(host("dir"), 0755), 0);
	CHECK_EQ(symlink("file", host("link")), 0);
	file = guest__lookup(ROOT, "file");
	dir = guest__lookup(ROOT, "dir");
	link_node = guest__lookup(ROOT, "link");
	CHECK(file && dir && link_node);
}

static void reading_works(void)
{
	start();
	struct guest_dirent entries[8];
	uint64_t fh;
	CHECK_EQ(guest__open(file, O_RDONLY, &fh), 0);
	CHECK_EQ(guest__read(file, fh, 0, 100), 7);
	CHECK_EQ(guest__list(ROOT, true, 4096, entries, 8), 5);
	CHECK_EQ(guest__op(FUSE_READLINK, link_node, NULL, 0, NULL, NULL), 0);
	struct fuse_access_in access_in = {.mask = R_OK};
	CHECK_EQ(guest__op(FUSE_ACCESS, file, &access_in, sizeof(access_in), NULL, NULL), 0);
	access_in.mask = W_OK;
	CHECK_EQ(guest__op(FUSE_ACCESS, file, &access_in, sizeof(access_in), NULL, NULL), -EROFS);
	guest__stop();
}

static void entries_are_neither_made_nor_removed(void)
{
	start();
	uint64_t node, fh;
	CHECK_EQ(guest__create(ROOT, "new", O_RDWR, 0644, &node, &fh), -EROFS);
	CHECK_EQ(guest__create(ROOT, "file", O_RDONLY, 0644, &node, &fh), -EROFS);
	CHECK_EQ(guest__mkdir(ROOT, "new", 0755), -EROFS);
	CHECK_EQ(guest__mknod(ROOT, "new", S_IFREG | 0644, 0), -EROFS);
	CHECK_EQ(guest__mknod(ROOT, "new", S_IFIFO | 0644, 0), -EROFS);
	CHECK_EQ(guest__symlink(ROOT, "new", "x"), -EROFS);
	CHECK_EQ(guest__link(file, ROOT, "new"), -EROFS);
	CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, "file", NULL), -EROFS);
	CHECK_EQ(guest__op(FUSE_RMDIR, ROOT, NULL, 0, "dir", NULL), -EROFS);
	CHECK_EQ(guest__rename(ROOT, "file", ROOT, "new", 0), -EROFS);
	CHECK_EQ(guest__rename(ROOT, "file", dir, "new", 1), -EROFS);
	struct fuse_rename_in rename_in = {.newdir = dir};
	CHECK_EQ(guest__op(FUSE_RENAME, ROOT, &rename_in, sizeof(rename_in), "file", "new"), -EROFS);
	struct fuse_create_in tmp = {.flags = O_RDWR | O_TMPFILE, .mode = S_IFREG | 0644};
	CHECK_EQ(guest__op(FUSE_TMPFILE, ROOT, &tmp, sizeof(tmp), "/", NULL), -EROFS);
	struct guest_dirent entries[8];
	CHECK_EQ(guest__list(ROOT, false, 4096, entries, 8), 5);
	guest__stop();
}

static void files_are_not_changed(void)
{
	start();
	uint64_t fh;
	struct stat before = host__stat(host("file"));
	static const uint32_t flags[] = {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_RDWR | O_TRUNC, O_WRONLY | O_APPEND,
					 3};
	for (unsigned i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		CHECK_EQ(guest__open(file, flags[i], &fh), -EROFS);
	CHECK_EQ(guest__open(file, O_RDONLY, &fh), 0);
	CHECK_EQ(guest__write(file, fh, 0, "X", 1, O_RDWR), -EROFS);
	CHECK_EQ(guest__truncate(file, 0), -EROFS);
	CHECK_EQ(guest__setattr(file, (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .fh = fh}), -EROFS);
	CHECK_EQ(guest__chmod(file, 0777), -EROFS);
	CHECK_EQ(guest__chown(file, 5, 5), -EROFS);
	CHECK_EQ(guest__setattr(file, (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtime = 1}), -EROFS);
	CHECK_EQ(guest__setattr(file, (struct fuse_setattr_in){.valid = FATTR_ATIME | FATTR_ATIME_NOW}), -EROFS);
	struct fuse_fallocate_in fallocate_in = {.fh = fh, .length = 4096};
	CHECK_EQ(guest__op(FUSE_FALLOCATE, file, &fallocate_in, sizeof(fallocate_in), NULL, NULL), -EROFS);
	uint8_t xattr[32] = {1};
	memcpy(xattr + 8, "user.x\0v", 8);
	CHECK_EQ(guest__op(FUSE_SETXATTR, file, xattr, 16, NULL, NULL), -EROFS);
	CHECK_EQ(guest__op(FUSE_REMOVEXATTR, file, NULL, 0, "user.x", NULL), -EROFS);
	struct fuse_copy_file_range_in copy = {.fh_in = fh, .nodeid_out = file, .fh_out = fh, .len = 3};
	CHECK_EQ(guest__op(FUSE_COPY_FILE_RANGE, file, &copy, sizeof(copy), NULL, NULL), -EBADF);
	struct stat after = host__stat(host("file"));
	CHECK_STR(host__read(host("file")), "content");
	CHECK_EQ(memcmp(&before.st_mtim, &after.st_mtim, sizeof(after.st_mtim)), 0);
	CHECK_EQ(memcmp(&before.st_ctim, &after.st_ctim, sizeof(after.st_ctim)), 0);
	guest__stop();
}

static void reading_leaves_no_trace(void)
{
	start();
	uint64_t fh;
	struct timespec past[2] = {{.tv_sec = 1000}, {.tv_sec = 2000}};
	struct guest_dirent entries[8];
	CHECK_EQ(utimensat(AT_FDCWD, host("file"), past, 0), 0);
	CHECK_EQ(utimensat(AT_FDCWD, host("dir"), past, 0), 0);
	CHECK_EQ(guest__open(file, O_RDONLY, &fh), 0);
	CHECK_EQ(guest__read(file, fh, 0, 100), 7);
	CHECK_EQ(guest__list(dir, true, 4096, entries, 8), 2);
	CHECK_EQ(host__stat(host("file")).st_atime, 1000);
	CHECK_EQ(host__stat(host("dir")).st_atime, 1000);
	guest__stop();
}

static void a_file_in_two_shares_has_the_rights_of_each(void)
{
	uint64_t fh;
	struct fs_root both[2] = {{.name = "ro", .read_only = true}, {.name = "rw"}};
	guest__start(both, 2, false);
	uint64_t ro = guest__lookup(ROOT, "ro"), rw = guest__lookup(ROOT, "rw");
	host__write(host("ro/f"), "f");
	CHECK_EQ(link(host("ro/f"), host("rw/f")), 0); /* one file in both */
	uint64_t f_rw = guest__lookup(rw, "f"), f_ro = guest__lookup(ro, "f");
	CHECK(f_rw != f_ro);
	CHECK_EQ(guest__open(f_ro, O_RDWR, &fh), -EROFS);
	CHECK_EQ(guest__open(f_rw, O_RDWR, &fh), 0);
	CHECK_EQ(guest__write(f_rw, fh, 0, "g", 1, O_RDWR), 1);
	CHECK_EQ(guest__write(f_ro, fh, 0, "h", 1, O_RDWR), -EROFS); /* the handle does not lend its rights */
	CHECK_STR(host__read(host("ro/f")), "g");
	struct fuse_copy_file_range_in copy = {.fh_in = fh, .nodeid_out = f_ro, .fh_out = fh, .len = 1};
	CHECK_EQ(guest__op(FUSE_COPY_FILE_RANGE, f_rw, &copy, sizeof(copy), NULL, NULL), -EBADF);
	guest__stop();
}

static void its_layer_is_not_written_either(void)
{
	struct fs_root layered = {.name = "0", .read_only = true, .layered = true};
	struct confine_share shares[2];
	bool foreign = false;
	guest__start(&layered, 1, true);
	CHECK_EQ(virtio_fs__shares(guest.dd.dev, shares, &foreign), 2);
	CHECK(shares[0].read_only && shares[1].read_only);
	CHECK_EQ(guest__mkdir(ROOT, "dir", 0755), -EROFS);
	guest__stop();
}

int main(void)
{
	CASE(reading_works);
	CASE(entries_are_neither_made_nor_removed);
	CASE(files_are_not_changed);
	CASE(reading_leaves_no_trace);
	CASE(a_file_in_two_shares_has_the_rights_of_each);
	CASE(its_layer_is_not_written_either);
	return check__done();
}
