/* virtio-fs over file systems that keep less than local ones do (FUSE, 9p, network): numbers that repeat, times without
 * bounds, listings and attributes as a server sends them. The C library's calls are played here. */
#include <sys/syscall.h>
#include <sys/xattr.h>

#include "fs_guest.h"

#define ROOT FUSE_ROOT_ID

static const char *twin;    /* what has this name seems to be … */
static const char *of;      /* … this one, from the directory that holds it */
static int64_t modified_at; /* what was last changed then; 0: as it was */
static bool endless;        /* listings: each entry is said to come first */

int statx(int dir, const char *restrict path, int flags, unsigned mask, struct statx *restrict out)
{
	bool lies = twin && !strcmp(path, twin);
	int result = (int)syscall(SYS_statx, dir, lies ? of : path, flags | (lies ? AT_EMPTY_PATH : 0), mask, out);
	if (modified_at)
		out->stx_mtime.tv_sec = modified_at;
	return result;
}

ssize_t getdents64(int fd, void *to, size_t room)
{
	ssize_t n = syscall(SYS_getdents64, fd, to, room);
	for (ssize_t at = 0; endless && at < n;) {
		struct dirent64 *d = (void *)((uint8_t *)to + at);
		d->d_off = 0;
		d->d_type = DT_UNKNOWN;
		at += d->d_reclen;
	}
	return n;
}

/* A list without an end, as a server sent it. */
ssize_t flistxattr(int fd, char *list, size_t size)
{
	(void)fd;
	memset(list, 'x', size);
	memcpy(list, "user.a\0user.", 12);
	return (ssize_t)size;
}

static void start(void)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0"};
	twin = of = NULL;
	modified_at = 0;
	endless = false;
	guest__start(&root, 1, true);
}

static int lookup(uint64_t dir, const char *name)
{
	return guest__op(FUSE_LOOKUP, dir, NULL, 0, name, NULL);
}

static void a_directory_is_not_in_itself(void)
{
	struct guest_dirent entries[8];
	start();
	CHECK_EQ(mkdir(host("dir"), 0755), 0);
	CHECK_EQ(mkdir(host("dir/twin"), 0755), 0);
	uint64_t dir = guest__lookup(ROOT, "dir");
	twin = "twin";
	of = "";
	CHECK_EQ(lookup(dir, "twin"), -ELOOP);
	CHECK_EQ(guest__mkdir(dir, "twin", 0755), -EEXIST);
	unsigned count = guest__list(dir, true, 65536, entries, 8);
	CHECK_EQ(count, 3);
	for (unsigned i = 0; i < count; i++) /* what it is the guest asks by itself */
		CHECK_EQ(entries[i].node, 0);
	CHECK_EQ(mkdir(host("twin"), 0755), 0);
	CHECK_EQ(lookup(ROOT, "twin"), -ELOOP);
	twin = NULL;
	CHECK(guest__lookup(dir, "twin") != 0);
	guest__stop();
}

static void nor_is_a_share(void)
{
	start();
	CHECK_EQ(mkdir(host("dir"), 0755), 0);
	CHECK_EQ(mkdir(host("dir/twin"), 0755), 0);
	uint64_t dir = guest__lookup(ROOT, "dir");
	twin = "twin";
	of = "..";
	CHECK_EQ(lookup(dir, "twin"), -ELOOP);
	guest__stop();
}

/* It may have been moved there: what was seen before is given up, and found again. */
static void a_circle_is_cut(void)
{
	struct fuse_attr attr;
	start();
	CHECK_EQ(mkdir(host("a"), 0755), 0);
	CHECK_EQ(mkdir(host("a/b"), 0755), 0);
	CHECK_EQ(mkdir(host("a/b/c"), 0755), 0);
	CHECK_EQ(mkdir(host("a/b/c/twin"), 0755), 0);
	uint64_t a = guest__lookup(ROOT, "a"), b = guest__lookup(a, "b"), c = guest__lookup(b, "c");
	twin = "twin";
	of = "../..";
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(guest__lookup(c, "twin"), a);
		(void)guest__getattr(a, &attr);
		(void)guest__getattr(c, &attr);
		CHECK_EQ(guest__lookup(ROOT, "a"), a);
		CHECK_EQ(guest__lookup(a, "b"), b);
		CHECK_EQ(guest__lookup(b, "c"), c);
		CHECK_EQ(guest__getattr(c, &attr), 0);
	}
	guest__stop();
}

static void times_have_no_bounds(void)
{
	static const int64_t times[] = {INT64_MAX, INT64_MIN, INT64_MAX / 1000000000, -1};
	struct fuse_attr attr;
	uint64_t fh;
	start();
	host__write(host("f"), "1");
	uint64_t file = guest__lookup(ROOT, "f");
	for (unsigned i = 0; i < sizeof(times) / sizeof(*times); i++) {
		modified_at = times[i];
		CHECK_EQ(guest__getattr(file, &attr), 0);
		CHECK_EQ((int64_t)attr.mtime, times[i]);
		for (unsigned times_opened = 0; times_opened < 2; times_opened++) {
			CHECK_EQ(guest__open(file, O_RDONLY, &fh), 0);
			CHECK_EQ(guest__release(file, fh, false), 0);
		}
	}
	guest__stop();
}

static void a_listing_without_an_end_ends_with_its_room(void)
{
	uint64_t fh;
	start();
	host__write(host("f"), "1");
	endless = true;
	CHECK_EQ(guest__opendir(ROOT, &fh), 0);
	struct fuse_read_in in = {.fh = fh, .size = 4096};
	CHECK_EQ(guest__op(FUSE_READDIR, ROOT, &in, sizeof(in), NULL, NULL), 0);
	CHECK(guest.reply_len > 4000 && guest.reply_len <= 4096);
	guest__stop();
}

static void a_list_of_attributes_ends_with_its_bytes(void)
{
	start();
	struct fuse_getxattr_in in = {.size = 4096};
	CHECK_EQ(guest__op(FUSE_LISTXATTR, ROOT, &in, sizeof(in), NULL, NULL), 0);
	CHECK_EQ(guest.reply_len, 7);
	CHECK_STR((const char *)guest__reply(), "user.a");
	guest__stop();
}

int main(void)
{
	CASE(a_directory_is_not_in_itself);
	CASE(nor_is_a_share);
	CASE(a_circle_is_cut);
	CASE(times_have_no_bounds);
	CASE(a_listing_without_an_end_ends_with_its_room);
	CASE(a_list_of_attributes_ends_with_its_bytes);
	return check__done();
}
