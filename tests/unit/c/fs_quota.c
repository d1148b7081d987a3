/* virtio-fs: the size of a share bounds what a guest adds to it, however it tries. */
#include "fs_guest.h"

#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <time.h>

#define ROOT FUSE_ROOT_ID

enum { KIB = 1024, MIB = 1024 * KIB, BLOCK = 4096, SIZE = MIB, SLACK = 64 * KIB };
enum { EXCHANGE = 2 }; /* of rename2() */

static void start_with(bool layered, void (*prepare)(void))
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0", .size = SIZE, .layered = layered};
	guest__prepare = prepare;
	guest__start(&root, 1, true);
	guest__prepare = NULL;
}

static void start(void)
{
	start_with(false, NULL);
}

static uint64_t left_in(uint64_t share)
{
	CHECK_EQ(guest__op(FUSE_STATFS, share, NULL, 0, NULL, NULL), 0);
	const struct fuse_kstatfs *st = &((struct fuse_statfs_out *)guest__reply())->st;
	CHECK_EQ(st->blocks * st->frsize, SIZE);
	CHECK_EQ(st->files, SIZE / BLOCK);
	CHECK_EQ(st->bfree, st->bavail);
	CHECK(st->ffree <= st->files);
	return st->bfree * st->frsize;
}

static uint64_t left(void)
{
	return left_in(ROOT);
}

static uint64_t blocks; /* of what is counted */

static int add_blocks(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)path;
	(void)type;
	blocks += at->level ? (uint64_t)st->st_blocks * 512 / (S_ISDIR(st->st_mode) ? 1 : st->st_nlink) : 0;
	return 0;
}

/* Bytes that the host has at a path, as du tells. */
static uint64_t on_host(const char *path)
{
	blocks = 0;
	CHECK_EQ(nftw(path, add_blocks, 32, FTW_PHYS), 0);
	return blocks;
}

struct file {
	uint64_t node, fh;
};

static struct file make(const char *name)
{
	struct file file;
	CHECK_EQ(guest__create(ROOT, name, O_RDWR, 0644, &file.node, &file.fh), 0);
	return file;
}

static void close_file(struct file file)
{
	CHECK_EQ(guest__release(file.node, file.fh, false), 0);
}

static const uint8_t zeros[MIB], ones[MIB + BLOCK] = {[0 ... MIB + BLOCK - 1] = 1};

static long put(struct file file, uint64_t offset, uint32_t size)
{
	return guest__write(file.node, file.fh, offset, ones, size, 0);
}

/* Write on from `offset` until it is refused; bytes written. */
static uint64_t fill(struct file file, uint64_t offset)
{
	uint64_t done = 0;
	long n;
	while ((n = put(file, offset + done, 100 * KIB)) > 0)
		done += (uint64_t)n;
	CHECK_EQ(n, -ENOSPC);
	return done;
}

static void check_full(void)
{
	CHECK(on_host(guest.host) <= SIZE + SLACK); /* the file system's own of a file with many parts, at most */
	CHECK(left() < BLOCK);
}

static int remove_file(const char *name)
{
	return guest__op(FUSE_UNLINK, ROOT, NULL, 0, name, NULL);
}

static int allocate(struct file file, uint32_t mode, uint64_t offset, uint64_t length)
{
	struct fuse_fallocate_in in = {.fh = file.fh, .mode = mode, .offset = offset, .length = length};
	return guest__op(FUSE_FALLOCATE, file.node, &in, sizeof(in), NULL, NULL);
}

