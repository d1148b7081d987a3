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
		CHECK_EQ(guest__op(FUSE_SYNCFS, node, &sync, sizeof(sync), NULL, NULL), 0);
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

/* "a,b": in the order in which they were written first. */
static const char *entries_of(unsigned index)
{
	static char text[2 * FS_ROOT_WROTE_MAX];
	struct fs_use use = use_of(index);
	memcpy(text, use.wrote, use.wrote_end);
	text[use.wrote_end] = 0;
	for (size_t i = 0; i + 1 < use.wrote_end; i++)
		if (!text[i])
			text[i] = ',';
	return text;
}

static void entries_are_those_of_the_root(void)
{
	start();
	uint64_t node, fh, rw = guest__lookup(ROOT, "rw");
	CHECK_EQ(mkdir(host("rw/dir"), 0755), 0);
	CHECK_EQ(mkdir(host("rw/dir/below"), 0755), 0);
	CHECK_EQ(mkdir(host("rw/other"), 0755), 0);
	uint64_t dir = guest__lookup(rw, "dir"), below = guest__lookup(dir, "below"),
		 other = guest__lookup(rw, "other");
	CHECK_STR(entries_of(RW), ""); /* looking is no writing */
	CHECK_EQ(guest__chmod(rw, 0700), 0);
	check_use(RW, true, true);
	CHECK_STR(entries_of(RW), ""); /* that is the root itself */
	CHECK_EQ(guest__create(below, "deep", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(guest__write(node, fh, 0, "x", 1, O_RDWR), 1);
	CHECK_STR(entries_of(RW), "dir");
	CHECK_EQ(guest__mkdir(rw, "new", 0755), 0);
	CHECK_STR(entries_of(RW), "dir,new");
	CHECK_EQ(guest__rename(below, "deep", other, "moved", 0), 0);
	CHECK_STR(entries_of(RW), "dir,new,other");
	CHECK_EQ(guest__rename(rw, "new", rw, "renamed", 0), 0);
	CHECK_STR(entries_of(RW), "dir,new,other,renamed");
	CHECK_EQ(guest__op(FUSE_UNLINK, other, NULL, 0, "moved", NULL), 0);
	CHECK_EQ(guest__write(node, fh, 0, "x", 1, O_RDWR), 1); /* it has no place any more */
	CHECK_STR(entries_of(RW), "dir,new,other,renamed");
	CHECK(!use_of(RW).wrote_more);
	CHECK_STR(entries_of(RO), "");
	guest__stop();
}

static void a_guest_that_makes_up_names_fills_its_share_of_them(void)
{
	start();
	char name[NAME_MAX + 1];
	uint64_t rw = guest__lookup(ROOT, "rw");
	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = 0;
	for (unsigned i = 0; i < 1000; i++) {
		for (unsigned at = 0, rest = i; at < 3; at++, rest /= 10)
			name[at] = (char)('0' + rest % 10);
		CHECK_EQ(guest__op(FUSE_UNLINK, rw, NULL, 0, name, NULL), -ENOENT);
	}
	CHECK_EQ(use_of(RW).wrote_end, FS_ROOT_WROTE_MAX); /* four of the longest names there are */
	CHECK(use_of(RW).wrote_more);
	CHECK_EQ(use_of(RO).wrote_end, 0);
	CHECK(!use_of(RO).wrote_more);
	guest__stop();
}

static void all_shares_have_names_for_64_kib_together(void)
{
	enum { MANY = 70 };
	static struct fs_root roots[MANY];
	static char names[MANY][8];
	char name[NAME_MAX + 1];
	size_t kept = 0;
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof(names[i]), "%u", i);
		roots[i] = (struct fs_root){.name = names[i]};
	}
	guest__start(roots, MANY, false);
	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = 0;
	for (unsigned i = 0; i < MANY; i++) {
		uint64_t root = guest__lookup(ROOT, names[i]);
		for (name[0] = 'a'; name[0] < 'e'; name[0]++)
			CHECK_EQ(guest__op(FUSE_UNLINK, root, NULL, 0, name, NULL), -ENOENT);
		kept += use_of(i).wrote_end;
	}
	CHECK_EQ(kept, 64 * 1024);
	CHECK(!use_of(0).wrote_more);
	check_use(MANY - 1, true, true);
	CHECK(use_of(MANY - 1).wrote_more);
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
	CASE(entries_are_those_of_the_root);
	CASE(a_guest_that_makes_up_names_fills_its_share_of_them);
	CASE(all_shares_have_names_for_64_kib_together);
	CASE(what_names_nothing_is_no_use);
	return check__done();
}
