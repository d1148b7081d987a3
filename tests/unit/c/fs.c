/* virtio-fs: every operation does on the host what the guest asked for, and says why when it cannot. */
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "fs_guest.h"

#define ROOT FUSE_ROOT_ID

static void start(void)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0"};
	guest__start(&root, 1, true);
}

static void config_space_holds_the_tag_and_one_request_queue(void)
{
	start();
	struct {
		char tag[36];
		uint32_t queues;
	} config;
	CHECK_EQ(guest.dd.dev->ops->config_size, sizeof(config));
	guest.dd.dev->ops->read_config(guest.dd.dev, 0, &config, sizeof(config));
	CHECK_STR(config.tag, "capsa");
	CHECK_EQ(config.queues, 1);
	CHECK_EQ(guest.dd.dev->ops->id, VIRTIO_ID_FS);
	CHECK_EQ(guest.dd.dev->ops->num_queues, 2);
	guest__stop();
}

static void options_that_make_no_sense_are_refused(void)
{
	struct virtio_device *dev;
	struct fs_root root = {.name = "0"};
	struct fs_options options = {.tag = "", .single = true, .roots = {&root, 1}};
	root.fd = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK(root.fd >= 0);
	CHECK_EQ(virtio_fs__new(&options, &dev), -EINVAL);
	options.tag = "a tag of thirty-seven bytes is too long";
	CHECK_EQ(virtio_fs__new(&options, &dev), -EINVAL);
	options.tag = "tag";
	options.single = false;
	root.name = "..";
	CHECK_EQ(virtio_fs__new(&options, &dev), -EINVAL);
	CHECK_EQ(fcntl(root.fd, F_GETFD), FD_CLOEXEC); /* still ours */
	close(root.fd);
	root.name = "0";
	root.fd = open("/dev/null", O_PATH | O_CLOEXEC);
	CHECK_EQ(virtio_fs__new(&options, &dev), -ENOTDIR);
	close(root.fd);
	options.single = true; /* the root of a file system is a directory */
	root.fd = open("/etc/passwd", O_PATH | O_CLOEXEC);
	CHECK_EQ(virtio_fs__new(&options, &dev), -ENOTDIR);
	CHECK_EQ(fcntl(root.fd, F_GETFD), FD_CLOEXEC);
	close(root.fd);
}

static void init_agrees_on_large_requests(void)
{
	start();
	CHECK_EQ(guest.init.major, 7);
	CHECK(guest.init.minor >= 36);
	CHECK_EQ(guest.init.max_write, 1 << 20);
	CHECK_EQ(guest.init.max_pages, 256);
	uint32_t want = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_DO_READDIRPLUS |
			FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SUBMOUNTS;
	CHECK_EQ(guest.init.flags & want, want);
	CHECK_EQ(guest.init.flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_WRITEBACK_CACHE), 0);
	struct fuse_init_in in = {.major = 7, .minor = 12};
	CHECK_EQ(guest__op(FUSE_INIT, 0, &in, sizeof(in), NULL, NULL), -EPROTO);
	in.major = 8;
	CHECK_EQ(guest__op(FUSE_INIT, 0, &in, sizeof(in), NULL, NULL), 0);
	CHECK_EQ(((struct fuse_init_out *)guest__reply())->major, 7);
	guest__stop();
}

static void lookup_and_getattr_tell_what_the_host_has(void)
{
	start();
	struct fuse_attr attr;
	host__write(host("file"), "hello");
	CHECK_EQ(chmod(host("file"), 0640), 0);
	uint64_t node = guest__lookup(ROOT, "file");
	CHECK(node != 0);
	struct stat st = host__stat(host("file"));
	CHECK_EQ(guest__entry()->attr.size, 5);
	CHECK_EQ(guest__entry()->attr.mode, S_IFREG | 0640);
	CHECK_EQ(guest__entry()->attr.ino, st.st_ino);
	CHECK_EQ(guest__entry()->attr.mtime, st.st_mtime);
	CHECK_EQ(guest__entry()->entry_valid, 1);
	CHECK_EQ(guest__lookup(ROOT, "file"), node);
	CHECK_EQ(guest__getattr(node, &attr), 0);
	CHECK_EQ(attr.size, 5);
	CHECK_EQ(guest__getattr(ROOT, &attr), 0);
	CHECK_EQ(attr.mode & S_IFMT, S_IFDIR);
	CHECK_EQ(guest__lookup(ROOT, "none"), 0);
	CHECK_EQ(guest__entry()->entry_valid, 1); /* and the guest may remember that for a second */
	CHECK_EQ(guest__lookup(ROOT, "file") != 0, 1);
	CHECK_EQ(guest__op(FUSE_LOOKUP, node, NULL, 0, "x", NULL), -ENOTDIR);
	CHECK_EQ(guest__op(FUSE_LOOKUP, 0x123456789, NULL, 0, "x", NULL), -ESTALE);
	guest__stop();
}

