/* virtio-fs: requests for transactions wait while a device stands, and are served when it is to look again. */
#include "fs_guest.h"

#define ROOT FUSE_ROOT_ID

static void look(void *dev)
{
	virtio_fs__look(dev);
}

static void go_on(void)
{
	virtio_fs__stand(guest.dd.dev, false);
	CHECK_EQ(loop__call(guest.dd.loop, look, guest.dd.dev), 0);
}

static void what_is_asked_while_it_stands_is_answered_afterwards(void)
{
	static struct fs_root root;
	uint32_t used = 0;
	root = (struct fs_root){.name = "0", .layered = true};
	guest__start(&root, 1, true);
	host__write(host("file"), "content");
	CHECK(virtio_fs__is_layered(guest.dd.dev));
	virtio_fs__stand(guest.dd.dev, true);
	struct fuse_in_header *in = driver__at(&guest.d, guest.request_gpa);
	struct fuse_out_header *out = driver__at(&guest.d, guest.reply_gpa);
	struct driver_buf bufs[2] = {{guest.request_gpa, sizeof(*in) + 5}, {guest.reply_gpa, 512}};
	*in = (struct fuse_in_header){.len = bufs[0].len, .opcode = FUSE_UNLINK, .unique = 7000, .nodeid = ROOT};
	memcpy(in + 1, "file", 5);
	CHECK(driver_queue__add(&guest.requests, bufs, 1, 1) >= 0);
	for (unsigned i = 0; i < 3; i++) {
		driver_device__kick(&guest.dd, 0);
		driver_device__kick(&guest.dd, 1);
	}
	CHECK(driver_queue__used(&guest.requests, &used) < 0);
	CHECK(access(layer("file"), F_OK) < 0);
	go_on();
	CHECK(driver_queue__wait(&guest.requests, &used, 5000) >= 0);
	CHECK_EQ(out->unique, 7000);
	CHECK_EQ(out->error, 0);
	CHECK_EQ(guest__lookup(ROOT, "file"), 0);
	guest__stop();
}

/* A LOOKUP with buffers of its own. */
static void ask(unsigned serial, uint64_t node, const char *name)
{
	uint64_t at = guest.request_gpa + 4096 + (uint64_t)serial * 1024;
	struct fuse_in_header *in = driver__at(&guest.d, at);
	struct driver_buf bufs[2] = {{at, (uint32_t)(sizeof(*in) + strlen(name) + 1)}, {at + 512, 512}};
	*in = (struct fuse_in_header){
		.len = bufs[0].len, .opcode = FUSE_LOOKUP, .unique = 7000 + serial, .nodeid = node};
	memcpy(in + 1, name, strlen(name) + 1);
	CHECK(driver_queue__add(&guest.requests, bufs, 1, 1) >= 0);
	driver_device__kick(&guest.dd, 1);
}

static const struct fuse_out_header *answer_of(unsigned serial)
{
	return driver__at(&guest.d, guest.request_gpa + 4096 + (uint64_t)serial * 1024 + 512);
}

static void shares_of_one_layer_do_not_stand(void)
{
	enum { MANY = 100 }; /* more than are served at once */
	static struct fs_root roots[2];
	uint32_t used;
	roots[0] = (struct fs_root){.name = "0", .layered = true};
	roots[1] = (struct fs_root){.name = "1"};
	guest__start(roots, 2, false);
	uint64_t layered = guest__lookup(ROOT, "0"), plain = guest__lookup(ROOT, "1");
	virtio_fs__stand(guest.dd.dev, true);
	for (unsigned i = 0; i < MANY; i++)
		ask(i, layered, "later");
	CHECK_EQ(guest__mkdir(plain, "dir", 0755), 0);
	CHECK(guest__lookup(plain, "dir") != 0);
	guest__forget(guest__lookup(plain, "dir"), 1);
	CHECK_EQ(mkdir(host("0/later"), 0755), 0);
	for (unsigned i = 0; i < MANY; i++)
		CHECK_EQ(answer_of(i)->len, 0);
	go_on();
	for (eventfd_t kicks; !eventfd_read(guest.requests.kick_fd, &kicks);) /* the device's own, for the rest */
		driver_device__kick(&guest.dd, 1);
	for (unsigned i = 0; i < MANY; i++) {
		CHECK(driver_queue__wait(&guest.requests, &used, 5000) >= 0);
		CHECK_EQ(used, sizeof(struct fuse_out_header) + sizeof(struct fuse_entry_out));
	}
	for (unsigned i = 0; i < MANY; i++) {
		CHECK_EQ(answer_of(i)->unique, 7000 + i);
		CHECK_EQ(answer_of(i)->error, 0);
	}
	CHECK(guest__lookup(layered, "later") != 0);
	guest__stop();
}

