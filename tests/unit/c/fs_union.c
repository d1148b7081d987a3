/* virtio-fs: a shared directory with a layer that takes what the guest changes: to the guest it is as one directory. */
#include "fs_guest.h"

#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#define ROOT FUSE_ROOT_ID

enum { NOREPLACE = 1, EXCHANGE = 2, WHITEOUT = 4 }; /* of rename2() */

static void start_as(enum fs_ownership ownership)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0", .layered = true, .ownership = ownership};
	guest__start(&root, 1, true);
	host__write(host("file"), "content");
	CHECK_EQ(mkdir(host("dir"), 0755), 0);
	host__write(host("dir/a"), "a");
	host__write(host("dir/b"), "b");
}

static void start(void)
{
	start_as(FS_OWNER_ROOT);
}

static bool is_there(const char *path)
{
	struct stat st;
	return !lstat(path, &st);
}

static bool is_whiteout(const char *path)
{
	struct stat st;
	return !lstat(path, &st) && S_ISCHR(st.st_mode) && st.st_rdev == 0;
}

/* What the guest reads in the file, in a static buffer. */
static const char *seen(uint64_t dir, const char *name)
{
	static char text[4][256];
	static unsigned next;
	char *to = text[next++ % 4];
	uint64_t node = guest__lookup(dir, name), fh;
	CHECK(node != 0);
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), 0);
	long n = guest__read(node, fh, 0, 255);
	CHECK(n >= 0);
	memcpy(to, guest__reply(), (size_t)n);
	to[n] = 0;
	CHECK_EQ(guest__release(node, fh, false), 0);
	return to;
}

static void write_at(uint64_t node, uint64_t offset, const char *text)
{
	uint64_t fh;
	CHECK_EQ(guest__open(node, O_WRONLY, &fh), 0);
	CHECK_EQ(guest__write(node, fh, offset, text, (uint32_t)strlen(text), 0), (long)strlen(text));
	CHECK_EQ(guest__release(node, fh, false), 0);
}

static void put(uint64_t dir, const char *name, const char *text)
{
	uint64_t node, fh;
	CHECK_EQ(guest__create(dir, name, O_WRONLY | O_TRUNC, 0644, &node, &fh), 0);
	CHECK_EQ(guest__write(node, fh, 0, text, (uint32_t)strlen(text), 0), (long)strlen(text));
	CHECK_EQ(guest__release(node, fh, false), 0);
}

static int unlink_at(uint64_t dir, const char *name)
{
	return guest__op(FUSE_UNLINK, dir, NULL, 0, name, NULL);
}

static int rmdir_at(uint64_t dir, const char *name)
{
	return guest__op(FUSE_RMDIR, dir, NULL, 0, name, NULL);
}

static struct fuse_attr attr_of(uint64_t node)
{
	struct fuse_attr attr;
	CHECK_EQ(guest__getattr(node, &attr), 0);
	return attr;
}

/* Names without "." and "..", sorted, with a space behind each. */
static const char *names_in(uint64_t node, bool plus)
{
	static struct guest_dirent found[64];
	static char text[1024];
	unsigned count = guest__list(node, plus, 4096, found, 64);
	text[0] = 0;
	for (;;) {
		const char *least = NULL;
		for (unsigned i = 0; i < count; i++)
			if (strcmp(found[i].name, ".") && strcmp(found[i].name, "..") && found[i].name[0] &&
			    (!least || strcmp(found[i].name, least) < 0))
				least = found[i].name;
		if (!least)
			return text;
		strcat(strcat(text, least), " ");
		for (unsigned i = 0; i < count; i++)
			if (found[i].name != least && !strcmp(found[i].name, least))
				CHECK(!"each name once");
		for (unsigned i = 0; i < count; i++)
			if (found[i].name == least)
				found[i].name[0] = 0;
	}
}

/* --- what is changed --- */

static void what_is_changed_is_changed_in_the_layer_alone(void)
{
	start();
	uint64_t dir = guest__lookup(ROOT, "dir"), a = guest__lookup(dir, "a");
	struct fuse_attr before = attr_of(a), dir_before = attr_of(dir);
	write_at(a, 1, "bc");
	CHECK_STR(seen(dir, "a"), "abc");
	CHECK_STR(host__read(host("dir/a")), "a");
	CHECK_STR(host__read(layer("dir/a")), "abc");
	CHECK(!is_there(layer("dir/b")));
	CHECK_EQ(guest__lookup(dir, "a"), a);
	CHECK_EQ(attr_of(a).ino, before.ino);
	CHECK_EQ(attr_of(dir).ino, dir_before.ino);
	CHECK_EQ(attr_of(dir).mtime, dir_before.mtime);
	CHECK_EQ(attr_of(dir).mtimensec, dir_before.mtimensec);
	CHECK_EQ(guest__chmod(guest__lookup(dir, "b"), 0600), 0);
	CHECK_EQ(host__stat(host("dir/b")).st_mode & 07777, 0644);
	CHECK_EQ(host__stat(layer("dir/b")).st_mode & 07777, 0600);
	CHECK_EQ(guest__truncate(guest__lookup(ROOT, "file"), 3), 0);
	CHECK_STR(seen(ROOT, "file"), "con");
	CHECK_STR(host__read(host("file")), "content");
	put(ROOT, "file", "other");
	CHECK_STR(seen(ROOT, "file"), "other");
	guest__stop();
}

static void a_number_stays_when_the_guest_has_forgotten(void)
{
	start();
	uint64_t file = guest__lookup(ROOT, "file"), ino = attr_of(file).ino;
	write_at(file, 0, "C");
	guest__forget(file, 1);
	file = guest__lookup(ROOT, "file");
	CHECK_EQ(attr_of(file).ino, ino);
	CHECK_EQ(ino, host__stat(host("file")).st_ino);
	CHECK_EQ(attr_of(ROOT).ino, host__stat(guest.host).st_ino);
	put(ROOT, "new", "new");
	CHECK(attr_of(guest__lookup(ROOT, "new")).ino != ino);
	struct guest_dirent found[16];
	unsigned count = guest__list(ROOT, false, 4096, found, 16), same = 0;
	for (unsigned i = 0; i < count; i++)
		if (found[i].name[0] != '.')
			same += found[i].ino == attr_of(guest__lookup(ROOT, found[i].name)).ino;
	CHECK_EQ(same, 3);
	guest__stop();
}

