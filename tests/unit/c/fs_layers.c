/* virtio-fs: the layers of a guest's overlay: the upper, in which it makes whiteouts and no other device, and the
 * lower. */
#include "fs_guest.h"

#include <sys/mount.h>

#define ROOT FUSE_ROOT_ID

enum { WHITEOUT = 4 }; /* of rename2() */

static void start(bool whiteouts)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0", .whiteouts = whiteouts};
	guest__start(&root, 1, true);
	host__write(host("file"), "content");
}

static bool is_whiteout(const char *path)
{
	struct stat st = host__stat(path);
	return S_ISCHR(st.st_mode) && st.st_rdev == 0 && !(st.st_mode & 07777);
}

static void whiteouts_are_made_linked_and_removed(void)
{
	start(true);
	CHECK_EQ(guest__mknod(ROOT, "gone", S_IFCHR, 0), 0);
	CHECK(is_whiteout(host("gone")));
	uint64_t node = guest__lookup(ROOT, "gone");
	CHECK_EQ(guest__entry()->attr.mode & S_IFMT, S_IFCHR);
	CHECK_EQ(guest__entry()->attr.rdev, 0);
	CHECK_EQ(guest__link(node, ROOT, "too"), 0);
	CHECK(is_whiteout(host("too")));
	CHECK_EQ(guest__rename(ROOT, "file", ROOT, "too", 2), 0); /* exchanged */
	CHECK(is_whiteout(host("file")));
	CHECK_STR(host__read(host("too")), "content");
	CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, "file", NULL), 0);
	uint64_t fh;
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), -ENXIO);
	guest__stop();
}

static void a_rename_leaves_one_behind(void)
{
	start(true);
	uint64_t node = guest__lookup(ROOT, "file"), fh;
	CHECK_EQ(guest__rename(ROOT, "file", ROOT, "moved", WHITEOUT), 0);
	CHECK(is_whiteout(host("file")));
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), 0); /* the node is the file's, wherever that is */
	CHECK_EQ(guest__read(node, fh, 0, 100), 7);
	CHECK(guest__lookup(ROOT, "file") != node);
	CHECK_EQ(guest__rename(ROOT, "moved", ROOT, "file", WHITEOUT | 2), -EINVAL);
	guest__stop();
}

static void other_devices_are_refused(void)
{
	start(true);
	CHECK_EQ(guest__mknod(ROOT, "null", S_IFCHR | 0666, 1 << 8 | 3), -EPERM);
	CHECK_EQ(guest__mknod(ROOT, "disk", S_IFBLK | 0666, 0), -EPERM);
	CHECK_EQ(guest__mknod(ROOT, "disk", S_IFBLK | 0666, 8 << 8), -EPERM);
	CHECK_EQ(access(host("null"), F_OK) & access(host("disk"), F_OK), -1);
	guest__stop();
}

static void no_other_share_has_them(void)
{
	start(false);
	CHECK_EQ(guest__mknod(ROOT, "gone", S_IFCHR, 0), -EPERM);
	CHECK_EQ(guest__rename(ROOT, "file", ROOT, "moved", WHITEOUT), -EINVAL);
	CHECK_STR(host__read(host("file")), "content");
	CHECK_EQ(access(host("gone"), F_OK) & access(host("moved"), F_OK), -1);
	guest__stop();
}

static void the_overlays_own_directory_can_be_worked_in_without_being_root(void)
{
	start(true);
	CHECK_EQ(guest__mkdir(ROOT, "work", 0), 0);
	CHECK_EQ(host__stat(host("work")).st_mode & 0777, 0700);
	uint64_t node = guest__lookup(ROOT, "work");
	CHECK_EQ(guest__chmod(node, 0), 0);
	CHECK_EQ(host__stat(host("work")).st_mode & 0777, 0700);
	CHECK_EQ(guest__chmod(node, 0500), 0);
	CHECK_EQ(host__stat(host("work")).st_mode & 0777, 0500);
	guest__stop();
	start(false);
	CHECK_EQ(guest__mkdir(ROOT, "work", 0), 0);
	CHECK_EQ(host__stat(host("work")).st_mode & 0777, 0);
	guest__stop();
}

static void a_mount_below_a_flat_share_is_part_of_it(void)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0", .read_only = true, .flat = true};
	guest__start(&root, 1, true);
	CHECK_EQ(mkdir(host("a"), 0755), 0);
	CHECK_EQ(mkdir(host("b"), 0755), 0);
	if (mount("none", host("b"), "tmpfs", 0, NULL)) {
		guest__stop();
		SKIP("mounting is not permitted here");
	}
	host__write(host("b/f"), "there");
	uint64_t b = guest__lookup(ROOT, "b"), fh;
	bool announced = guest__entry()->attr.flags & FUSE_ATTR_SUBMOUNT;
	uint64_t f = guest__lookup(b, "f");
	int err = guest__open(f, O_RDONLY, &fh);
	umount2(host("b"), MNT_DETACH);
	CHECK(!announced);
	CHECK_EQ(err, 0);
	guest__stop();
}

int main(void)
{
	CASE(whiteouts_are_made_linked_and_removed);
	CASE(a_rename_leaves_one_behind);
	CASE(other_devices_are_refused);
	CASE(no_other_share_has_them);
	CASE(the_overlays_own_directory_can_be_worked_in_without_being_root);
	CASE(a_mount_below_a_flat_share_is_part_of_it);
	return check__done();
}