static void a_file_is_created_written_and_read_back(void)
{
	start();
	uint64_t node, fh, again;
	CHECK_EQ(guest__create(ROOT, "new", O_RDWR | O_EXCL, 0644, &node, &fh), 0);
	CHECK_EQ(guest__write(node, fh, 0, "0123456789", 10, O_RDWR), 10);
	CHECK_EQ(guest__write(node, fh, 4, "xy", 2, O_RDWR), 2);
	CHECK_EQ(guest__read(node, fh, 2, 100), 8);
	CHECK_EQ(memcmp(guest__reply(), "23xy6789", 8), 0);
	CHECK_EQ(guest__read(node, fh, 10, 100), 0);
	CHECK_STR(host__read(host("new")), "0123xy6789");
	CHECK_EQ(host__stat(host("new")).st_mode & 07777, 0644);
	CHECK_EQ(guest__create(ROOT, "new", O_RDWR | O_EXCL, 0644, &again, &again), -EEXIST);
	CHECK_EQ(guest__create(ROOT, "new", O_RDWR | O_TRUNC, 0644, &again, &again), 0);
	CHECK_STR(host__read(host("new")), "");
	CHECK_EQ(guest__release(node, fh, false), 0);
	CHECK_EQ(guest__release(node, fh, false), -EBADF);
	CHECK_EQ(guest__read(node, fh, 0, 10), -EBADF);
	guest__stop();
}

static void a_mebibyte_goes_in_one_request(void)
{
	start();
	uint64_t node, fh;
	uint32_t size = 1 << 20;
	uint8_t *data = malloc(size);
	for (uint32_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 31 + (i >> 8));
	CHECK_EQ(guest__create(ROOT, "big", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(guest__write(node, fh, 0, data, size, O_RDWR), size);
	CHECK_EQ(guest__read(node, fh, 0, size), size);
	CHECK_EQ(memcmp(guest__reply(), data, size), 0);
	free(data);
	guest__stop();
}

static void modes_are_exact_whatever_the_hosts_umask(void)
{
	start();
	uint64_t node, fh;
	mode_t old = umask(077);
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0666, &node, &fh), 0);
	CHECK_EQ(guest__mkdir(ROOT, "d", 01777), 0);
	CHECK_EQ(guest__mknod(ROOT, "p", S_IFIFO | 0622, 0), 0);
	umask(old);
	CHECK_EQ(host__stat(host("f")).st_mode & 07777, 0666);
	CHECK_EQ(host__stat(host("d")).st_mode & 07777, 01777);
	CHECK_EQ(host__stat(host("p")).st_mode, S_IFIFO | 0622);
	guest__stop();
}

static void appends_go_to_the_end_the_host_knows(void)
{
	start();
	uint64_t node, fh;
	host__write(host("log"), "one\n");
	node = guest__lookup(ROOT, "log");
	CHECK_EQ(guest__open(node, O_WRONLY | O_APPEND, &fh), 0);
	host__write(host("log"), "one\ntwo\n"); /* the host appends behind the guest's back */
	CHECK_EQ(guest__write(node, fh, 4, "three\n", 6, O_WRONLY | O_APPEND), 6);
	CHECK_STR(host__read(host("log")), "one\ntwo\nthree\n");
	/* dirty pages of a mapping go where they belong */
	struct fuse_write_in in = {
		.fh = fh, .offset = 0, .size = 3, .write_flags = FUSE_WRITE_CACHE, .flags = O_WRONLY | O_APPEND};
	uint8_t body[sizeof(in) + 3];
	memcpy(body, &in, sizeof(in));
	memcpy(body + sizeof(in), "ONE", 3);
	CHECK_EQ(guest__op(FUSE_WRITE, node, body, sizeof(body), NULL, NULL), 0);
	CHECK_STR(host__read(host("log")), "ONE\ntwo\nthree\n");
	guest__stop();
}

static void setattr_changes_mode_size_and_times(void)
{
	start();
	host__write(host("f"), "0123456789");
	uint64_t node = guest__lookup(ROOT, "f");
	CHECK_EQ(guest__chmod(node, 0600), 0);
	CHECK_EQ(host__stat(host("f")).st_mode & 07777, 0600);
	CHECK_EQ(guest__truncate(node, 4), 0);
	CHECK_STR(host__read(host("f")), "0123");
	CHECK_EQ(guest__truncate(node, UINT64_MAX), -EINVAL);
	CHECK_EQ(guest__truncate(ROOT, 0), -EISDIR);
	struct fuse_setattr_in times = {
		.valid = FATTR_ATIME | FATTR_MTIME, .atime = 1000, .mtime = 2000, .mtimensec = 5};
	CHECK_EQ(guest__setattr(node, times), 0);
	struct stat st = host__stat(host("f"));
	CHECK_EQ(st.st_atime, 1000);
	CHECK_EQ(st.st_mtime, 2000);
	CHECK_EQ(st.st_mtim.tv_nsec, 5);
	CHECK_EQ(guest__setattr(node, (struct fuse_setattr_in){.valid = FATTR_MTIME | FATTR_MTIME_NOW}), 0);
	CHECK(host__stat(host("f")).st_mtime > 2000);
	CHECK_EQ(host__stat(host("f")).st_atime, 1000);
	guest__stop();
}