static void a_number_that_the_host_gives_away_again_is_no_copys(void)
{
	start();
	uint64_t file = guest__lookup(ROOT, "file"), ino = attr_of(file).ino;
	write_at(file, 0, "C");
	CHECK_EQ(unlink(host("file")), 0);
	bool again = false;
	for (unsigned i = 0; i < 64; i++) {
		char name[8];
		snprintf(name, sizeof(name), "n%u", i);
		host__write(host("%s", name), name);
		again = again || host__stat(host("%s", name)).st_ino == ino;
		CHECK(attr_of(guest__lookup(ROOT, name)).ino != ino);
	}
	guest__stop();
	if (!again)
		SKIP("this file system gives no number away again so soon");
}

static void what_is_removed_is_hidden(void)
{
	start();
	uint64_t dir = guest__lookup(ROOT, "dir");
	put(dir, "c", "c");
	CHECK_STR(names_in(dir, false), "a b c ");
	CHECK_STR(names_in(dir, true), "a b c ");
	CHECK_EQ(rmdir_at(ROOT, "dir"), -ENOTEMPTY);
	CHECK_EQ(unlink_at(dir, "a"), 0);
	CHECK_EQ(unlink_at(dir, "a"), -ENOENT);
	CHECK_EQ(rmdir_at(dir, "b"), -ENOTDIR);
	CHECK_EQ(unlink_at(ROOT, "dir"), -EISDIR);
	CHECK(is_whiteout(layer("dir/a")));
	CHECK_EQ(guest__lookup(dir, "a"), 0);
	CHECK_STR(names_in(dir, false), "b c ");
	CHECK_EQ(unlink_at(dir, "c"), 0);
	CHECK(!is_there(layer("dir/c")));
	write_at(guest__lookup(dir, "b"), 0, "B");
	CHECK_EQ(unlink_at(dir, "b"), 0);
	CHECK(is_whiteout(layer("dir/b")));
	CHECK_STR(names_in(dir, true), "");
	CHECK_EQ(rmdir_at(ROOT, "dir"), 0);
	CHECK(is_whiteout(layer("dir")));
	CHECK_EQ(guest__lookup(ROOT, "dir"), 0);
	CHECK_EQ(guest__mkdir(ROOT, "dir", 0755), 0); /* nothing of the old one is in it */
	dir = guest__lookup(ROOT, "dir");
	CHECK_STR(names_in(dir, false), "");
	CHECK_EQ(guest__lookup(dir, "a"), 0);
	char value[8] = "";
	CHECK_EQ(getxattr(layer("dir"), "user.overlay.opaque", value, sizeof(value)), 1);
	put(dir, "a", "again");
	CHECK_STR(seen(dir, "a"), "again");
	CHECK_STR(host__read(host("dir/a")), "a");
	CHECK_EQ(unlink_at(ROOT, "file"), 0);
	put(ROOT, "file", "again");
	CHECK_STR(seen(ROOT, "file"), "again");
	CHECK_EQ(unlink_at(ROOT, "file"), 0);
	CHECK_EQ(guest__symlink(ROOT, "file", "dir"), 0);
	CHECK_EQ(unlink_at(ROOT, "file"), 0);
	CHECK_EQ(guest__mkdir(ROOT, "file", 0755), 0);
	CHECK_EQ(rmdir_at(ROOT, "file"), 0);
	CHECK(is_whiteout(layer("file")));
	guest__stop();
}

static void nothing_is_made_where_something_is_seen(void)
{
	start();
	uint64_t node, fh, file = guest__lookup(ROOT, "file");
	CHECK_EQ(guest__create(ROOT, "file", O_WRONLY | O_EXCL, 0644, &node, &fh), -EEXIST);
	CHECK_EQ(guest__mkdir(ROOT, "dir", 0755), -EEXIST);
	CHECK_EQ(guest__mkdir(ROOT, "file", 0755), -EEXIST);
	CHECK_EQ(guest__symlink(ROOT, "file", "x"), -EEXIST);
	CHECK_EQ(guest__mknod(ROOT, "file", S_IFIFO | 0644, 0), -EEXIST);
	CHECK_EQ(guest__link(file, guest__lookup(ROOT, "dir"), "a"), -EEXIST);
	CHECK_EQ(guest__rename(ROOT, "file", guest__lookup(ROOT, "dir"), "a", NOREPLACE), -EEXIST);
	CHECK_EQ(guest__rename(ROOT, "none", ROOT, "file", 0), -ENOENT);
	CHECK_EQ(guest__rename(ROOT, "file", ROOT, "none", EXCHANGE), -ENOENT);
	CHECK_EQ(guest__rename(ROOT, "file", ROOT, "none", WHITEOUT), -EINVAL);
	CHECK_EQ(guest__rename(ROOT, "file", ROOT, "dir", 0), -EISDIR);
	guest__stop();
}

static void whiteouts_and_marks_are_not_the_guests_to_make(void)
{
	start();
	CHECK_EQ(guest__mknod(ROOT, "gone", S_IFCHR, 0), -EPERM);
	CHECK_EQ(guest__mknod(ROOT, "null", S_IFCHR | 0666, 1 << 8 | 3), -EPERM);
	CHECK_EQ(guest__mknod(ROOT, "disk", S_IFBLK | 0666, 8 << 8), -EPERM);
	uint64_t file = guest__lookup(ROOT, "file");
	struct fuse_setxattr_in set = {.size = 1};
	char body[64];
	for (const char *const *name =
		     (const char *const[]){"user.overlay.opaque", "user.overlay.capsa", "trusted.overlay.opaque", NULL};
	     *name; name++) {
		memcpy(body, &set, FUSE_COMPAT_SETXATTR_IN_SIZE);
		strcpy(body + FUSE_COMPAT_SETXATTR_IN_SIZE, *name);
		size_t len = FUSE_COMPAT_SETXATTR_IN_SIZE + strlen(*name) + 1;
		body[len] = 'y';
		CHECK_EQ(guest__op(FUSE_SETXATTR, file, body, len + 1, NULL, NULL), -EOPNOTSUPP);
	}
	write_at(file, 0, "C");
	CHECK(getxattr(layer("file"), "user.overlay.capsa", body, sizeof(body)) > 0);
	struct fuse_getxattr_in list = {.size = 256};
	CHECK_EQ(guest__op(FUSE_LISTXATTR, file, &list, sizeof(list), NULL, NULL), 0);
	CHECK_EQ(guest.reply_len, 0);
	guest__stop();
}