static void writes_end_where_the_size_is_reached(void)
{
	start();
	host__write(host("hosts"), "what the host has does not count");
	CHECK_EQ(left(), SIZE);
	CHECK_EQ(unlink(host("hosts")), 0);
	struct file file = make("file");
	CHECK_EQ(fill(file, 0), SIZE); /* to the last byte */
	check_full();
	/* what has blocks can be written anew */
	CHECK_EQ(put(file, 0, MIB), MIB);
	CHECK_EQ(put(file, 100, 5000), 5000);
	CHECK_EQ(put(file, SIZE - 1, 2), 1); /* as far as there is one */
	CHECK_EQ(guest__mkdir(ROOT, "dir", 0755), -ENOSPC);
	CHECK_EQ(guest__symlink(ROOT, "link", "x"), -ENOSPC);
	CHECK_EQ(guest__mknod(ROOT, "pipe", S_IFIFO | 0644, 0), -ENOSPC);
	CHECK_EQ(guest__link(file.node, ROOT, "name"), -ENOSPC);
	uint64_t node, fh;
	CHECK_EQ(guest__create(ROOT, "other", O_RDWR, 0644, &node, &fh), -ENOSPC);
	/* and what is given back can be used */
	CHECK_EQ(guest__truncate(file.node, SIZE / 2), 0);
	CHECK_EQ(left(), SIZE / 2);
	CHECK_EQ(fill(file, SIZE / 2), SIZE / 2);
	close_file(file);
	CHECK_EQ(guest__open(file.node, O_WRONLY | O_TRUNC, &file.fh), 0);
	CHECK_EQ(left(), SIZE - BLOCK); /* an empty file is one block */
	close_file(file);
	CHECK_EQ(remove_file("file"), 0);
	CHECK_EQ(left(), SIZE);
	guest__stop();
}

/* As the guest's kernel writes what was changed through a mapping. */
static long cached(struct file file, uint64_t offset, uint32_t size)
{
	uint8_t *body = (uint8_t *)driver__at(&guest.d, guest.request_gpa) + sizeof(struct fuse_in_header);
	struct fuse_write_in in = {.fh = file.fh, .offset = offset, .size = size, .write_flags = FUSE_WRITE_CACHE};
	memcpy(body, &in, sizeof(in));
	memcpy(body + sizeof(in), ones, size);
	int err = guest__request(FUSE_WRITE, file.node, sizeof(in) + size, sizeof(struct fuse_write_out));
	return err ? err : (long)((struct fuse_write_out *)guest__reply())->size;
}

static void what_the_page_cache_holds_is_written_whole_or_not_at_all(void)
{
	start();
	struct file file = make("file");
	CHECK_EQ(put(file, 0, SIZE - 10 * BLOCK), SIZE - 10 * BLOCK);
	CHECK_EQ(cached(file, SIZE - 10 * BLOCK, 20 * BLOCK), -ENOSPC);
	CHECK_EQ(guest__write(file.node, file.fh, SIZE - 10 * BLOCK, ones, 20 * BLOCK, O_RDWR | O_DIRECT), -ENOSPC);
	CHECK_EQ(left(), 10 * BLOCK);
	CHECK_EQ(cached(file, SIZE - 10 * BLOCK, 10 * BLOCK), 10 * BLOCK);
	CHECK_EQ(cached(file, SIZE - 10 * BLOCK, 10 * BLOCK), 10 * BLOCK);
	check_full();
	guest__stop();
}

static void holes_cost_nothing_until_they_are_filled(void)
{
	const uint64_t tib = 1ULL << 40;
	start();
	struct file file = make("file");
	CHECK_EQ(guest__truncate(file.node, 4 * tib), 0);
	CHECK_EQ(left(), SIZE - BLOCK);
	uint64_t done = 0;
	while (put(file, (done + 1) * (tib >> 10), BLOCK) == BLOCK)
		done++;
	CHECK(done <= SIZE / BLOCK && done > SIZE / BLOCK / 2);
	check_full();
	CHECK_EQ(allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, tib >> 10, BLOCK), 0);
	CHECK_EQ(put(file, 3 * tib, BLOCK), BLOCK);
	CHECK_EQ(put(file, 3 * tib + 10 * BLOCK, BLOCK), -ENOSPC);
	guest__stop();
}

static bool tells_blocks(const char *path)
{
	struct fiemap ask = {.fm_length = 1};
	int fd = open(path, O_RDONLY);
	bool tells = ioctl(fd, FS_IOC_FIEMAP, &ask) == 0;
	close(fd);
	return tells;
}

