/* virtio-fs: what the guest has done with each share, as who would give it no more than that is told. */
#include "fs_guest.h"

#define ROOT FUSE_ROOT_ID

enum { RW, RO, FILE_ROOT, ROOTS };

static void start(void)
{
	static struct fs_root roots[ROOTS];
	roots[RW] = (struct fs_root){.name = "rw"};
	roots[RO] = (struct fs_root){.name = "ro", .read_only = true};
	roots[FILE_ROOT] = (struct fs_root){.name = "file", .fd = GUEST_FILE, .cache = FS_CACHE_ALWAYS};
	guest__start(roots, ROOTS, false);
}

static struct fs_use use_of(unsigned index)
{
	struct fs_use use;
	CHECK(virtio_fs__use(guest.dd.dev, index, &use));
	return use;
}

static void check_use(unsigned index, bool used, bool written)
{
	struct fs_use use = use_of(index);
	CHECK_EQ(use.used, used);
	CHECK_EQ(use.written, written);
}

static void mounting_is_no_use(void)
{
	start();
	struct guest_dirent entries[8];
	struct fs_use use;
	static const char *const names[ROOTS] = {"rw", "ro", "file"};
	for (unsigned i = 0; i < ROOTS; i++) {
		uint64_t node = guest__lookup(ROOT, names[i]);
		CHECK(node != 0);
		CHECK_EQ(guest__entry()->attr_valid, 0); /* who looks at it later asks, and is seen */
		CHECK_EQ(guest__entry()->attr_valid_nsec, 0);
		struct fuse_syncfs_in sync = {0};
		CHECK_EQ(guest__op(FUSE_SYNCFS, node, &sync, sizeof(sync), NULL, NULL), i == FILE_ROOT ? -ENOTDIR : 0);
		guest__forget(node, 1);
		CHECK_STR(use_of(i).name, names[i]);
		check_use(i, false, false);
	}
	CHECK_EQ(guest__list(ROOT, true, 4096, entries, 8), ROOTS + 2);
	for (unsigned i = 0; i < ROOTS; i++)
		check_use(i, false, false);
	CHECK(!virtio_fs__use(guest.dd.dev, ROOTS, &use));
	guest__stop();
}

static void looking_is_use_of_that_share(void)
{
	start();
	struct fuse_attr attr;
	CHECK_EQ(guest__getattr(guest__lookup(ROOT, "file"), &attr), 0);
	check_use(FILE_ROOT, true, false);
	check_use(RO, false, false);
	CHECK_EQ(guest__lookup(guest__lookup(ROOT, "ro"), "none"), 0);
	check_use(RO, true, false);
	check_use(RW, false, false);
	guest__stop();
}

static void reading_is_no_writing(void)
{
	start();
	struct guest_dirent entries[8];
	uint64_t fh, rw = guest__lookup(ROOT, "rw");
	host__write(host("rw/f"), "f");
	uint64_t f = guest__lookup(rw, "f");
	CHECK_EQ(guest__open(f, O_RDONLY, &fh), 0);
	CHECK_EQ(guest__read(f, fh, 0, 10), 1);
	CHECK_EQ(guest__release(f, fh, false), 0);
	CHECK_EQ(guest__list(rw, true, 4096, entries, 8), 3);
	check_use(RW, true, false);
	guest__stop();
}

/* Each in a machine of its own. */
static void writing_in_any_way_is_seen(void)
{
	for (unsigned how = 0; how < 8; how++) {
		start();
		uint64_t node, fh, rw = guest__lookup(ROOT, "rw");
		host__write(host("rw/f"), "f");
		uint64_t f = guest__lookup(rw, "f");
		check_use(RW, true, false);
		switch (how) {
		case 0:
			CHECK_EQ(guest__create(rw, "new", O_RDONLY, 0644, &node, &fh), 0);
			break;
		case 1:
			CHECK_EQ(guest__mkdir(rw, "new", 0755), 0);
			break;
		case 2:
			CHECK_EQ(guest__op(FUSE_UNLINK, rw, NULL, 0, "f", NULL), 0);
			break;
		case 3:
			CHECK_EQ(guest__rename(rw, "f", rw, "g", 0), 0);
			break;
		case 4:
			CHECK_EQ(guest__chmod(f, 0600), 0);
			break;
		case 5:
			CHECK_EQ(guest__open(f, O_RDWR, &fh), 0);
			break;
		case 6:
			CHECK_EQ(guest__open(f, O_RDONLY | O_TRUNC, &fh), 0);
			break;
		case 7:
			CHECK_EQ(guest__op(FUSE_UNLINK, rw, NULL, 0, "none", NULL), -ENOENT);
			break;
		}
		check_use(RW, true, true);
		check_use(RO, false, false);
		guest__stop();
	}
}

static void a_refused_write_is_told(void)
{
	start();
	uint64_t fh, ro = guest__lookup(ROOT, "ro");
	host__write(host("ro/f"), "f");
	uint64_t f = guest__lookup(ro, "f");
	check_use(RO, true, false);
	CHECK_EQ(guest__open(f, O_WRONLY, &fh), -EROFS);
	check_use(RO, true, true);
	CHECK_EQ(guest__mkdir(guest__lookup(ROOT, "ro"), "new", 0755), -EROFS);
	guest__stop();
}

static void what_names_nothing_is_no_use(void)
{
	start();
	struct fuse_attr attr;
	CHECK_EQ(guest__getattr(77777, &attr), -ESTALE);
	CHECK_EQ(guest__mkdir(77777, "x", 0755), -ESTALE);
	CHECK_EQ(guest__mkdir(ROOT, "x", 0755), -EROFS); /* in the made root */
	for (unsigned i = 0; i < ROOTS; i++)
		check_use(i, false, false);
	guest__stop();
}

int main(void)
{
	CASE(mounting_is_no_use);
	CASE(looking_is_use_of_that_share);
	CASE(reading_is_no_writing);
	CASE(writing_in_any_way_is_seen);
	CASE(a_refused_write_is_told);
	CASE(what_names_nothing_is_no_use);
	return check__done();
}