static void attributes_and_holes_come_along(void)
{
	start();
	CHECK_EQ(setxattr(host("file"), "user.note", "n", 1, 0), 0);
	int fd = open(host("sparse"), O_RDWR | O_CREAT, 0644);
	CHECK(fd >= 0);
	CHECK_EQ(pwrite(fd, "x", 1, 64 << 20), 1);
	close(fd);
	write_at(guest__lookup(ROOT, "sparse"), 0, "y");
	struct stat st = host__stat(layer("sparse"));
	CHECK_EQ(st.st_size, (64 << 20) + 1);
	CHECK(st.st_blocks < 2048);
	write_at(guest__lookup(ROOT, "file"), 0, "C");
	char value[8];
	CHECK_EQ(getxattr(layer("file"), "user.note", value, sizeof(value)), 1);
	CHECK_EQ(host__stat(layer("file")).st_mtim.tv_sec >= host__stat(host("file")).st_mtim.tv_sec, 1);
	CHECK_EQ(symlink("file", host("link")), 0);
	CHECK_EQ(mkfifo(host("fifo"), 0644), 0);
	CHECK_EQ(guest__rename(ROOT, "link", ROOT, "moved", 0), 0);
	CHECK_EQ(guest__chmod(guest__lookup(ROOT, "fifo"), 0600), 0);
	CHECK_EQ(host__stat(layer("fifo")).st_mode, S_IFIFO | 0600);
	CHECK(S_ISLNK(host__stat(layer("moved")).st_mode));
	CHECK(is_whiteout(layer("link")));
	guest__stop();
}

/* --- renames --- */

static void files_are_renamed(void)
{
	start();
	uint64_t dir = guest__lookup(ROOT, "dir"), file = guest__lookup(ROOT, "file");
	uint64_t ino = attr_of(file).ino;
	CHECK_EQ(guest__rename(ROOT, "file", dir, "file", 0), 0);
	CHECK(is_whiteout(layer("file")));
	CHECK_EQ(guest__lookup(ROOT, "file"), 0);
	CHECK_EQ(guest__lookup(dir, "file"), file);
	CHECK_EQ(attr_of(file).ino, ino);
	CHECK_EQ(guest__rename(dir, "file", dir, "a", 0), 0);
	CHECK(!is_there(layer("dir/file")));
	CHECK_STR(seen(dir, "a"), "content");
	CHECK_EQ(guest__rename(dir, "a", dir, "b", EXCHANGE), 0);
	CHECK_STR(seen(dir, "b"), "content");
	CHECK_STR(seen(dir, "a"), "b");
	CHECK_EQ(guest__rename(dir, "b", ROOT, "file", 0), 0); /* onto the whiteout */
	CHECK_STR(seen(ROOT, "file"), "content");
	CHECK_EQ(guest__lookup(dir, "b"), 0);
	CHECK(is_whiteout(layer("dir/b")));
	guest__stop();
}

static void directories_of_the_guest_are_renamed(void)
{
	start();
	CHECK_EQ(guest__mkdir(ROOT, "new", 0755), 0);
	uint64_t new = guest__lookup(ROOT, "new"), dir = guest__lookup(ROOT, "dir");
	put(new, "x", "x");
	CHECK_EQ(guest__rename(ROOT, "new", ROOT, "dir", 0), -ENOTEMPTY);
	CHECK_EQ(guest__rename(ROOT, "new", ROOT, "file", 0), -ENOTDIR);
	CHECK_EQ(unlink_at(dir, "a"), 0);
	CHECK_EQ(unlink_at(dir, "b"), 0);
	CHECK_EQ(guest__rename(ROOT, "new", ROOT, "dir", 0), 0);
	CHECK_EQ(guest__lookup(ROOT, "dir"), new);
	CHECK_STR(names_in(new, false), "x ");
	CHECK_EQ(guest__lookup(ROOT, "new"), 0);
	CHECK_EQ(unlink_at(ROOT, "file"), 0);
	CHECK_EQ(guest__rename(ROOT, "dir", ROOT, "file", 0), 0); /* onto a whiteout */
	CHECK(is_whiteout(layer("dir")));
	CHECK_EQ(guest__lookup(ROOT, "dir"), 0);
	CHECK_STR(seen(guest__lookup(ROOT, "file"), "x"), "x");
	CHECK_EQ(guest__rename(ROOT, "file", ROOT, "free", 0), 0);
	CHECK(is_whiteout(layer("file")));
	CHECK_STR(names_in(ROOT, false), "free ");
	guest__stop();
}