static void a_size_is_changed_through_an_unlinked_open_file(void)
{
	start();
	struct fuse_attr attr;
	uint64_t node, fh;
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0600, &node, &fh), 0);
	CHECK_EQ(guest__write(node, fh, 0, "0123456789", 10, O_RDWR), 10);
	CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, "f", NULL), 0);
	CHECK_EQ(guest__setattr(node, (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH, .fh = fh, .size = 3}),
		 0);
	CHECK_EQ(guest__chmod(node, 0640), 0);
	CHECK_EQ(guest__getattr(node, &attr), 0);
	CHECK_EQ(attr.size, 3);
	CHECK_EQ(attr.nlink, 0);
	CHECK_EQ(attr.mode, S_IFREG | 0640);
	CHECK_EQ(guest__read(node, fh, 0, 10), 3);
	guest__stop();
}

static void symlinks_are_made_and_read_never_followed(void)
{
	start();
	host__write(host("target"), "t");
	CHECK_EQ(guest__symlink(ROOT, "link", "target"), 0);
	uint64_t node = guest__entry()->nodeid, fh;
	CHECK_EQ(guest__entry()->attr.mode & S_IFMT, S_IFLNK);
	CHECK_EQ(guest__op(FUSE_READLINK, node, NULL, 0, NULL, NULL), 0);
	CHECK_EQ(guest.reply_len, 6);
	CHECK_EQ(memcmp(guest__reply(), "target", 6), 0);
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), -ELOOP);
	CHECK_EQ(guest__op(FUSE_LOOKUP, node, NULL, 0, "x", NULL), -ENOTDIR);
	CHECK_EQ(guest__op(FUSE_READLINK, ROOT, NULL, 0, NULL, NULL), -EINVAL);
	CHECK_EQ(guest__symlink(ROOT, "link", "again"), -EEXIST);
	guest__stop();
}

static void fifos_and_sockets_are_made_device_nodes_are_not(void)
{
	start();
	uint64_t fh;
	CHECK_EQ(guest__mknod(ROOT, "fifo", S_IFIFO | 0600, 0), 0);
	uint64_t fifo = guest__entry()->nodeid;
	CHECK_EQ(guest__mknod(ROOT, "sock", S_IFSOCK | 0600, 0), 0);
	CHECK_EQ(guest__mknod(ROOT, "reg", S_IFREG | 0600, 0), 0);
	CHECK_EQ(guest__mknod(ROOT, "null", S_IFCHR | 0600, makedev(1, 3)), -EPERM);
	CHECK_EQ(guest__mknod(ROOT, "disk", S_IFBLK | 0600, makedev(8, 0)), -EPERM);
	CHECK_EQ(guest__mknod(ROOT, "whiteout", S_IFCHR, 0), -EPERM);
	CHECK_EQ(guest__mknod(ROOT, "dir", S_IFDIR | 0700, 0), -EINVAL);
	CHECK(S_ISFIFO(host__stat(host("fifo")).st_mode));
	CHECK(S_ISSOCK(host__stat(host("sock")).st_mode));
	CHECK_EQ(guest__open(fifo, O_RDONLY, &fh), -ENXIO); /* the guest's kernel has fifos of its own */
	guest__stop();
}

static void directories_are_made_listed_and_removed(void)
{
	start();
	struct guest_dirent entries[64];
	CHECK_EQ(guest__mkdir(ROOT, "d", 0755), 0);
	uint64_t d = guest__entry()->nodeid;
	CHECK_EQ(guest__mkdir(ROOT, "empty", 0755), 0);
	uint64_t empty = guest__entry()->nodeid;
	CHECK_EQ(guest__op(FUSE_RMDIR, ROOT, NULL, 0, "empty", NULL), 0);
	CHECK_EQ(guest__op(FUSE_GETATTR, empty, &(struct fuse_getattr_in){0}, 16, NULL, NULL), 0);
	CHECK_EQ(guest__mkdir(ROOT, "d", 0755), -EEXIST);
	for (int i = 0; i < 20; i++)
		host__write(host("d/a-file-with-a-longer-name-%d", i), "x");
	for (int plus = 0; plus < 2; plus++) {
		for (uint32_t size = 512; size <= 65536; size *= 128) {
			unsigned count = guest__list(d, plus, size, entries, 64), seen = 0;
			CHECK_EQ(count, 22);
			for (unsigned i = 0; i < count; i++) {
				if (!strcmp(entries[i].name, ".") || !strcmp(entries[i].name, "..")) {
					CHECK_EQ(entries[i].node, 0);
					continue;
				}
				seen++;
				CHECK_EQ(entries[i].type, DT_REG);
				CHECK_EQ(entries[i].ino, host__stat(host("d/%s", entries[i].name)).st_ino);
				if (plus)
					CHECK_EQ(guest__lookup(d, entries[i].name), entries[i].node);
			}
			CHECK_EQ(seen, 20);
		}
	}
	CHECK_EQ(guest__op(FUSE_RMDIR, ROOT, NULL, 0, "d", NULL), -ENOTEMPTY);
	CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, "d", NULL), -EISDIR);
	for (int i = 0; i < 20; i++) {
		char name[64];
		snprintf(name, sizeof(name), "a-file-with-a-longer-name-%d", i);
		CHECK_EQ(guest__op(FUSE_UNLINK, d, NULL, 0, name, NULL), 0);
	}
	CHECK_EQ(guest__op(FUSE_RMDIR, ROOT, NULL, 0, "d", NULL), 0);
	CHECK_EQ(guest__op(FUSE_RMDIR, ROOT, NULL, 0, "d", NULL), -ENOENT);
	/* a process may still be in it */
	struct fuse_attr attr;
	CHECK_EQ(guest__getattr(d, &attr), 0);
	CHECK_EQ(attr.nlink, 0);
	CHECK_EQ(guest__list(d, true, 4096, entries, 64), 0);
	CHECK_EQ(guest__mkdir(d, "x", 0755), -ENOENT);
	guest__stop();
}

