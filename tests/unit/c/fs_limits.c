/* virtio-fs: a hundred thousand files, what the guest gives back, and requests that are garbage.
 */
#include <sys/resource.h>

#include "fs_guest.h"

#define ROOT FUSE_ROOT_ID

static void start(void)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0"};
	guest__start(&root, 1, true);
}

static void a_hundred_thousand_files_take_no_descriptors(void)
{
	start();
	enum { DIRS = 100, FILES = 1000 };
	struct guest_dirent *entries = malloc((FILES + 2) * sizeof(*entries));
	uint64_t total = 0, dirs[DIRS];
	for (int d = 0; d < DIRS; d++) {
		CHECK_EQ(mkdir(host("%d", d), 0755), 0);
		int at = open(host("%d", d), O_PATH | O_DIRECTORY);
		for (int f = 0; f < FILES; f++) {
			char name[16];
			snprintf(name, sizeof(name), "%d", f);
			CHECK_EQ(mknodat(at, name, S_IFREG | 0644, 0), 0);
		}
		close(at);
	}
	unsigned before = count_fds();
	for (int d = 0; d < DIRS; d++) {
		char name[16];
		snprintf(name, sizeof(name), "%d", d);
		dirs[d] = guest__lookup(ROOT, name);
		unsigned count = guest__list(dirs[d], true, 65536, entries, FILES + 2);
		CHECK_EQ(count, FILES + 2);
		for (unsigned i = 0; i < count; i++)
			total += entries[i].node != 0;
	}
	CHECK_EQ(total, DIRS * FILES);
	CHECK(count_fds() <= before + DIRS); /* the directories' */
	struct fuse_attr attr;
	CHECK_EQ(guest__getattr(entries[500].node, &attr), 0);
	/* given back, nothing is left: the session's numbers start over */
	for (unsigned i = 0; i < FILES + 2; i++)
		if (entries[i].node)
			guest__forget(entries[i].node, 1);
	CHECK_EQ(guest__getattr(entries[500].node, &attr), -ESTALE);
	CHECK_EQ(guest__getattr(dirs[0], &attr), 0);
	free(entries);
	guest__stop();
}

static void a_guest_holds_no_more_inodes_than_its_memory_would(void)
{
	enum { DIRS = 70, FILES = 1000, MOST = 65536 };
	struct guest_dirent *entries = malloc((FILES + 2) * sizeof(*entries));
	uint64_t held = 1, last = 0; /* the root */
	guest__memory = MOST << 10;
	start();
	guest__memory = 0;
	host__write(host("more"), "");
	for (int d = 0; d < DIRS && held < MOST; d++) {
		char name[16];
		CHECK_EQ(mkdir(host("%d", d), 0755), 0);
		int at = open(host("%d", d), O_PATH | O_DIRECTORY);
		for (int f = 0; f < FILES; f++) {
			snprintf(name, sizeof(name), "%d", f);
			CHECK_EQ(mknodat(at, name, S_IFREG | 0644, 0), 0);
		}
		close(at);
		snprintf(name, sizeof(name), "%d", d);
		uint64_t dir = guest__lookup(ROOT, name);
		held++;
		unsigned count = guest__list(dir, true, 65536, entries, FILES + 2);
		CHECK_EQ(count, FILES + 2); /* those of which it is not told more, too */
		for (unsigned i = 0; i < count; i++) {
			held += entries[i].node != 0;
			last = entries[i].node ? entries[i].node : last;
		}
	}
	CHECK_EQ(held, MOST);
	CHECK_EQ(guest__op(FUSE_LOOKUP, ROOT, NULL, 0, "more", NULL), -ENFILE);
	guest__forget(last, 1);
	CHECK(guest__lookup(ROOT, "more") != 0);
	free(entries);
	guest__stop();
}

size_t __sanitizer_get_current_allocated_bytes(void);