static void directories_of_the_host_are_renamed_with_all_in_them(void)
{
	start();
	CHECK_EQ(mkdir(host("dir/sub"), 0755), 0);
	host__write(host("dir/sub/deep"), "deep");
	uint64_t dir = guest__lookup(ROOT, "dir"), ino = attr_of(dir).ino;
	uint64_t a = guest__lookup(dir, "a"), fh;
	CHECK_EQ(guest__open(a, O_RDONLY, &fh), 0);
	CHECK_EQ(guest__rename(ROOT, "dir", ROOT, "new", 0), 0);
	CHECK_EQ(guest__lookup(ROOT, "dir"), 0);
	CHECK_EQ(guest__lookup(ROOT, "new"), dir);
	CHECK_EQ(attr_of(dir).ino, ino);
	CHECK(is_whiteout(layer("dir")));
	CHECK(!is_there(layer("new/a")));
	CHECK_STR(names_in(dir, true), "a b sub ");
	CHECK_EQ(guest__lookup(dir, "a"), a);
	CHECK_EQ(guest__read(a, fh, 0, 10), 1);
	write_at(a, 0, "A");
	CHECK_STR(host__read(layer("new/a")), "A");
	CHECK_EQ(unlink_at(dir, "b"), 0);
	uint64_t sub = guest__lookup(dir, "sub");
	CHECK_EQ(guest__rename(dir, "sub", ROOT, "dir", 0), 0); /* onto the whiteout */
	CHECK_STR(seen(sub, "deep"), "deep");
	CHECK_STR(names_in(dir, true), "a ");
	CHECK_EQ(guest__rename(ROOT, "new", ROOT, "newer", 0), 0);
	CHECK_EQ(guest__rename(ROOT, "newer", ROOT, "dir", EXCHANGE), 0);
	/* when the guest has forgotten all of it */
	guest__forget(sub, 100);
	guest__forget(a, 100);
	guest__forget(dir, 100);
	dir = guest__lookup(ROOT, "dir");
	CHECK_EQ(attr_of(dir).ino, ino);
	CHECK_STR(names_in(dir, true), "a ");
	CHECK_STR(seen(dir, "a"), "A");
	sub = guest__lookup(ROOT, "newer");
	CHECK_STR(seen(sub, "deep"), "deep");
	/* what the host changes in it where it has it */
	host__write(host("dir/sub/later"), "later");
	CHECK_STR(seen(sub, "later"), "later");
	CHECK_EQ(guest__rename(ROOT, "dir", sub, "dir", 0), 0);
	CHECK_STR(seen(guest__lookup(sub, "dir"), "a"), "A");
	guest__stop();
}

static void a_renamed_directory_that_is_applied_goes_on(void)
{
	start();
	uint64_t dir = guest__lookup(ROOT, "dir");
	CHECK_EQ(guest__rename(ROOT, "dir", ROOT, "new", 0), 0);
	CHECK_EQ(rename(host("dir"), host("new")), 0);
	CHECK_EQ(guest__lookup(ROOT, "new"), dir);
	CHECK_STR(names_in(dir, true), "a b ");
	CHECK_STR(seen(dir, "a"), "a");
	guest__forget(dir, 100);
	dir = guest__lookup(ROOT, "new");
	CHECK_STR(seen(dir, "b"), "b");
	/* another one in the place that it came from is not it */
	CHECK_EQ(mkdir(host("dir"), 0755), 0);
	host__write(host("dir/other"), "other");
	CHECK_STR(names_in(guest__lookup(ROOT, "new"), true), "a b ");
	guest__stop();
}

static void an_applied_directory_is_no_more_where_it_was(void)
{
	start();
	CHECK_EQ(mkdir(host("dir/sub"), 0755), 0);
	host__write(host("dir/sub/deep"), "deep");
	uint64_t dir = guest__lookup(ROOT, "dir"), sub = guest__lookup(dir, "sub");
	CHECK_EQ(guest__rename(ROOT, "dir", ROOT, "new", 0), 0);
	put(sub, "own", "own");
	/* what an apply does, and then for what is new in the old place */
	CHECK_EQ(mkdir(host("new"), 0755), 0);
	CHECK_EQ(mkdir(host("new/sub"), 0755), 0);
	host__write(host("new/a"), "a");
	host__write(host("new/sub/deep"), "deep");
	CHECK_EQ(removexattr(layer("new"), "user.overlay.redirect"), 0);
	CHECK_EQ(unlink(host("dir/a")), 0);
	host__write(host("dir/b"), "another");
	host__write(host("dir/sub/deep"), "another");
	host__write(host("dir/sub/other"), "other");
	/* whoever is in it has not come by its name */
	CHECK_STR(names_in(sub, false), "deep own ");
	CHECK_STR(seen(sub, "deep"), "deep");
	CHECK_STR(names_in(dir, true), "a sub ");
	CHECK_EQ(guest__lookup(ROOT, "new"), dir);
	CHECK_STR(seen(dir, "a"), "a");
	CHECK_EQ(guest__rename(ROOT, "new", ROOT, "newer", 0), 0);
	CHECK_STR(names_in(guest__lookup(ROOT, "newer"), true), "a sub ");
	guest__stop();
}

static void a_mark_of_a_strangers_leads_nowhere(void)
{
	static const char *const marks[] = {"1-1/dir", "x", "/", "1-1/../..", "1-1/dir/", "1-1//", "1-1/file/x", ""};
	start();
	for (unsigned i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
		CHECK_EQ(mkdir(layer("m%u", i), 0755), 0);
		CHECK_EQ(setxattr(layer("m%u", i), "user.overlay.redirect", marks[i], strlen(marks[i]), 0), 0);
		char name[8];
		snprintf(name, sizeof(name), "m%u", i);
		uint64_t node = guest__lookup(ROOT, name);
		CHECK_STR(names_in(node, true), "");
		guest__forget(node, 100);
	}
	guest__stop();
}

/* --- open files --- */

static void what_is_open_reads_what_is_written_later(void)
{
	start();
	uint64_t file = guest__lookup(ROOT, "file"), early, late, dir;
	CHECK_EQ(guest__open(file, O_RDONLY, &early), 0);
	CHECK_EQ(guest__opendir(ROOT, &dir), 0);
	CHECK_EQ(guest__open(file, O_RDWR, &late), 0);
	CHECK_EQ(guest__write(file, late, 0, "CONTENT", 7, 0), 7);
	CHECK_EQ(guest__read(file, early, 0, 100), 7);
	CHECK(!memcmp(guest__reply(), "CONTENT", 7));
	CHECK_EQ(guest__write(file, early, 0, "x", 1, 0), -EBADF);
	struct fuse_fallocate_in allocate = {.fh = early, .length = 4096};
	CHECK_EQ(guest__op(FUSE_FALLOCATE, file, &allocate, sizeof(allocate), NULL, NULL), -EBADF);
	CHECK_EQ(unlink_at(ROOT, "file"), 0);
	CHECK_EQ(guest__read(file, early, 0, 100), 7);
	CHECK_EQ(attr_of(file).nlink, 0);
	CHECK_STR(host__read(host("file")), "content");
	guest__stop();
}