static void what_was_allocated_can_be_written_when_there_is_no_room(void)
{
	start();
	struct file file = make("file"), other = make("other");
	CHECK_EQ(allocate(file, 0, 0, SIZE), -ENOSPC); /* the other one takes a block */
	CHECK_EQ(allocate(file, 0, 0, 1ULL << 50), -ENOSPC);
	CHECK_EQ(allocate(file, 0, INT64_MAX - 10, INT64_MAX), -EFBIG);
	CHECK_EQ(allocate(file, FALLOC_FL_KEEP_SIZE, UINT64_MAX, 2), -EFBIG);
	CHECK_EQ(left(), SIZE - 2 * BLOCK); /* nothing is left of what was tried */
	CHECK_EQ(allocate(file, FALLOC_FL_KEEP_SIZE, 0, SIZE - BLOCK), 0);
	check_full();
	if (tells_blocks(host("file"))) { /* as tmpfs does not */
		CHECK_EQ(put(file, 0, 300 * KIB), 300 * KIB);
		CHECK_EQ(put(file, 500 * KIB, 100 * KIB), 100 * KIB);
	}
	CHECK_EQ(put(other, BLOCK, BLOCK), BLOCK); /* which counts already */
	CHECK_EQ(put(other, 0, BLOCK), -ENOSPC);
	check_full();
	guest__stop();
}

static void copies_count(void)
{
	start();
	host__write(host("hosts"), "");
	CHECK_EQ(truncate(host("hosts"), 0), 0);
	int fd = open(host("hosts"), O_WRONLY);
	for (unsigned i = 0; i < 4; i++)
		CHECK_EQ(write(fd, ones, MIB), MIB);
	close(fd);
	struct file file = make("file"), from = {.node = guest__lookup(ROOT, "hosts")};
	CHECK_EQ(guest__open(from.node, O_RDONLY, &from.fh), 0);
	struct fuse_copy_file_range_in in = {
		.fh_in = from.fh, .nodeid_out = file.node, .fh_out = file.fh, .len = 4 * MIB};
	CHECK_EQ(guest__op(FUSE_COPY_FILE_RANGE, from.node, &in, sizeof(in), NULL, NULL), 0);
	CHECK_EQ(((struct fuse_write_out *)guest__reply())->size, SIZE); /* what there is room for */
	in.off_in = in.off_out = SIZE;
	CHECK_EQ(guest__op(FUSE_COPY_FILE_RANGE, from.node, &in, sizeof(in), NULL, NULL), -ENOSPC);
	in.off_out = INT64_MAX - 1;
	CHECK_EQ(guest__op(FUSE_COPY_FILE_RANGE, from.node, &in, sizeof(in), NULL, NULL), -EFBIG);
	CHECK(left() < BLOCK);
	guest__stop();
}

static void small_files_and_names_count(void)
{
	char name[256] = "";
	unsigned made = 0;
	uint64_t node, fh;
	start();
	memset(name, 'n', sizeof(name) - 1);
	for (int err = 0; !err; made += err == 0) {
		snprintf(name + 240, 16, "%u", made);
		err = guest__create(ROOT, name, O_RDWR, 0644, &node, &fh);
		CHECK(!err || err == -ENOSPC);
		if (!err)
			CHECK_EQ(guest__release(node, fh, false), 0);
	}
	CHECK(made <= SIZE / BLOCK);
	CHECK(on_host(guest.host) <= SIZE);
	snprintf(name + 240, 16, "%u", made - 1);
	node = guest__lookup(ROOT, name);
	for (unsigned i = 0; i < 8; i++) { /* room for some names */
		snprintf(name + 240, 16, "%u", i);
		CHECK_EQ(remove_file(name), 0);
	}
	uint64_t room = left();
	unsigned links = 0;
	for (int err = 0; !err; links += err == 0) {
		snprintf(name + 236, 16, "link%u", links);
		err = guest__link(node, ROOT, name);
		CHECK(!err || err == -ENOSPC);
	}
	CHECK(links > 0 && links <= room / KIB);
	while (links--) {
		snprintf(name + 236, 16, "link%u", links);
		CHECK_EQ(remove_file(name), 0);
	}
	CHECK(left() + 8 * BLOCK > room); /* but for what the directory has grown */
	guest__stop();
}

