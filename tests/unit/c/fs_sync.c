/* virtio-fs: the guest's sync is the host's, of a whole file system, and is made no more often than need be. */
#include "fs_guest.h"

#define ROOT FUSE_ROOT_ID

enum { AT_ONCE = 9 }; /* so many may follow upon one another */

static _Atomic unsigned synced; /* calls of syncfs(2) */
static _Atomic int failing;

int syncfs(int fd)
{
	CHECK(fd >= 0);
	synced++;
	errno = failing;
	return failing ? -1 : 0;
}

static uint64_t file, handle;

static void start(void)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0"};
	guest__start(&root, 1, true);
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0644, &file, &handle), 0);
	synced = 0;
	failing = 0;
}

static int sync_now(void)
{
	struct fuse_syncfs_in in = {0};
	return guest__op(FUSE_SYNCFS, ROOT, &in, sizeof(in), NULL, NULL);
}

static void change(void)
{
	CHECK_EQ(guest__write(file, handle, 0, "x", 1, O_RDWR), 1);
}

static void what_was_not_changed_is_not_synced(void)
{
	struct fuse_attr attr;
	start();
	CHECK_EQ(sync_now(), 0);
	CHECK_EQ(synced, 1); /* the file was made */
	for (unsigned i = 0; i < 100; i++)
		CHECK_EQ(sync_now(), 0);
	CHECK_EQ(guest__getattr(file, &attr), 0);
	CHECK_EQ(sync_now(), 0);
	CHECK_EQ(synced, 1);
	change();
	CHECK_EQ(sync_now(), 0);
	CHECK_EQ(synced, 2);
	change();
	failing = EIO;
	CHECK_EQ(sync_now(), -EIO); /* what failed is tried again */
	failing = 0;
	CHECK_EQ(sync_now(), 0);
	CHECK_EQ(synced, 4);
	struct fuse_copy_file_range_in copy = {
		.fh_in = handle, .nodeid_out = file, .fh_out = handle, .off_out = 4, .len = 1};
	CHECK_EQ(guest__op(FUSE_COPY_FILE_RANGE, file, &copy, sizeof(copy), NULL, NULL), 0);
	CHECK_EQ(sync_now(), 0);
	CHECK_EQ(synced, 5);
	guest__stop();
}

/* Have one more request wait, at gpa. */
static void ask(uint64_t gpa)
{
	struct fuse_in_header *in = driver__at(&guest.d, gpa);
	struct driver_buf bufs[2] = {{gpa, sizeof(*in) + sizeof(struct fuse_syncfs_in)}, {gpa + 64, 64}};
	*in = (struct fuse_in_header){.len = bufs[0].len, .opcode = FUSE_SYNCFS, .unique = gpa, .nodeid = ROOT};
	CHECK(driver_queue__add(&guest.requests, bufs, 1, 1) >= 0);
	driver_device__kick(&guest.dd, 1);
}

static void a_guest_that_does_not_cease_to_ask_waits(void)
{
	enum { WAITING = 20 };
	uint64_t gpa[WAITING];
	start();
	for (unsigned i = 0; i < AT_ONCE; i++) {
		change();
		CHECK_EQ(sync_now(), 0);
	}
	CHECK_EQ(synced, AT_ONCE);
	change();
	for (unsigned i = 0; i < WAITING; i++) {
		gpa[i] = driver__alloc(&guest.d, 128);
		ask(gpa[i]);
	}
	CHECK_EQ(synced, AT_ONCE);
	change(); /* all else goes on meanwhile */
	uint32_t used = 0;
	for (unsigned i = 0; i < WAITING; i++) {
		CHECK(driver_queue__wait(&guest.requests, &used, 5000) >= 0);
		CHECK_EQ(used, sizeof(struct fuse_out_header));
	}
	for (unsigned i = 0; i < WAITING; i++) {
		const struct fuse_out_header *out = driver__at(&guest.d, gpa[i] + 64);
		CHECK(out->unique == gpa[i] && !out->error);
	}
	CHECK_EQ(synced, AT_ONCE + 1); /* one for all who waited */
	guest__stop();
}

static void set_queues(void *arg)
{
	for (unsigned i = 0; i < 2; i++) {
		struct driver_queue *q = i ? &guest.requests : &guest.urgent;
		if (arg)
			guest.dd.result = virtqueue__enable(q->vq, q->desc, q->avail, q->used);
		else
			virtqueue__disable(q->vq);
	}
}

static void who_waits_waits_through_a_pause_and_ends_with_a_reset(void)
{
	uint32_t used = 0;
	start();
	for (unsigned i = 0; i <= AT_ONCE; i++) {
		change();
		if (i < AT_ONCE)
			CHECK_EQ(sync_now(), 0);
	}
	ask(driver__alloc(&guest.d, 128));
	CHECK_EQ(loop__call(guest.dd.loop, set_queues, NULL), 0);
	usleep(1500000);
	CHECK_EQ(synced, AT_ONCE);
	CHECK_EQ(loop__call(guest.dd.loop, set_queues, &guest), 0);
	CHECK_EQ(guest.dd.result, 0);
	driver_device__kick(&guest.dd, 1);
	CHECK(driver_queue__wait(&guest.requests, &used, 5000) >= 0);
	CHECK_EQ(used, sizeof(struct fuse_out_header));
	CHECK_EQ(synced, AT_ONCE + 1);
	change();
	ask(driver__alloc(&guest.d, 128));
	driver_device__reset(&guest.dd);
	usleep(1500000);
	CHECK_EQ(synced, AT_ONCE + 1);
	guest__stop();
}

int main(void)
{
	CASE(what_was_not_changed_is_not_synced);
	CASE(a_guest_that_does_not_cease_to_ask_waits);
	CASE(who_waits_waits_through_a_pause_and_ends_with_a_reset);
	return check__done();
}