static void an_open_file_that_has_lost_its_name_can_be_changed(void)
{
	start();
	uint64_t file = guest__lookup(ROOT, "file"), fh;
	CHECK_EQ(guest__open(file, O_RDONLY, &fh), 0);
	CHECK_EQ(unlink_at(ROOT, "file"), 0);
	CHECK_EQ(guest__chmod(file, 0600), 0);
	CHECK_EQ(attr_of(file).mode & 0777, 0600);
	CHECK_EQ(guest__read(file, fh, 0, 100), 7);
	CHECK_EQ(host__stat(host("file")).st_mode & 0777, 0644);
	CHECK(is_whiteout(layer("file")));
	guest__stop();
}

/* --- the host's changes --- */

static void what_the_host_changes_is_seen_where_the_guest_has_not(void)
{
	start();
	uint64_t dir = guest__lookup(ROOT, "dir"), file = guest__lookup(ROOT, "file"), fh, node;
	CHECK_EQ(guest__open(file, O_RDONLY, &fh), 0);
	host__write(host("saved"), "saved");
	CHECK_EQ(rename(host("saved"), host("file")), 0);
	CHECK_EQ(guest__read(file, fh, 0, 100), 7); /* what was open */
	CHECK_STR(seen(ROOT, "file"), "saved");
	CHECK_EQ(unlink(host("dir/a")), 0);
	CHECK_EQ(guest__lookup(dir, "a"), 0);
	host__write(host("dir/later"), "later");
	CHECK_STR(names_in(dir, true), "b later ");
	put(dir, "mine", "mine");
	write_at(guest__lookup(dir, "b"), 0, "B");
	host__write(host("dir/latest"), "latest");
	CHECK_STR(names_in(dir, true), "b later latest mine ");
	CHECK_EQ(unlink(host("dir/b")), 0);
	CHECK_STR(seen(dir, "b"), "B");
	/* another directory of that name, as `git checkout` makes it */
	CHECK_EQ(rename(host("dir"), host("old")), 0);
	CHECK_EQ(mkdir(host("dir"), 0755), 0);
	host__write(host("dir/fresh"), "fresh");
	CHECK_EQ(guest__lookup(ROOT, "dir"), dir);
	CHECK_STR(names_in(dir, true), "b fresh mine ");
	CHECK_STR(seen(dir, "fresh"), "fresh");
	write_at(guest__lookup(dir, "fresh"), 0, "F");
	CHECK_STR(host__read(host("dir/fresh")), "fresh");
	/* and none of it at all */
	CHECK_EQ(unlink(host("dir/fresh")), 0);
	CHECK_EQ(rmdir(host("dir")), 0);
	CHECK_EQ(guest__lookup(ROOT, "dir"), dir);
	CHECK_STR(names_in(dir, true), "b fresh mine ");
	CHECK_EQ(guest__create(dir, "more", O_WRONLY, 0644, &node, &fh), 0);
	guest__stop();
}

static void a_stale_place_is_looked_for_again(void)
{
	start();
	uint64_t file = guest__lookup(ROOT, "file"), fh;
	host__write(host("saved"), "saved");
	CHECK_EQ(rename(host("saved"), host("file")), 0);
	CHECK_EQ(guest__open(file, O_WRONLY, &fh), -ESTALE); /* as in any share: the guest's kernel looks again */
	write_at(guest__lookup(ROOT, "file"), 0, "S");
	CHECK_STR(seen(ROOT, "file"), "Saved");
	CHECK_STR(host__read(host("file")), "saved");
	guest__stop();
}

static void an_applied_change_leaves_all_usable(void)
{
	start();
	uint64_t file = guest__lookup(ROOT, "file"), fh;
	CHECK_EQ(guest__open(file, O_RDWR, &fh), 0);
	CHECK_EQ(guest__write(file, fh, 0, "CONTENT", 7, 0), 7);
	host__write(host(".new"), "CONTENT");
	CHECK_EQ(rename(host(".new"), host("file")), 0);
	CHECK_EQ(guest__read(file, fh, 0, 100), 7);
	CHECK_EQ(guest__write(file, fh, 7, "!", 1, 0), 1);
	CHECK_STR(seen(ROOT, "file"), "CONTENT!");
	CHECK_EQ(guest__lookup(ROOT, "file"), file);
	guest__stop();
}

/* As whoever applies does: the entry of the layer, and what the share has there now. Only this counts as applied. */
static void settle(const char *name)
{
	struct stat own = host__stat(layer("%s", name)), its = {0};
	bool there = is_there(host("%s", name));
	char path[100];
	if (there)
		its = host__stat(host("%s", name));
	snprintf(path, sizeof(path), "%s/applied.new", guest.layer);
	FILE *f = fopen(path, "w");
	CHECK(f != NULL);
	for (const char *by = "elsewhere/x"; by; by = by == name ? NULL : name)
		fprintf(f, "nonsense%c%lu %lld%09ld %lu %lld%09ld %s%c", 0, own.st_ino, (long long)own.st_ctim.tv_sec,
			own.st_ctim.tv_nsec, its.st_ino, (long long)its.st_ctim.tv_sec, its.st_ctim.tv_nsec, by, 0);
	CHECK_EQ(fclose(f), 0);
	char list[100];
	snprintf(list, sizeof(list), "%s/applied", guest.layer);
	CHECK_EQ(rename(path, list), 0);
	usleep(60000); /* it is looked for no more often: nothing else tells that it was read */
}