static void a_listing_goes_on_from_any_offset(void)
{
	start();
	struct guest_dirent all[600], entry;
	for (int i = 0; i < 500; i++)
		host__write(host("entry-%d", i), "");
	CHECK_EQ(guest__list(ROOT, false, 4096, all, 600), 502);
	uint64_t fh;
	CHECK_EQ(guest__opendir(ROOT, &fh), 0);
	for (int i = 480; i > 0; i -= 37) { /* telldir() and seekdir(), backwards */
		struct fuse_read_in in = {.fh = fh, .offset = all[i].offset, .size = 300};
		CHECK_EQ(guest__op(FUSE_READDIR, ROOT, &in, sizeof(in), NULL, NULL), 0);
		const struct fuse_dirent *d = guest__reply();
		memset(&entry, 0, sizeof(entry));
		memcpy(entry.name, d->name, d->namelen);
		CHECK_STR(entry.name, all[i + 1].name);
	}
	struct fuse_read_in tiny = {.fh = fh, .size = 8};
	CHECK_EQ(guest__op(FUSE_READDIR, ROOT, &tiny, sizeof(tiny), NULL, NULL), -EINVAL);
	guest__stop();
}

static void hard_links_share_a_node_and_outlive_each_other(void)
{
	start();
	struct fuse_attr attr;
	uint64_t fh;
	host__write(host("a"), "text");
	uint64_t node = guest__lookup(ROOT, "a");
	CHECK_EQ(guest__link(node, ROOT, "b"), 0);
	CHECK_EQ(guest__entry()->nodeid, node);
	CHECK_EQ(guest__entry()->attr.nlink, 2);
	CHECK_EQ(guest__link(node, ROOT, "b"), -EEXIST);
	CHECK_EQ(guest__link(ROOT, ROOT, "c"), -EPERM);
	/* "b" is where it was seen last: the node still works when that goes, by the name the guest has cached */
	CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, "b", NULL), 0);
	CHECK_EQ(guest__getattr(node, &attr), 0);
	CHECK_EQ(attr.nlink, 1);
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), 0);
	CHECK_EQ(guest__read(node, fh, 0, 10), 4);
	CHECK_EQ(guest__symlink(ROOT, "s", "nowhere"), 0);
	CHECK_EQ(guest__link(guest__entry()->nodeid, ROOT, "s2"), 0); /* the symlink itself */
	CHECK(S_ISLNK(host__stat(host("s2")).st_mode));
	guest__stop();
}

static void renames_move_replace_refuse_and_exchange(void)
{
	start();
	struct fuse_attr attr;
	uint64_t fh, d;
	host__write(host("a"), "A");
	host__write(host("b"), "B");
	CHECK_EQ(mkdir(host("d"), 0755), 0);
	uint64_t a = guest__lookup(ROOT, "a"), b = guest__lookup(ROOT, "b");
	d = guest__lookup(ROOT, "d");
	CHECK_EQ(guest__rename(ROOT, "a", ROOT, "b", 1), -EEXIST);
	CHECK_EQ(guest__rename(ROOT, "a", ROOT, "b", 2), 0);
	CHECK_STR(host__read(host("a")), "B");
	CHECK_EQ(guest__getattr(a, &attr), 0); /* both nodes went along */
	CHECK_EQ(guest__getattr(b, &attr), 0);
	CHECK_EQ(guest__open(a, O_RDONLY, &fh), 0);
	CHECK_EQ(guest__read(a, fh, 0, 9), 1);
	CHECK_EQ(memcmp(guest__reply(), "A", 1), 0);
	CHECK_EQ(guest__rename(ROOT, "b", d, "c", 0), 0);
	CHECK_EQ(guest__getattr(a, &attr), 0);
	CHECK_EQ(guest__lookup(d, "c"), a);
	struct fuse_rename_in plain = {.newdir = ROOT};
	CHECK_EQ(guest__op(FUSE_RENAME, d, &plain, sizeof(plain), "c", "a"), 0); /* over b's node, which dies */
	CHECK_STR(host__read(host("a")), "A");
	CHECK_EQ(guest__lookup(ROOT, "a"), a);
	CHECK_EQ(guest__getattr(b, &attr), -ESTALE);
	CHECK_EQ(guest__rename(ROOT, "a", ROOT, "w", 4), -EINVAL); /* whiteout */
	CHECK_EQ(guest__rename(ROOT, "d", d, "x", 0), -EINVAL);    /* into itself */
	CHECK_EQ(guest__rename(ROOT, "none", d, "x", 0), -ENOENT);
	guest__stop();
}