static int set_attribute(uint64_t node, const char *name, const void *value, uint32_t size)
{
	struct fuse_setxattr_in in = {.size = size};
	uint8_t *body = (uint8_t *)driver__at(&guest.d, guest.request_gpa) + sizeof(struct fuse_in_header);
	size_t fixed = FUSE_COMPAT_SETXATTR_IN_SIZE, len = strlen(name) + 1;
	memcpy(body, &in, fixed);
	memcpy(body + fixed, name, len);
	memcpy(body + fixed + len, value, size);
	return guest__request(FUSE_SETXATTR, node, fixed + len + size, 0);
}

static void attributes_count(void)
{
	start();
	struct file file = make("file");
	uint64_t before = left();
	int err = set_attribute(file.node, "user.a", zeros, 500);
	if (err != -EOPNOTSUPP) { /* a file system without any */
		CHECK_EQ(err, 0);
		uint64_t with = left();
		CHECK(with + 500 <= before);
		CHECK_EQ(set_attribute(file.node, "user.a", zeros, 500), 0);
		CHECK_EQ(left(), with);
		CHECK_EQ(guest__op(FUSE_REMOVEXATTR, file.node, NULL, 0, "user.a", NULL), 0);
		CHECK(left() > with);
		fill(file, 0);
		CHECK_EQ(set_attribute(file.node, "user.b", zeros, 2000), -ENOSPC);
	}
	guest__stop();
}

static void an_open_file_counts_until_it_is_closed(void)
{
	start();
	struct file file = make("file");
	fill(file, 0);
	CHECK_EQ(remove_file("file"), 0);
	CHECK(left() < BLOCK);
	CHECK_EQ(put(file, SIZE, BLOCK), -ENOSPC);
	CHECK_EQ(guest__truncate(file.node, SIZE / 2), 0);
	CHECK_EQ(left(), SIZE / 2);
	CHECK_EQ(fill(file, SIZE / 2), SIZE / 2);
	close_file(file);
	CHECK_EQ(left(), SIZE);
	/* one that never had a name */
	struct fuse_create_in in = {.flags = O_RDWR, .mode = S_IFREG | 0600};
	CHECK_EQ(guest__op(FUSE_TMPFILE, ROOT, &in, sizeof(in), "", NULL), 0);
	file = (struct file){guest__entry()->nodeid, ((struct fuse_open_out *)(guest__entry() + 1))->fh};
	fill(file, 0);
	check_full();
	close_file(file);
	CHECK_EQ(left(), SIZE);
	/* and one with another name */
	file = make("file");
	fill(file, 0);
	CHECK_EQ(guest__link(file.node, ROOT, "other"), -ENOSPC);
	CHECK_EQ(guest__truncate(file.node, SIZE / 2), 0);
	CHECK_EQ(guest__link(file.node, ROOT, "other"), 0);
	close_file(file);
	CHECK_EQ(remove_file("file"), 0);
	CHECK_EQ(left(), SIZE / 2);
	CHECK_EQ(remove_file("other"), 0);
	CHECK_EQ(left(), SIZE);
	guest__stop();
}

static void so_does_one_that_is_open_by_another_share(void)
{
	struct fs_root both[2] = {{.name = "rw", .size = SIZE}, {.name = "ro", .read_only = true}};
	struct file file;
	guest__start(both, 2, false);
	uint64_t rw = guest__lookup(ROOT, "rw"), ro = guest__lookup(ROOT, "ro");
	for (unsigned host_removes = 2; host_removes--;) {
		CHECK_EQ(guest__create(rw, "f", O_RDWR, 0644, &file.node, &file.fh), 0);
		CHECK_EQ(put(file, 0, SIZE / 2), SIZE / 2);
		close_file(file);
		CHECK_EQ(link(host("rw/f"), host("ro/f")), 0); /* one file in both */
		file.node = guest__lookup(ro, "f");
		CHECK_EQ(guest__open(file.node, O_RDONLY, &file.fh), 0);
		CHECK_EQ(unlink(host("ro/f")), 0);
		CHECK_EQ(host_removes ? unlink(host("rw/f")) : guest__op(FUSE_UNLINK, rw, NULL, 0, "f", NULL), 0);
		CHECK_EQ(left_in(rw), SIZE / 2);
		close_file(file);
		CHECK_EQ(left_in(rw), SIZE);
	}
	guest__stop();
}