static void what_was_applied_is_the_hosts_once_that_has_changed_it(void)
{
	start();
	uint64_t file = guest__lookup(ROOT, "file"), dir = guest__lookup(ROOT, "dir"), fh, writer;
	write_at(file, 0, "C");
	CHECK_EQ(guest__open(file, O_RDONLY, &fh), 0);
	host__write(host(".new"), "Content");
	CHECK_EQ(rename(host(".new"), host("file")), 0);
	settle("file");
	CHECK_EQ(guest__lookup(ROOT, "file"), file); /* the guest's own, with its number and times */
	CHECK_EQ(guest__open(file, O_RDWR, &writer), 0);
	host__write(host(".new"), "edited");
	CHECK_EQ(rename(host(".new"), host("file")), 0);
	CHECK_EQ(guest__lookup(ROOT, "file"), file); /* it may be about to write */
	CHECK_EQ(guest__release(file, writer, false), 0);
	CHECK_STR(seen(ROOT, "file"), "edited");
	CHECK(!is_there(layer("file")));
	CHECK_EQ(guest__read(file, fh, 0, 100), 7);
	CHECK(!memcmp(guest__reply(), "Content", 7));
	write_at(guest__lookup(ROOT, "file"), 0, "E"); /* a change again */
	CHECK_STR(host__read(layer("file")), "Edited");
	host__write(host("file"), "other");
	CHECK_STR(seen(ROOT, "file"), "Edited");
	/* what was removed */
	CHECK_EQ(unlink_at(dir, "a"), 0);
	CHECK_EQ(unlink(host("dir/a")), 0);
	settle("dir/a");
	CHECK_EQ(guest__lookup(dir, "a"), 0);
	host__write(host("dir/a"), "new");
	CHECK_STR(seen(dir, "a"), "new");
	/* not what is another thing than the share has at that path: nothing shows through here */
	CHECK_EQ(guest__mkdir(ROOT, "anew", 0755), 0);
	uint64_t anew = guest__lookup(ROOT, "anew");
	put(anew, "x", "x");
	CHECK_EQ(guest__rename(ROOT, "anew", ROOT, "shut", 0), 0);
	CHECK_EQ(mkdir(host("shut"), 0755), 0);
	host__write(host("shut/x"), "x");
	CHECK_EQ(setxattr(layer("shut"), "user.overlay.opaque", "y", 1, 0), 0);
	guest__forget(guest__lookup(anew, "x"), 100);
	guest__forget(anew, 100);
	settle("shut/x");
	CHECK_STR(seen(guest__lookup(ROOT, "shut"), "x"), "x");
	CHECK(is_there(layer("shut/x")));
	/* what the host removes */
	put(dir, "made", "made");
	host__write(host("dir/made"), "made");
	settle("dir/made");
	CHECK_STR(seen(dir, "made"), "made");
	CHECK_EQ(unlink(host("dir/made")), 0);
	CHECK_EQ(guest__lookup(dir, "made"), 0);
	guest__stop();
}

/* A file of the guest's in a directory of its own, applied: both have it. */
static void make_applied(const char *name)
{
	uint64_t dir;
	CHECK_EQ(guest__mkdir(ROOT, name, 0755), 0);
	dir = guest__lookup(ROOT, name);
	put(dir, "f", name);
	CHECK_EQ(mkdir(host("%s", name), 0755), 0);
	host__write(host("%s/f", name), name);
}

static void host_renews(const char *gone, const char *made)
{
	CHECK_EQ(unlink(host("%s/f", gone)), 0);
	CHECK_EQ(rmdir(host("%s", gone)), 0);
	CHECK_EQ(mkdir(host("%s", made), 0755), 0);
}

static void what_was_applied_by_another_name_is_the_guests(void)
{
	start();
	make_applied("d");
	settle("d/f");
	CHECK_EQ(guest__rename(ROOT, "d", ROOT, "e", 0), 0);
	host_renews("d", "e");
	CHECK_STR(seen(guest__lookup(ROOT, "e"), "f"), "d");
	CHECK_EQ(guest__rename(ROOT, "e", ROOT, "d", 0), 0);
	CHECK_EQ(rename(host("e"), host("d")), 0);
	CHECK_STR(seen(guest__lookup(ROOT, "d"), "f"), "d"); /* the host has removed what had the name before */
	/* nothing showed through when it was renamed */
	make_applied("gone");
	settle("gone/f");
	CHECK_EQ(unlink(host("gone/f")), 0);
	CHECK_EQ(rmdir(host("gone")), 0);
	CHECK_EQ(guest__rename(ROOT, "gone", ROOT, "back", 0), 0);
	CHECK_EQ(mkdir(host("back"), 0755), 0);
	CHECK_STR(seen(guest__lookup(ROOT, "back"), "f"), "gone");
	/* by that of a directory further up */
	CHECK_EQ(guest__mkdir(ROOT, "up", 0755), 0);
	uint64_t up = guest__lookup(ROOT, "up");
	CHECK_EQ(guest__mkdir(up, "in", 0755), 0);
	put(guest__lookup(up, "in"), "f", "in");
	CHECK_EQ(mkdir(host("up"), 0755), 0);
	CHECK_EQ(mkdir(host("up/in"), 0755), 0);
	host__write(host("up/in/f"), "in");
	settle("up/in/f");
	CHECK_EQ(guest__rename(ROOT, "up", ROOT, "over", 0), 0);
	CHECK_EQ(mkdir(host("over"), 0755), 0);
	host_renews("up/in", "over/in");
	CHECK_EQ(rmdir(host("up")), 0);
	CHECK_STR(seen(guest__lookup(guest__lookup(ROOT, "over"), "in"), "f"), "in");
	/* by that of one that has changed places with it */
	make_applied("one");
	make_applied("two");
	settle("one/f");
	CHECK_EQ(guest__rename(ROOT, "one", ROOT, "two", EXCHANGE), 0);
	host_renews("one", "one.new");
	host_renews("two", "two.new");
	CHECK_EQ(rename(host("two.new"), host("two")), 0);
	CHECK_STR(seen(guest__lookup(ROOT, "two"), "f"), "one");
	guest__stop();
}

/* --- links --- */