static void renamed_directories_keep_what_is_below_them(void)
{
	start();
	struct fuse_attr attr;
	CHECK_EQ(mkdir(host("x"), 0755), 0);
	CHECK_EQ(mkdir(host("x/y"), 0755), 0);
	host__write(host("x/y/f"), "deep");
	uint64_t x = guest__lookup(ROOT, "x"), y = guest__lookup(x, "y"), f = guest__lookup(y, "f");
	CHECK_EQ(guest__rename(ROOT, "x", ROOT, "z", 0), 0);
	CHECK_EQ(guest__getattr(f, &attr), 0);
	CHECK_EQ(attr.size, 4);
	/* the host turns the tree upside down, and each directory is met at its new place */
	CHECK_EQ(rename(host("z/y"), host("y")), 0);
	CHECK_EQ(rename(host("z"), host("y/z")), 0);
	CHECK_EQ(guest__lookup(ROOT, "y"), y);
	CHECK_EQ(guest__lookup(y, "z"), x);
	CHECK_EQ(guest__getattr(x, &attr), 0);
	CHECK_EQ(guest__getattr(f, &attr), 0);
	CHECK_EQ(rename(host("y/z"), host("z")), 0); /* and back, met in the order that would make a loop */
	CHECK_EQ(rename(host("y"), host("z/y")), 0);
	CHECK_EQ(guest__lookup(x, "y"), y);
	CHECK_EQ(guest__lookup(ROOT, "z"), x);
	CHECK_EQ(guest__getattr(f, &attr), 0);
	guest__stop();
}

static void a_node_never_answers_for_another_file(void)
{
	start();
	struct fuse_attr attr;
	uint64_t fh;
	host__write(host("f"), "first");
	uint64_t node = guest__lookup(ROOT, "f");
	host__write(host("other"), "second");
	CHECK_EQ(rename(host("other"), host("f")), 0);
	CHECK_EQ(guest__getattr(node, &attr), -ESTALE);
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), -ESTALE);
	CHECK_EQ(guest__chmod(node, 0777), -ESTALE);
	uint64_t now = guest__lookup(ROOT, "f");
	CHECK(now && now != node);
	CHECK_EQ(guest__open(now, O_RDONLY, &fh), 0);
	guest__stop();
}

static void user_attributes_pass_others_do_not(void)
{
	start();
	host__write(host("f"), "");
	uint64_t node = guest__lookup(ROOT, "f");
	if (setxattr(host("f"), "user.probe", "1", 1, 0) < 0) {
		guest__stop();
		SKIP("the temporary directory's file system has no user attributes");
	}
	uint8_t body[64] = {0};
	uint32_t size = 5;
	memcpy(body, &size, 4);
	memcpy(body + 8, "user.colour\0green", 17);
	CHECK_EQ(guest__op(FUSE_SETXATTR, node, body, 25, NULL, NULL), 0);
	char value[16] = {0};
	CHECK_EQ(getxattr(host("f"), "user.colour", value, sizeof(value)), 5);
	CHECK_STR(value, "green");
	struct fuse_getxattr_in get = {.size = 0};
	CHECK_EQ(guest__op(FUSE_GETXATTR, node, &get, sizeof(get), "user.colour", NULL), 0);
	CHECK_EQ(((struct fuse_getxattr_out *)guest__reply())->size, 5);
	get.size = 100;
	CHECK_EQ(guest__op(FUSE_GETXATTR, node, &get, sizeof(get), "user.colour", NULL), 0);
	CHECK_EQ(guest.reply_len, 5);
	CHECK_EQ(memcmp(guest__reply(), "green", 5), 0);
	CHECK_EQ(guest__op(FUSE_GETXATTR, node, &get, sizeof(get), "user.none", NULL), -ENODATA);
	get.size = 2;
	CHECK_EQ(guest__op(FUSE_GETXATTR, node, &get, sizeof(get), "user.colour", NULL), -ERANGE);
	get.size = 1000;
	CHECK_EQ(guest__op(FUSE_LISTXATTR, node, &get, sizeof(get), NULL, NULL), 0);
	CHECK_EQ(guest.reply_len, sizeof("user.probe") + sizeof("user.colour"));
	CHECK_EQ(guest__op(FUSE_REMOVEXATTR, node, NULL, 0, "user.colour", NULL), 0);
	CHECK_EQ(getxattr(host("f"), "user.colour", value, sizeof(value)), -1);
	static const char *const refused[] = {"security.capability", "trusted.overlay.opaque",
					      "system.posix_acl_access", "user", ""};
	for (unsigned i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
		uint8_t *end = mempcpy(body + 8, refused[i], strlen(refused[i]) + 1);
		memcpy(end, "green", 5);
		CHECK_EQ(guest__op(FUSE_SETXATTR, node, body, (size_t)(end + 5 - body), NULL, NULL), -EOPNOTSUPP);
		CHECK_EQ(guest__op(FUSE_GETXATTR, node, &get, sizeof(get), refused[i], NULL), -EOPNOTSUPP);
		CHECK_EQ(guest__op(FUSE_REMOVEXATTR, node, NULL, 0, refused[i], NULL), -EOPNOTSUPP);
	}
	size = 60000; /* more than the request holds */
	memcpy(body, &size, 4);
	CHECK_EQ(guest__op(FUSE_SETXATTR, node, body, 40, NULL, NULL), -EINVAL);
	guest__stop();
}