static void directories_that_are_half_read_take_little(void)
{
	enum { HANDLES = 3000, FILES = 100 };
	static uint64_t handles[HANDLES], offsets[HANDLES];
	start();
	for (int f = 0; f < FILES; f++)
		host__write(host("%d", f), "");
	for (int h = 0; h < HANDLES; h++)
		CHECK_EQ(guest__opendir(ROOT, &handles[h]), 0);
	size_t before = __sanitizer_get_current_allocated_bytes();
	for (int h = 0; h < HANDLES; h++) {
		struct fuse_read_in in = {.fh = handles[h], .size = 320};
		CHECK_EQ(guest__op(FUSE_READDIR, ROOT, &in, sizeof(in), NULL, NULL), 0);
		CHECK_EQ(guest.reply_len, 320);
		offsets[h] = ((struct fuse_dirent *)(void *)((uint8_t *)guest__reply() + 288))->off;
	}
	CHECK(__sanitizer_get_current_allocated_bytes() - before < 6 << 20);
	for (int h = 0; h < HANDLES; h++) { /* each goes on where it was */
		unsigned count = 10;
		struct fuse_read_in in = {.fh = handles[h], .size = 4096, .offset = offsets[h]};
		do {
			CHECK_EQ(guest__op(FUSE_READDIR, ROOT, &in, sizeof(in), NULL, NULL), 0);
			for (size_t at = 0; at < guest.reply_len; count++) {
				const struct fuse_dirent *d = (void *)((uint8_t *)guest__reply() + at);
				in.offset = d->off;
				at += FUSE_DIRENT_ALIGN(sizeof(*d) + d->namelen);
			}
		} while (guest.reply_len);
		CHECK_EQ(count, FILES + 2);
	}
	CHECK(__sanitizer_get_current_allocated_bytes() <= before + 4096);
	guest__stop();
}

static void forgets_count(void)
{
	start();
	struct fuse_attr attr;
	host__write(host("f"), "");
	uint64_t node = guest__lookup(ROOT, "f"), fh;
	CHECK_EQ(guest__lookup(ROOT, "f"), node);
	CHECK_EQ(guest__lookup(ROOT, "f"), node);
	guest__forget(node, 2);
	CHECK_EQ(guest__getattr(node, &attr), 0);
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), 0);
	guest__forget(node, 1);
	CHECK_EQ(guest__getattr(node, &attr), 0); /* it is still open */
	CHECK_EQ(guest__release(node, fh, false), 0);
	CHECK_EQ(guest__getattr(node, &attr), -ESTALE);
	guest__forget(node, 1);
	guest__forget(0, 1);
	guest__forget(UINT64_MAX, UINT64_MAX);
	guest__forget(ROOT, UINT64_MAX); /* the root stays */
	CHECK_EQ(guest__getattr(ROOT, &attr), 0);
	uint64_t again = guest__lookup(ROOT, "f");
	CHECK(again && again != node); /* a number is never used twice */
	guest__forget(again, UINT64_MAX);
	CHECK_EQ(guest__getattr(again, &attr), -ESTALE);
	guest__stop();
}

static void batches_of_forgets_are_read_to_their_end_and_no_further(void)
{
	start();
	struct fuse_attr attr;
	struct {
		struct fuse_in_header header;
		struct fuse_batch_forget_in in;
		struct fuse_forget_one one[100];
	} * request;
	uint64_t nodes[100];
	for (int i = 0; i < 100; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%d", i);
		host__write(host("%d", i), "");
		nodes[i] = guest__lookup(ROOT, name);
	}
	request = driver__at(&guest.d, guest.request_gpa);
	request->header = (struct fuse_in_header){.len = sizeof(*request), .opcode = FUSE_BATCH_FORGET};
	request->in = (struct fuse_batch_forget_in){.count = UINT32_MAX}; /* it lies */
	for (int i = 0; i < 100; i++)
		request->one[i] = (struct fuse_forget_one){.nodeid = nodes[i], .nlookup = 1};
	CHECK_EQ(guest__send(&guest.urgent, 0, sizeof(*request), 0), 0);
	for (int i = 0; i < 100; i++)
		CHECK_EQ(guest__getattr(nodes[i], &attr), -ESTALE);
	guest__stop();
}