static void renames_keep_what_counts(void)
{
	start();
	struct file a = make("a"), b = make("b");
	CHECK_EQ(put(a, 0, SIZE / 4), SIZE / 4);
	CHECK_EQ(put(b, 0, SIZE / 2), SIZE / 2);
	close_file(a);
	close_file(b);
	CHECK_EQ(left(), SIZE / 4);
	CHECK_EQ(guest__rename(ROOT, "a", ROOT, "b", EXCHANGE), 0);
	CHECK_EQ(left(), SIZE / 4);
	CHECK_EQ(guest__mkdir(ROOT, "dir", 0755), 0);
	uint64_t dir = guest__entry()->nodeid;
	CHECK_EQ(guest__rename(ROOT, "a", dir, "c", 0), 0);
	CHECK_EQ(guest__rename(ROOT, "dir", ROOT, "moved", 0), 0);
	uint64_t moved = guest__lookup(ROOT, "moved");
	CHECK_EQ(left(), SIZE / 4 - BLOCK);
	CHECK_EQ(guest__rename(ROOT, "b", moved, "c", 0), 0); /* the half is replaced by the quarter */
	CHECK_EQ(left(), SIZE / 4 * 3 - BLOCK);
	guest__stop();
}

static void write_file(const char *path, unsigned bytes)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
	CHECK_EQ(write(fd, ones, bytes), bytes);
	CHECK_EQ(close(fd), 0);
}

/* Until what is left is as much: it is looked at for what the host has removed, but seldom. */
static void await_left(uint64_t bytes)
{
	const struct timespec pause = {.tv_nsec = 20000000};
	for (unsigned i = 0; i < 500 && left() != bytes; i++)
		nanosleep(&pause, NULL);
	CHECK_EQ(left(), bytes);
}

static void what_the_host_changes_neither_helps_nor_harms(void)
{
	start();
	struct file file = make("file"), open_file = make("open");
	CHECK_EQ(put(file, 0, SIZE / 2), SIZE / 2);
	write_file(host("file"), MIB);
	CHECK_EQ(put(file, 0, BLOCK), BLOCK);
	CHECK_EQ(left(), SIZE / 2 - BLOCK);
	close_file(file);
	guest__forget(file.node, 1);
	/* what the host removes of the guest's is no more the guest's to pay for */
	CHECK_EQ(unlink(host("file")), 0);
	await_left(SIZE - BLOCK);
	CHECK_EQ(guest__getattr(file.node, &(struct fuse_attr){0}), -ESTALE);
	/* unless it has it open */
	CHECK_EQ(put(open_file, 0, SIZE / 2), SIZE / 2);
	CHECK_EQ(unlink(host("open")), 0);
	CHECK_EQ(fill(open_file, SIZE / 2), SIZE / 2);
	close_file(open_file);
	CHECK_EQ(left(), SIZE);
	/* a directory that the host has moved away, with all in it */
	CHECK_EQ(guest__mkdir(ROOT, "dir", 0755), 0);
	uint64_t dir = guest__entry()->nodeid;
	CHECK_EQ(guest__create(dir, "in", O_RDWR, 0644, &file.node, &file.fh), 0);
	fill(file, 0);
	close_file(file);
	CHECK_EQ(rename(host("dir"), host("elsewhere")), 0);
	await_left(SIZE);
	/* what the guest removes of the host's is room only for what the guest has added */
	write_file(host("large"), MIB);
	write_file(host("larger"), MIB);
	CHECK_EQ(remove_file("large"), 0);
	CHECK_EQ(left(), SIZE);
	file = make("file");
	fill(file, 0);
	CHECK(left() < BLOCK);
	CHECK_EQ(remove_file("larger"), 0);
	CHECK_EQ(left(), SIZE);
	guest__stop();
}

static void a_guest_that_begins_anew_has_no_more_room(void)
{
	start();
	struct file file = make("file"), gone = make("gone");
	CHECK_EQ(put(file, 0, SIZE / 2), SIZE / 2);
	CHECK_EQ(put(gone, 0, SIZE / 4), SIZE / 4);
	CHECK_EQ(remove_file("gone"), 0);
	CHECK_EQ(left(), SIZE / 4);
	CHECK_EQ(guest__init(), 0);
	CHECK_EQ(left(), SIZE / 2); /* what was open alone is closed */
	CHECK_EQ(remove_file("file"), 0);
	CHECK_EQ(left(), SIZE);
	guest__stop();
}