static void holes_are_punched_and_found(void)
{
	start();
	uint64_t node, fh;
	uint8_t block[65536];
	memset(block, 1, sizeof(block));
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(guest__write(node, fh, 0, block, sizeof(block), O_RDWR), sizeof(block));
	struct fuse_fallocate_in in = {.fh = fh, .offset = 1 << 20, .length = 65536};
	CHECK_EQ(guest__op(FUSE_FALLOCATE, node, &in, sizeof(in), NULL, NULL), 0);
	CHECK_EQ(host__stat(host("f")).st_size, (1 << 20) + 65536);
	struct fuse_lseek_in seek = {.fh = fh, .offset = 0, .whence = SEEK_HOLE};
	CHECK_EQ(guest__op(FUSE_LSEEK, node, &seek, sizeof(seek), NULL, NULL), 0);
	CHECK_EQ(((struct fuse_lseek_out *)guest__reply())->offset, 65536);
	in = (struct fuse_fallocate_in){
		.fh = fh, .offset = 0, .length = 4096, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
	CHECK_EQ(guest__op(FUSE_FALLOCATE, node, &in, sizeof(in), NULL, NULL), 0);
	seek.whence = SEEK_DATA;
	CHECK_EQ(guest__op(FUSE_LSEEK, node, &seek, sizeof(seek), NULL, NULL), 0);
	CHECK_EQ(((struct fuse_lseek_out *)guest__reply())->offset, 4096);
	seek.whence = SEEK_SET;
	CHECK_EQ(guest__op(FUSE_LSEEK, node, &seek, sizeof(seek), NULL, NULL), -EINVAL);
	in.mode = FALLOC_FL_COLLAPSE_RANGE;
	CHECK_EQ(guest__op(FUSE_FALLOCATE, node, &in, sizeof(in), NULL, NULL), -EOPNOTSUPP);
	guest__stop();
}

static void ranges_are_copied_between_files(void)
{
	start();
	uint64_t from, from_fh, to, to_fh;
	host__write(host("from"), "0123456789");
	from = guest__lookup(ROOT, "from");
	CHECK_EQ(guest__open(from, O_RDONLY, &from_fh), 0);
	CHECK_EQ(guest__create(ROOT, "to", O_RDWR, 0644, &to, &to_fh), 0);
	struct fuse_copy_file_range_in in = {
		.fh_in = from_fh, .off_in = 2, .nodeid_out = to, .fh_out = to_fh, .len = 5};
	CHECK_EQ(guest__op(FUSE_COPY_FILE_RANGE, from, &in, sizeof(in), NULL, NULL), 0);
	CHECK_EQ(((struct fuse_write_out *)guest__reply())->size, 5);
	CHECK_STR(host__read(host("to")), "23456");
	in.fh_out = from_fh;
	CHECK_EQ(guest__op(FUSE_COPY_FILE_RANGE, from, &in, sizeof(in), NULL, NULL), -EBADF);
	guest__stop();
}

static void a_nameless_file_gets_a_name_by_link(void)
{
	start();
	struct fuse_create_in in = {.flags = O_RDWR | O_TMPFILE, .mode = S_IFREG | 0644};
	int err = guest__op(FUSE_TMPFILE, ROOT, &in, sizeof(in), "/", NULL);
	if (err == -EOPNOTSUPP) {
		guest__stop();
		SKIP("the temporary directory's file system has no O_TMPFILE");
	}
	CHECK_EQ(err, 0);
	uint64_t node = guest__entry()->nodeid, fh = ((struct fuse_open_out *)(guest__entry() + 1))->fh;
	CHECK_EQ(guest__write(node, fh, 0, "late", 4, O_RDWR), 4);
	CHECK_EQ(guest__link(node, ROOT, "named"), 0);
	CHECK_STR(host__read(host("named")), "late");
	CHECK_EQ(guest__release(node, fh, false), 0);
	CHECK_EQ(guest__lookup(ROOT, "named"), node);
	guest__stop();
}

static void syncs_and_statistics_are_answered(void)
{
	start();
	uint64_t node, fh, dir;
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0644, &node, &fh), 0);
	struct fuse_fsync_in sync = {.fh = fh};
	CHECK_EQ(guest__op(FUSE_FSYNC, node, &sync, sizeof(sync), NULL, NULL), 0);
	sync.fsync_flags = FUSE_FSYNC_FDATASYNC;
	CHECK_EQ(guest__op(FUSE_FSYNC, node, &sync, sizeof(sync), NULL, NULL), 0);
	CHECK_EQ(guest__op(FUSE_FSYNCDIR, node, &sync, sizeof(sync), NULL, NULL), -EBADF); /* not a directory's */
	CHECK_EQ(guest__opendir(ROOT, &dir), 0);
	sync.fh = dir;
	CHECK_EQ(guest__op(FUSE_FSYNCDIR, ROOT, &sync, sizeof(sync), NULL, NULL), 0);
	CHECK_EQ(guest__op(FUSE_STATFS, ROOT, NULL, 0, NULL, NULL), 0);
	CHECK(((struct fuse_statfs_out *)guest__reply())->st.blocks > 0);
	CHECK_EQ(((struct fuse_statfs_out *)guest__reply())->st.namelen, 255);
	struct fuse_syncfs_in syncfs_in = {0};
	CHECK_EQ(guest__op(FUSE_SYNCFS, ROOT, &syncfs_in, sizeof(syncfs_in), NULL, NULL), 0);
	struct fuse_access_in access_in = {.mask = R_OK | W_OK};
	CHECK_EQ(guest__op(FUSE_ACCESS, node, &access_in, sizeof(access_in), NULL, NULL), 0);
	guest__stop();
}