/* A request that is wrong in its frame gets no reply, or an error: never more than it has room for. */
static void frames_that_do_not_fit_are_refused(void)
{
	start();
	struct fuse_in_header *in = driver__at(&guest.d, guest.request_gpa);
	struct fuse_out_header *out = driver__at(&guest.d, guest.reply_gpa);
	static const uint32_t lengths[] = {0, 1, 39, 41, 4096, UINT32_MAX};
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		*in = (struct fuse_in_header){.len = lengths[i], .opcode = FUSE_GETATTR, .nodeid = ROOT, .unique = 9};
		CHECK_EQ(guest__send(&guest.requests, 1, sizeof(*in), 4096), 0);
	}
	*in = (struct fuse_in_header){.len = sizeof(*in), .opcode = FUSE_STATFS, .nodeid = ROOT, .unique = 9};
	CHECK_EQ(guest__send(&guest.requests, 1, sizeof(*in) - 1, 4096), 0); /* half a header */
	CHECK_EQ(guest__send(&guest.requests, 1, sizeof(*in), 15), 0);       /* no room for any reply */
	CHECK_EQ(guest__send(&guest.requests, 1, sizeof(*in), 16), 16);      /* room for an error */
	CHECK_EQ(out->error, -EIO);
	CHECK_EQ(guest__send(&guest.requests, 1, sizeof(*in), 16 + 79), 16);
	CHECK_EQ(guest__send(&guest.requests, 1, sizeof(*in), 16 + 80), 16 + 80);
	guest__stop();
}

static void every_operation_bears_a_short_or_random_body(void)
{
	start();
	host__write(host("f"), "text");
	uint64_t file = guest__lookup(ROOT, "f");
	uint8_t *body = (uint8_t *)driver__at(&guest.d, guest.request_gpa) + sizeof(struct fuse_in_header);
	uint32_t seed = 1;
	for (uint32_t op = 1; op <= 60; op++) {
		if (op == FUSE_FORGET || op == FUSE_BATCH_FORGET || op == FUSE_INTERRUPT)
			continue;
		for (uint32_t len = 0; len < 128; len += 3) {
			for (uint32_t i = 0; i < len; i++)
				body[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
			guest__request(op,
				       op == FUSE_INIT || op == FUSE_DESTROY ? 0
				       : len % 2                             ? ROOT
									     : file,
				       len, 4096);
			if (op == FUSE_INIT || op == FUSE_DESTROY) {
				CHECK_EQ(guest__init(), 0);
				file = guest__lookup(ROOT, "f");
			}
		}
	}
	CHECK_EQ(chmod(guest.host, 0755), 0); /* it may have been closed to us */
	CHECK(S_ISREG(host__stat(host("f")).st_mode));
	guest__stop();
}

static void writes_that_claim_more_than_they_bring_are_refused(void)
{
	start();
	uint64_t node, fh;
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0644, &node, &fh), 0);
	static const uint32_t sizes[] = {9, 4096, (1 << 20) + 1, UINT32_MAX};
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		struct fuse_write_in in = {.fh = fh, .size = sizes[i], .flags = O_RDWR};
		uint8_t body[sizeof(in) + 8] = {0};
		memcpy(body, &in, sizeof(in));
		CHECK_EQ(guest__op(FUSE_WRITE, node, body, sizeof(body), NULL, NULL), -EINVAL);
	}
	CHECK_EQ(guest__write(node, fh, UINT64_MAX, "x", 1, O_RDWR), -EINVAL);
	CHECK_EQ(guest__write(node, fh, INT64_MAX, "x", 1, O_RDWR), -EINVAL);
	CHECK_EQ(guest__read(node, fh, UINT64_MAX, 10), -EINVAL);
	CHECK_EQ(host__stat(host("f")).st_size, 0);
	guest__stop();
}