static void a_file_with_several_names_is_one_file(void)
{
	start();
	CHECK_EQ(link(host("file"), host("dir/same")), 0);
	CHECK_EQ(link(host("file"), host("third")), 0);
	uint64_t dir = guest__lookup(ROOT, "dir"), file = guest__lookup(ROOT, "file");
	CHECK_EQ(attr_of(file).nlink, 3);
	write_at(file, 0, "C");
	CHECK_EQ(attr_of(file).nlink, 3);
	CHECK_STR(seen(dir, "same"), "Content");
	CHECK_EQ(guest__lookup(dir, "same"), file);
	CHECK_EQ(attr_of(file).nlink, 3);
	write_at(guest__lookup(dir, "same"), 7, "!");
	CHECK_STR(seen(ROOT, "file"), "Content!");
	CHECK_EQ(unlink_at(ROOT, "file"), 0);
	CHECK_EQ(attr_of(file).nlink, 2);
	CHECK_STR(seen(dir, "same"), "Content!");
	guest__forget(file, 100);
	CHECK_STR(seen(ROOT, "third"), "Content!");
	CHECK_EQ(attr_of(guest__lookup(ROOT, "third")).nlink, 2);
	CHECK_EQ(unlink_at(ROOT, "third"), 0);
	CHECK_STR(seen(dir, "same"), "Content!");
	CHECK_STR(host__read(host("third")), "content");
	guest__stop();
}

static void of_two_names_either_may_go(void)
{
	start();
	uint64_t a, fh;
	CHECK_EQ(guest__create(ROOT, "a", O_WRONLY, 0644, &a, &fh), 0);
	CHECK_EQ(guest__write(a, fh, 0, "x", 1, 0), 1);
	CHECK_EQ(guest__release(a, fh, false), 0);
	CHECK_EQ(guest__link(a, ROOT, "b"), 0);
	CHECK_EQ(unlink_at(ROOT, "a"), 0);
	CHECK_STR(seen(ROOT, "b"), "x");
	uint64_t file = guest__lookup(ROOT, "file");
	CHECK_EQ(guest__link(file, ROOT, "f~"), 0);
	CHECK_EQ(attr_of(file).nlink, 2);
	put(ROOT, "n", "new");
	CHECK_EQ(guest__rename(ROOT, "n", ROOT, "file", 0), 0);
	CHECK_STR(seen(ROOT, "f~"), "content");
	CHECK_STR(seen(ROOT, "file"), "new");
	/* two names of one file */
	CHECK_EQ(guest__link(guest__lookup(ROOT, "f~"), ROOT, "g"), 0);
	CHECK_EQ(guest__rename(ROOT, "f~", ROOT, "g", 0), 0);
	CHECK_STR(seen(ROOT, "f~"), "content");
	/* a name of the host's goes */
	CHECK_EQ(link(host("dir/a"), host("dir/c")), 0);
	uint64_t dir = guest__lookup(ROOT, "dir"), c = guest__lookup(dir, "c");
	CHECK_EQ(unlink_at(dir, "c"), 0);
	CHECK_EQ(attr_of(c).nlink, 1);
	CHECK_STR(seen(dir, "a"), "a");
	guest__stop();
}

/* --- permissions --- */

/* Root passes by all permissions: here it does not, nor do threads made meanwhile. */
static void heed_permissions(bool heed)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	const uint32_t passing = 1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH;
	CHECK_EQ(syscall(SYS_capget, &head, caps), 0);
	caps[0].effective = heed ? caps[0].effective & ~passing : caps[0].effective | (caps[0].permitted & passing);
	CHECK_EQ(syscall(SYS_capset, &head, caps), 0);
}

static void a_file_without_permissions_is_its_creators_to_write(void)
{
	uint64_t node, fh, other;
	heed_permissions(true);
	start();
	heed_permissions(false);
	CHECK_EQ(guest__create(ROOT, "object", O_WRONLY | O_EXCL, 0444, &node, &fh), 0);
	CHECK_EQ(guest__write(node, fh, 0, "x", 1, 0), 1);
	CHECK_EQ(guest__open(node, O_WRONLY, &other), 0); /* the guest's root may */
	CHECK_EQ(host__stat(layer("object")).st_mode & 07777, 0444);
	CHECK_EQ(chmod(host("file"), 0444), 0);
	uint64_t file = guest__lookup(ROOT, "file");
	CHECK_EQ(guest__open(file, O_RDWR, &fh), 0);
	CHECK_EQ(guest__write(file, fh, 0, "C", 1, 0), 1);
	CHECK_EQ(host__stat(layer("file")).st_mode & 07777, 0444);
	CHECK_EQ(attr_of(file).mode & 07777, 0444);
	CHECK_EQ(chmod(host("dir"), 0555), 0); /* a file in such a directory */
	uint64_t dir = guest__lookup(ROOT, "dir");
	write_at(guest__lookup(dir, "a"), 0, "A");
	CHECK_EQ(host__stat(layer("dir")).st_mode & 07777, 0555);
	CHECK_EQ(guest__mkdir(ROOT, "shut", 0), 0);
	CHECK_EQ(guest__chmod(guest__lookup(ROOT, "shut"), 0), 0);
	CHECK_EQ(rmdir_at(ROOT, "shut"), 0);
	guest__stop();
}

static void owners_are_remembered_over_the_copy(void)
{
	start();
	uint64_t file = guest__lookup(ROOT, "file");
	CHECK_EQ(guest__chown(file, 7, 8), 0);
	write_at(file, 0, "C");
	CHECK_EQ(attr_of(file).uid, 7);
	CHECK_EQ(attr_of(file).gid, 8);
	guest__stop();
}

static void a_mount_below_is_part_of_it(void)
{
	start();
	if (mount("none", host("dir"), "tmpfs", 0, NULL)) {
		guest__stop();
		SKIP("mounting is not permitted here");
	}
	host__write(host("dir/f"), "there");
	uint64_t dir = guest__lookup(ROOT, "dir");
	bool announced = guest__entry()->attr.flags & FUSE_ATTR_SUBMOUNT;
	write_at(guest__lookup(dir, "f"), 0, "T");
	CHECK_STR(seen(dir, "f"), "There");
	CHECK(attr_of(guest__lookup(dir, "f")).ino != attr_of(guest__lookup(ROOT, "file")).ino);
	umount2(host("dir"), MNT_DETACH);
	CHECK(!announced);
	guest__stop();
}