static void what_is_not_offered_is_enosys(void)
{
	start();
	uint8_t body[64] = {0};
	static const uint32_t absent[] = {FUSE_FLUSH,        FUSE_GETLK, FUSE_SETLK, FUSE_SETLKW,
					  FUSE_BMAP,         FUSE_IOCTL, FUSE_POLL,  7,
					  FUSE_SETUPMAPPING, 52,         999,        UINT32_MAX};
	for (unsigned i = 0; i < sizeof(absent) / sizeof(*absent); i++)
		CHECK_EQ(guest__op(absent[i], ROOT, body, sizeof(body), NULL, NULL), -ENOSYS);
	guest__stop();
}

static void the_page_cache_is_kept_only_while_the_file_is_the_same(void)
{
	start();
	uint64_t fh;
	struct timespec past[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	host__write(host("f"), "one");
	CHECK_EQ(utimensat(AT_FDCWD, host("f"), past, 0), 0);
	uint64_t node = guest__lookup(ROOT, "f");
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), 0);
	CHECK_EQ(((struct fuse_open_out *)guest__reply())->open_flags, 0);
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), 0);
	CHECK_EQ(((struct fuse_open_out *)guest__reply())->open_flags, FOPEN_KEEP_CACHE);
	host__write(host("f"), "two"); /* just now: a second change could bear the same time */
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), 0);
	CHECK_EQ(((struct fuse_open_out *)guest__reply())->open_flags, 0);
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), 0);
	CHECK_EQ(((struct fuse_open_out *)guest__reply())->open_flags, 0);
	guest__stop();
}

static void caching_follows_the_shares_choice(void)
{
	uint64_t node, fh;
	struct fs_root root = {.name = "0", .cache = FS_CACHE_ALWAYS};
	guest__start(&root, 1, true);
	host__write(host("f"), "");
	node = guest__lookup(ROOT, "f");
	CHECK(guest__entry()->entry_valid > 1000000);
	CHECK(guest__entry()->attr_valid > 1000000);
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), 0);
	CHECK_EQ(((struct fuse_open_out *)guest__reply())->open_flags, FOPEN_KEEP_CACHE);
	CHECK_EQ(guest__opendir(ROOT, &fh), 0);
	CHECK_EQ(((struct fuse_open_out *)guest__reply())->open_flags, FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR);
	guest__stop();

	root = (struct fs_root){.name = "0", .cache = FS_CACHE_NEVER};
	guest__start(&root, 1, true);
	host__write(host("f"), "");
	node = guest__lookup(ROOT, "f");
	CHECK_EQ(guest__entry()->entry_valid, 0);
	CHECK_EQ(guest__entry()->attr_valid, 0);
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), 0);
	CHECK(((struct fuse_open_out *)guest__reply())->open_flags & FOPEN_DIRECT_IO);
	CHECK_EQ(guest__op(FUSE_LOOKUP, ROOT, NULL, 0, "none", NULL), -ENOENT);
	guest__stop();
}