static void a_file_past_the_processs_limit_is_too_large(void)
{
	struct rlimit old, small;
	start();
	uint64_t node, fh;
	CHECK_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){.rlim_cur = 4096, .rlim_max = old.rlim_max};
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
	long written = guest__write(node, fh, 4096, "x", 1, O_RDWR);
	int err = guest__truncate(node, 8192);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
	CHECK_EQ(written, -EFBIG); /* and no signal ended the process */
	CHECK_EQ(err, -EFBIG);
	guest__stop();
}

static void a_handle_is_good_for_its_own_node_only(void)
{
	start();
	uint64_t a, a_fh, b, b_fh, dir;
	CHECK_EQ(guest__create(ROOT, "a", O_RDWR, 0644, &a, &a_fh), 0);
	CHECK_EQ(guest__create(ROOT, "b", O_RDWR, 0644, &b, &b_fh), 0);
	CHECK_EQ(guest__opendir(ROOT, &dir), 0);
	CHECK_EQ(guest__read(a, b_fh, 0, 1), -EBADF);
	CHECK_EQ(guest__read(a, dir, 0, 1), -EBADF);
	CHECK_EQ(guest__read(a, 0, 0, 1), -EBADF);
	CHECK_EQ(guest__read(a, a_fh + (1ULL << 32), 0, 1), -EBADF);
	CHECK_EQ(guest__release(a, b_fh, false), -EBADF);
	CHECK_EQ(guest__release(ROOT, dir, false), -EBADF);
	struct fuse_read_in in = {.fh = a_fh, .size = 4096};
	CHECK_EQ(guest__op(FUSE_READDIR, a, &in, sizeof(in), NULL, NULL), -EBADF);
	CHECK_EQ(guest__op(FUSE_READDIRPLUS, ROOT, &in, sizeof(in), NULL, NULL), -EBADF);
	guest__stop();
}

static void many_requests_are_answered_with_one_notification(void)
{
	start();
	struct fuse_in_header *in = driver__at(&guest.d, guest.request_gpa);
	uint32_t len;
	*in = (struct fuse_in_header){.len = sizeof(*in), .opcode = FUSE_STATFS, .nodeid = ROOT};
	driver_queue__calls(&guest.requests);
	for (int i = 0; i < 200; i++) { /* more than a batch: the device comes back for the rest by itself */
		struct driver_buf bufs[2] = {{guest.request_gpa, sizeof(*in)},
					     {guest.reply_gpa + (unsigned)i * 256, 128}};
		if (driver_queue__add(&guest.requests, bufs, 1, 1) < 0) {
			CHECK(i >= 100);
			break;
		}
	}
	driver_device__kick(&guest.dd, 1);
	driver_device__kick(&guest.dd, 1);
	CHECK(driver_queue__calls(&guest.requests) <= 2);
	unsigned answered = 0;
	while (driver_queue__used(&guest.requests, &len) >= 0) {
		CHECK_EQ(len, 16 + sizeof(struct fuse_statfs_out));
		answered++;
	}
	CHECK_EQ(answered, 128);
	guest__stop();
}

int main(void)
{
	if (access("/dev/shm", W_OK) == 0) /* making the files is not what is tested */
		setenv("TMPDIR", "/dev/shm", 1);
	CASE(a_hundred_thousand_files_take_no_descriptors);
	CASE(a_guest_holds_no_more_inodes_than_its_memory_would);
	CASE(directories_that_are_half_read_take_little);
	CASE(forgets_count);
	CASE(batches_of_forgets_are_read_to_their_end_and_no_further);
	CASE(frames_that_do_not_fit_are_refused);
	CASE(every_operation_bears_a_short_or_random_body);
	CASE(writes_that_claim_more_than_they_bring_are_refused);
	CASE(a_file_past_the_processs_limit_is_too_large);
	CASE(a_handle_is_good_for_its_own_node_only);
	CASE(many_requests_are_answered_with_one_notification);
	return check__done();
}