static void a_copy_from_another_share_does_not_pass_it(void)
{
	static struct fs_root roots[2];
	uint64_t to, to_fh, from_fh;
	roots[0] = (struct fs_root){.name = "0", .layered = true};
	roots[1] = (struct fs_root){.name = "1"};
	guest__start(roots, 2, false);
	host__write(host("1/from"), "content");
	uint64_t from = guest__lookup(guest__lookup(ROOT, "1"), "from");
	CHECK_EQ(guest__create(guest__lookup(ROOT, "0"), "to", O_RDWR, 0644, &to, &to_fh), 0);
	CHECK_EQ(guest__open(from, O_RDONLY, &from_fh), 0);
	virtio_fs__stand(guest.dd.dev, true);
	struct fuse_copy_file_range_in in = {.fh_in = from_fh, .nodeid_out = to, .fh_out = to_fh, .len = 7};
	CHECK_EQ(guest__op(FUSE_COPY_FILE_RANGE, from, &in, sizeof(in), NULL, NULL), -EXDEV);
	go_on();
	CHECK_EQ(guest__read(to, to_fh, 0, 100), 0);
	guest__stop();
}

static void what_an_apply_has_made_goes_when_the_guest_removes_it(void)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0", .layered = true};
	uint64_t file, fh;
	guest__start(&root, 1, true);
	CHECK_EQ(guest__mkdir(ROOT, "dir", 0755), 0);
	uint64_t dir = guest__lookup(ROOT, "dir");
	CHECK_EQ(guest__mkdir(dir, "sub", 0755), 0);
	uint64_t sub = guest__lookup(dir, "sub");
	CHECK_EQ(guest__create(sub, "f", O_WRONLY, 0644, &file, &fh), 0);
	CHECK_EQ(guest__release(file, fh, false), 0);
	virtio_fs__stand(guest.dd.dev, true);
	CHECK_EQ(mkdir(host("dir"), 0755), 0);
	CHECK_EQ(mkdir(host("dir/sub"), 0755), 0);
	host__write(host("dir/sub/f"), "");
	go_on();
	/* by its node: a process in a directory does not look that up */
	CHECK_EQ(guest__op(FUSE_UNLINK, sub, NULL, 0, "f", NULL), 0);
	CHECK_EQ(guest__lookup(sub, "f"), 0);
	CHECK_EQ(guest__lookup(guest__lookup(guest__lookup(ROOT, "dir"), "sub"), "f"), 0);
	CHECK_EQ(access(host("dir/sub/f"), F_OK), 0);
	guest__stop();
}

static void one_that_stands_can_be_ended(void)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0"};
	guest__start(&root, 1, true);
	CHECK(!virtio_fs__is_layered(guest.dd.dev));
	virtio_fs__stand(guest.dd.dev, true);
	driver_device__kick(&guest.dd, 1);
	guest__stop();
}

int main(void)
{
	CASE(what_is_asked_while_it_stands_is_answered_afterwards);
	CASE(shares_of_one_layer_do_not_stand);
	CASE(a_copy_from_another_share_does_not_pass_it);
	CASE(what_an_apply_has_made_goes_when_the_guest_removes_it);
	CASE(one_that_stands_can_be_ended);
	return check__done();
}