static void many_shares_are_mounts_below_a_made_root(void)
{
	struct fs_root roots[2] = {{.name = "0"}, {.name = "1", .read_only = true}};
	struct guest_dirent entries[8];
	struct fuse_attr attr;
	uint64_t node, fh;
	guest__start(roots, 2, false);
	host__write(host("0/f"), "zero");
	host__write(host("1/f"), "one");
	CHECK_EQ(guest__list(ROOT, true, 4096, entries, 8), 4);
	CHECK_STR(entries[2].name, "0");
	CHECK_STR(entries[3].name, "1");
	uint64_t zero = guest__lookup(ROOT, "0");
	CHECK_EQ(zero, entries[2].node);
	CHECK(guest__entry()->attr.flags & FUSE_ATTR_SUBMOUNT);
	uint64_t one = guest__lookup(ROOT, "1");
	CHECK(one != zero);
	CHECK_EQ(guest__lookup(ROOT, "2"), 0);
	CHECK_EQ(guest__getattr(ROOT, &attr), 0);
	CHECK_EQ(attr.mode, S_IFDIR | 0555);
	CHECK_EQ(guest__op(FUSE_STATFS, ROOT, NULL, 0, NULL, NULL), 0);
	CHECK_EQ(guest__op(FUSE_STATFS, zero, NULL, 0, NULL, NULL), 0);
	CHECK(((struct fuse_statfs_out *)guest__reply())->st.blocks > 0);
	/* the made root takes nothing */
	CHECK_EQ(guest__mkdir(ROOT, "x", 0755), -EROFS);
	CHECK_EQ(guest__create(ROOT, "x", O_RDWR, 0644, &node, &fh), -EROFS);
	CHECK_EQ(guest__op(FUSE_RMDIR, ROOT, NULL, 0, "0", NULL), -EROFS);
	CHECK_EQ(guest__rename(ROOT, "0", ROOT, "x", 0), -EROFS);
	CHECK_EQ(guest__chmod(ROOT, 0777), -EROFS);
	/* and shares do not mix */
	uint64_t f0 = guest__lookup(zero, "f"), f1 = guest__lookup(one, "f");
	CHECK(f0 != f1);
	CHECK_EQ(guest__link(f1, zero, "linked"), -EXDEV);
	CHECK_EQ(guest__rename(zero, "f", one, "g", 0), -EXDEV);
	CHECK_EQ(guest__rename(zero, "f", ROOT, "g", 0), -EXDEV);
	CHECK_EQ(guest__mkdir(one, "x", 0755), -EROFS);
	CHECK_EQ(guest__mkdir(zero, "x", 0755), 0);
	guest__stop();
}

static void destroy_and_reset_give_everything_back(void)
{
	start();
	uint64_t node, fh;
	unsigned before = count_fds();
	for (int i = 0; i < 50; i++) {
		char name[16];
		snprintf(name, sizeof(name), "f%d", i);
		CHECK_EQ(guest__create(ROOT, name, O_RDWR, 0644, &node, &fh), 0);
	}
	CHECK(count_fds() >= before + 50);
	CHECK_EQ(guest__op(FUSE_DESTROY, 0, NULL, 0, NULL, NULL), 0);
	CHECK_EQ(count_fds(), before);
	CHECK_EQ(guest__op(FUSE_LOOKUP, ROOT, NULL, 0, "f1", NULL), -EIO); /* not before INIT */
	CHECK_EQ(guest__init(), 0);
	CHECK_EQ(guest__read(node, fh, 0, 10), -ESTALE); /* the old node is gone */
	CHECK(guest__lookup(ROOT, "f1") != 0);
	guest__stop();
}

int main(void)
{
	CASE(config_space_holds_the_tag_and_one_request_queue);
	CASE(options_that_make_no_sense_are_refused);
	CASE(init_agrees_on_large_requests);
	CASE(lookup_and_getattr_tell_what_the_host_has);
	CASE(a_file_is_created_written_and_read_back);
	CASE(a_mebibyte_goes_in_one_request);
	CASE(modes_are_exact_whatever_the_hosts_umask);
	CASE(appends_go_to_the_end_the_host_knows);
	CASE(setattr_changes_mode_size_and_times);
	CASE(a_size_is_changed_through_an_unlinked_open_file);
	CASE(symlinks_are_made_and_read_never_followed);
	CASE(fifos_and_sockets_are_made_device_nodes_are_not);
	CASE(directories_are_made_listed_and_removed);
	CASE(a_listing_goes_on_from_any_offset);
	CASE(hard_links_share_a_node_and_outlive_each_other);
	CASE(renames_move_replace_refuse_and_exchange);
	CASE(renamed_directories_keep_what_is_below_them);
	CASE(a_node_never_answers_for_another_file);
	CASE(user_attributes_pass_others_do_not);
	CASE(holes_are_punched_and_found);
	CASE(ranges_are_copied_between_files);
	CASE(a_nameless_file_gets_a_name_by_link);
	CASE(syncs_and_statistics_are_answered);
	CASE(what_is_not_offered_is_enosys);
	CASE(the_page_cache_is_kept_only_while_the_file_is_the_same);
	CASE(caching_follows_the_shares_choice);
	CASE(many_shares_are_mounts_below_a_made_root);
	CASE(destroy_and_reset_give_everything_back);
	return check__done();
}