static void plant(void)
{
	write_file(host("small"), 10 * BLOCK);
	write_file(host("large"), MIB);
	write_file(host("larger"), MIB + BLOCK);
	CHECK_EQ(link(host("small"), host("small2")), 0);
	CHECK_EQ(mkdir(layer("kept"), 0755), 0);
	write_file(layer("kept/a"), SIZE / 2 - 2 * BLOCK);
	CHECK_EQ(link(layer("kept/a"), layer("kept/b")), 0);
	CHECK_EQ(mknod(layer("none"), S_IFCHR, 0), 0);
}

static void a_layer_counts_with_what_it_has_and_what_is_copied(void)
{
	uint64_t fh;
	start_with(true, plant);
	uint64_t before = left();
	CHECK(before <= SIZE / 2 && before >= SIZE / 2 - 3 * BLOCK);
	uint64_t small = guest__lookup(ROOT, "small"), large = guest__lookup(ROOT, "larger");
	CHECK_EQ(guest__open(small, O_WRONLY, &fh), 0); /* is copied */
	CHECK_EQ(left(), before - 10 * BLOCK);
	CHECK_EQ(guest__write(small, fh, 0, zeros, BLOCK, 0), BLOCK);
	CHECK_EQ(left(), before - 10 * BLOCK);
	CHECK_EQ(guest__chmod(large, 0600), -ENOSPC);
	CHECK_EQ(guest__truncate(large, BLOCK), -ENOSPC);
	CHECK_EQ(guest__open(large, O_WRONLY, &fh), -ENOSPC);
	CHECK_EQ(guest__open(large, O_WRONLY | O_TRUNC, &fh), 0); /* copied without what it held */
	CHECK_EQ(left(), before - 11 * BLOCK);
	CHECK_EQ(guest__release(large, fh, false), 0);
	struct file file = make("file");
	fill(file, 0);
	CHECK(on_host(guest.layer) <= SIZE + SLACK);
	/* without room, too, the guest can remove */
	CHECK_EQ(remove_file("large"), 0);
	CHECK_EQ(guest__lookup(ROOT, "large"), 0);
	CHECK(left() < BLOCK);
	close_file(file);
	CHECK_EQ(remove_file("file"), 0);
	CHECK_EQ(remove_file("larger"), 0);
	CHECK_EQ(left(), before - 10 * BLOCK);
	uint64_t kept = guest__lookup(ROOT, "kept");
	CHECK_EQ(guest__op(FUSE_UNLINK, kept, NULL, 0, "a", NULL), 0);
	CHECK_EQ(guest__op(FUSE_UNLINK, kept, NULL, 0, "b", NULL), 0);
	CHECK(left() >= SIZE - 14 * BLOCK);
	guest__stop();
}

static void plant_deeply(void)
{
	char path[PATH_MAX];
	int n = snprintf(path, sizeof(path), "%s", layer("d"));
	for (unsigned i = 0; i < 300; i++) {
		CHECK_EQ(mkdir(path, 0755), 0);
		n += snprintf(path + n, sizeof(path) - (size_t)n, "/d");
	}
}

static void what_is_hidden_deeply_leaves_no_room(void)
{
	start_with(true, plant_deeply);
	CHECK_EQ(left(), 0);
	guest__stop();
}

int main(void)
{
	CASE(writes_end_where_the_size_is_reached);
	CASE(what_the_page_cache_holds_is_written_whole_or_not_at_all);
	CASE(holes_cost_nothing_until_they_are_filled);
	CASE(what_was_allocated_can_be_written_when_there_is_no_room);
	CASE(copies_count);
	CASE(small_files_and_names_count);
	CASE(attributes_count);
	CASE(an_open_file_counts_until_it_is_closed);
	CASE(so_does_one_that_is_open_by_another_share);
	CASE(renames_keep_what_counts);
	CASE(what_the_host_changes_neither_helps_nor_harms);
	CASE(a_guest_that_begins_anew_has_no_more_room);
	CASE(a_layer_counts_with_what_it_has_and_what_is_copied);
	CASE(what_is_hidden_deeply_leaves_no_room);
	return check__done();
}