static void a_large_directory_is_listed_in_parts(void)
{
	enum { MANY = 70000 };
	static struct guest_dirent found[MANY + 16];
	static bool there[MANY];
	start();
	uint64_t dir = guest__lookup(ROOT, "dir");
	put(dir, "mine", "mine");
	for (unsigned i = 0; i < MANY; i++) {
		int fd = open(host("dir/%u", i), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		CHECK(fd >= 0);
		close(fd);
	}
	CHECK_EQ(unlink_at(dir, "69999"), 0);
	unsigned count = guest__list(dir, false, 65536, found, MANY + 16), seen_names = 0;
	CHECK_EQ(count, 2 + 3 + MANY - 1);
	for (unsigned i = 0; i < count; i++) {
		char *end;
		unsigned long n = strtoul(found[i].name, &end, 10);
		if (*end)
			continue;
		CHECK(n < MANY - 1 && !there[n]);
		there[n] = true;
		seen_names++;
	}
	CHECK_EQ(seen_names, MANY - 1);
	guest__stop();
}

static void an_offset_leads_on_whatever_the_directory_has_become(void)
{
	start();
	uint64_t dir = guest__lookup(ROOT, "dir"), fh, offset = 0;
	unsigned seen_names = 0;
	for (unsigned i = 0; i < 200; i++)
		host__write(host("dir/n%u", i), "");
	CHECK_EQ(guest__opendir(dir, &fh), 0);
	for (;;) {
		struct fuse_read_in in = {.fh = fh, .offset = offset, .size = 512};
		CHECK_EQ(guest__op(FUSE_READDIR, dir, &in, sizeof(in), NULL, NULL), 0);
		if (!guest.reply_len)
			break;
		char names[16][32];
		unsigned count = 0;
		const uint8_t *at = guest__reply(), *end = at + guest.reply_len;
		while (at < end) {
			const struct fuse_dirent *d = (const void *)at;
			offset = d->off;
			if (d->namelen < 32 && d->name[0] == 'n') {
				memcpy(names[count], d->name, d->namelen);
				names[count++][d->namelen] = 0;
			}
			at += FUSE_DIRENT_ALIGN(sizeof(*d) + d->namelen);
		}
		for (unsigned i = 0; i < count; i++)
			CHECK_EQ(unlink_at(dir, names[i]), 0);
		seen_names += count;
		put(dir, "between", "");
	}
	CHECK_EQ(seen_names, 200);
	CHECK_EQ(guest__release(dir, fh, true), 0);
	guest__stop();
}

static void a_copy_that_fails_leaves_nothing(void)
{
	start();
	char data[4096] = "x";
	int fd = open(host("big"), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	for (unsigned i = 0; i < 64; i++)
		CHECK_EQ(write(fd, data, sizeof(data)), sizeof(data));
	close(fd);
	struct rlimit before, less = {.rlim_cur = 100000};
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
	less.rlim_max = before.rlim_max;
	uint64_t big = guest__lookup(ROOT, "big"), fh;
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &less), 0);
	int err = guest__open(big, O_WRONLY, &fh);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
	CHECK_EQ(err, -EFBIG);
	CHECK(!is_there(layer("big")));
	CHECK_EQ(guest__open(big, O_WRONLY, &fh), 0);
	CHECK_EQ(host__stat(layer("big")).st_size, 64 * 4096);
	guest__stop();
}

static void nothing_half_made_is_in_the_layer(void)
{
	start();
	write_at(guest__lookup(ROOT, "file"), 0, "C");
	uint64_t dir = guest__lookup(ROOT, "dir");
	CHECK_EQ(unlink_at(dir, "a"), 0);
	CHECK_EQ(unlink_at(dir, "b"), 0);
	CHECK_EQ(rmdir_at(ROOT, "dir"), 0);
	CHECK_EQ(guest__mkdir(ROOT, "dir", 0755), 0);
	CHECK_EQ(rmdir_at(ROOT, "dir"), 0);
	char work[120];
	snprintf(work, sizeof(work), "%s/work", guest.layer);
	DIR *d = opendir(work);
	CHECK(d != NULL);
	for (struct dirent *e; (e = readdir(d));)
		CHECK(e->d_name[0] == '.' || !strcmp(e->d_name, "index"));
	closedir(d);
	guest__stop();
}

int main(void)
{
	CASE(what_is_changed_is_changed_in_the_layer_alone);
	CASE(a_number_stays_when_the_guest_has_forgotten);
	CASE(a_number_that_the_host_gives_away_again_is_no_copys);
	CASE(what_is_removed_is_hidden);
	CASE(nothing_is_made_where_something_is_seen);
	CASE(whiteouts_and_marks_are_not_the_guests_to_make);
	CASE(attributes_and_holes_come_along);
	CASE(files_are_renamed);
	CASE(directories_of_the_guest_are_renamed);
	CASE(directories_of_the_host_are_renamed_with_all_in_them);
	CASE(a_renamed_directory_that_is_applied_goes_on);
	CASE(an_applied_directory_is_no_more_where_it_was);
	CASE(a_mark_of_a_strangers_leads_nowhere);
	CASE(what_is_open_reads_what_is_written_later);
	CASE(an_open_file_that_has_lost_its_name_can_be_changed);
	CASE(what_the_host_changes_is_seen_where_the_guest_has_not);
	CASE(a_stale_place_is_looked_for_again);
	CASE(an_applied_change_leaves_all_usable);
	CASE(what_was_applied_is_the_hosts_once_that_has_changed_it);
	CASE(what_was_applied_by_another_name_is_the_guests);
	CASE(a_file_with_several_names_is_one_file);
	CASE(of_two_names_either_may_go);
	CASE(a_file_without_permissions_is_its_creators_to_write);
	CASE(owners_are_remembered_over_the_copy);
	CASE(a_mount_below_is_part_of_it);
	CASE(a_large_directory_is_listed_in_parts);
	CASE(an_offset_leads_on_whatever_the_directory_has_become);
	CASE(a_copy_that_fails_leaves_nothing);
	CASE(nothing_half_made_is_in_the_layer);
	return check__done();
}
