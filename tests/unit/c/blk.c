/* virtio-blk: sectors come and go, and requests that are none are answered as such. */
#include "virtio/blk.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "driver.h"
#include "virtio/blk/disk.h"

#define SECTORS 64

enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8 };
enum { OK = 0, IOERR = 1, UNSUPP = 2, UNTOUCHED = 0xee };

static struct driver d;
static struct driver_queue q;
static struct driver_device dd;
static char path[] = "/tmp/capsa-blk-XXXXXX";
static int file; /* the disk, as the host sees it */
static const struct file_identity anything = {.known = false};

static void set_up(bool read_only, unsigned options)
{
	struct virtio_device *dev;
	struct failure why;
	struct blk_options blk = {.read_only = read_only, .id = "disk0"};
	strcpy(path + sizeof(path) - 7, "XXXXXX");
	file = mkostemp(path, O_CLOEXEC);
	CHECK(file >= 0);
	for (unsigned i = 0; i < SECTORS; i++) {
		uint8_t sector[BLK_SECTOR];
		memset(sector, (int)i + 1, sizeof(sector));
		CHECK_EQ(write(file, sector, sizeof(sector)), BLK_SECTOR);
	}
	blk.fd = disk__open(path, &anything, read_only, &blk.sectors, &why);
	CHECK(blk.fd >= 0);
	CHECK_EQ(blk.sectors, SECTORS);
	driver__init(&d, 4 << 20);
	CHECK_EQ(virtio_blk__new(&blk, &dev), 0);
	dev->driver_features = dev->ops->features;
	driver_device__start(&dd, dev);
	driver_queue__init(&q, &d, &dev->queues[0], 128, options);
	driver_device__activate(&dd);
}

static void tear_down(void)
{
	driver_device__stop(&dd);
	driver_queue__free(&q);
	driver__free(&d);
	close(file);
	unlink(path);
}

static uint8_t at(unsigned sector, unsigned offset)
{
	uint8_t byte = 0;
	CHECK_EQ(pread(file, &byte, 1, sector * BLK_SECTOR + offset), 1);
	return byte;
}

static struct driver_buf header(uint32_t type, uint64_t sector)
{
	struct driver_buf buf = {driver__alloc(&d, 16), 16};
	uint32_t words[] = {type, 0};
	memcpy(driver__at(&d, buf.gpa), words, 8);
	memcpy((uint8_t *)driver__at(&d, buf.gpa) + 8, &sector, 8);
	return buf;
}

static struct driver_buf buffer(uint32_t len, int fill)
{
	struct driver_buf buf = {driver__alloc(&d, len), len};
	memset(driver__at(&d, buf.gpa), fill, len);
	return buf;
}

static uint8_t byte_of(struct driver_buf buf, unsigned offset)
{
	return *((const uint8_t *)driver__at(&d, buf.gpa) + offset);
}

/* Offer the chain, wait for it, and tell the last byte of its last buffer, where the status is. */
static uint8_t ask(const struct driver_buf *bufs, unsigned out, unsigned in, uint32_t *len)
{
	CHECK(driver_queue__add(&q, bufs, out, in) >= 0);
	driver_device__kick(&dd, 0);
	CHECK(driver_queue__wait(&q, len, 5000) >= 0);
	return in ? byte_of(bufs[out + in - 1], bufs[out + in - 1].len - 1) : UNTOUCHED;
}

static void the_guest_is_told_of_the_disk(void)
{
	set_up(false, 0);
	uint64_t capacity;
	uint32_t seg_max, blk_size;
	uint8_t all[64];
	CHECK_EQ(dd.dev->ops->id, VIRTIO_ID_BLOCK);
	CHECK(dd.dev->ops->config_size >= 60); /* what QEMU asks for */
	dd.dev->ops->read_config(dd.dev, 0, all, dd.dev->ops->config_size);
	dd.dev->ops->read_config(dd.dev, 0, &capacity, 8);
	dd.dev->ops->read_config(dd.dev, 12, &seg_max, 4);
	dd.dev->ops->read_config(dd.dev, 20, &blk_size, 4);
	CHECK_EQ(capacity, SECTORS);
	CHECK_EQ(seg_max, 126);
	CHECK_EQ(blk_size, 512);
	CHECK_EQ(dd.dev->ops->features & 1U << 5, 0);
	struct driver_buf bufs[] = {header(GET_ID, 0), buffer(20, 0xff), buffer(1, UNTOUCHED)};
	uint32_t len;
	CHECK_EQ(ask(bufs, 1, 2, &len), OK);
	CHECK_EQ(len, 21);
	CHECK_STR((const char *)driver__at(&d, bufs[1].gpa), "disk0");
	CHECK_EQ(byte_of(bufs[1], 19), 0);
	tear_down();
}

static void sectors_are_read_and_written(void)
{
	static const unsigned layouts[] = {0, DRIVER_EVENT_IDX | DRIVER_INDIRECT};
	for (unsigned i = 0; i < 2; i++) {
		set_up(false, layouts[i]);
		uint32_t len;
		/* scattered: buffers need not be whole sectors */
		struct driver_buf in[] = {header(IN, 5), buffer(100, 0), buffer(924, 0), buffer(1, UNTOUCHED)};
		CHECK_EQ(ask(in, 1, 3, &len), OK);
		CHECK_EQ(len, 1025);
		CHECK_EQ(byte_of(in[1], 0), 6);
		CHECK_EQ(byte_of(in[2], 411), 6);
		CHECK_EQ(byte_of(in[2], 412), 7);
		struct driver_buf out[] = {header(OUT, 62), buffer(1000, 'x'), buffer(24, 'y'), buffer(1, UNTOUCHED)};
		CHECK_EQ(ask(out, 3, 1, &len), OK);
		CHECK_EQ(len, 1);
		CHECK_EQ(at(61, 511), 62);
		CHECK_EQ(at(62, 0), 'x');
		CHECK_EQ(at(63, 487), 'x');
		CHECK_EQ(at(63, 488), 'y');
		struct driver_buf flush[] = {header(FLUSH, 0), buffer(1, UNTOUCHED)};
		CHECK_EQ(ask(flush, 1, 1, &len), OK);
		tear_down();
	}
}

/* Section 2.7.4: the device makes nothing of where one buffer ends and the next begins. */
static void header_and_status_need_no_buffers_of_their_own(void)
{
	set_up(false, 0);
	uint32_t len;
	struct driver_buf out[] = {buffer(16 + 512, 'z'), buffer(1, UNTOUCHED)};
	memcpy(driver__at(&d, out[0].gpa), driver__at(&d, header(OUT, 3).gpa), 16);
	CHECK_EQ(ask(out, 1, 1, &len), OK);
	CHECK_EQ(at(3, 0), 'z');
	CHECK_EQ(at(3, 511), 'z');
	CHECK_EQ(at(4, 0), 5);
	struct driver_buf in[] = {header(IN, 3), buffer(513, UNTOUCHED)};
	struct driver_buf split[] = {{in[0].gpa, 4}, {in[0].gpa + 4, 12}, in[1]};
	CHECK_EQ(ask(split, 2, 1, &len), OK);
	CHECK_EQ(len, 513);
	CHECK_EQ(byte_of(in[1], 511), 'z');
	tear_down();
}

static void what_lies_outside_is_refused(void)
{
	static const struct {
		uint64_t sector;
		uint32_t bytes;
	} list[] = {{SECTORS, 512},          {SECTORS - 1, 1024},     {UINT64_MAX, 512}, {UINT64_MAX - 1, 1024},
		    {1ULL << 55, 512},       {(1ULL << 55) + 1, 512}, {0, 511},          {0, 513},
		    {0, (SECTORS + 1) * 512}};
	set_up(false, 0);
	for (unsigned i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		uint32_t len;
		struct driver_buf in[] = {header(IN, list[i].sector), buffer(list[i].bytes, 0xaa),
					  buffer(1, UNTOUCHED)};
		CHECK_EQ(ask(in, 1, 2, &len), IOERR);
		CHECK_EQ(len, 1);
		CHECK_EQ(byte_of(in[1], 0), 0xaa);
		struct driver_buf out[] = {header(OUT, list[i].sector), buffer(list[i].bytes, 'x'),
					   buffer(1, UNTOUCHED)};
		CHECK_EQ(ask(out, 2, 1, &len), IOERR);
	}
	for (unsigned i = 0; i < SECTORS; i++)
		CHECK_EQ(at(i, 0), i + 1);
	struct stat st;
	CHECK_EQ(fstat(file, &st), 0);
	CHECK_EQ(st.st_size, SECTORS * BLK_SECTOR);
	tear_down();
}

static void a_read_only_disk_is_not_written(void)
{
	set_up(true, 0);
	uint32_t len;
	CHECK(dd.dev->ops->features & 1U << 5);
	struct driver_buf out[] = {header(OUT, 0), buffer(512, 'x'), buffer(1, UNTOUCHED)};
	CHECK_EQ(ask(out, 2, 1, &len), IOERR);
	CHECK_EQ(at(0, 0), 1);
	struct driver_buf in[] = {header(IN, 0), buffer(512, 0), buffer(1, UNTOUCHED)};
	CHECK_EQ(ask(in, 1, 2, &len), OK);
	CHECK_EQ(byte_of(in[1], 0), 1);
	struct driver_buf flush[] = {header(FLUSH, 0), buffer(1, UNTOUCHED)};
	CHECK_EQ(ask(flush, 1, 1, &len), OK);
	tear_down();
}

static void requests_that_are_none_do_no_harm(void)
{
	set_up(false, 0);
	uint32_t len;
	struct driver_buf unknown[] = {header(77, 0), buffer(512, 0), buffer(1, UNTOUCHED)};
	CHECK_EQ(ask(unknown, 1, 2, &len), UNSUPP);
	struct driver_buf brief[] = {{header(IN, 0).gpa, 15}, buffer(513, UNTOUCHED)};
	CHECK_EQ(ask(brief, 1, 1, &len), IOERR);
	CHECK_EQ(len, 1);
	struct driver_buf no_status[] = {header(OUT, 0), buffer(512, 'x')};
	ask(no_status, 2, 0, &len);
	CHECK_EQ(len, 0);
	CHECK_EQ(at(0, 0), 1);
	struct driver_buf no_header[] = {buffer(513, UNTOUCHED)};
	CHECK_EQ(ask(no_header, 0, 1, &len), IOERR);
	struct driver_buf small_id[] = {header(GET_ID, 0), buffer(3, UNTOUCHED)};
	CHECK_EQ(ask(small_id, 1, 1, &len), OK);
	CHECK_EQ(len, 3);
	struct driver_buf nothing[] = {header(OUT, 0), buffer(1, UNTOUCHED)};
	CHECK_EQ(ask(nothing, 1, 1, &len), OK);
	tear_down();
}

static void a_file_that_was_cut_short_fails(void)
{
	set_up(false, 0);
	uint32_t len;
	CHECK_EQ(ftruncate(file, 1024), 0);
	struct driver_buf in[] = {header(IN, 1), buffer(1024, 0), buffer(1, UNTOUCHED)};
	CHECK_EQ(ask(in, 1, 2, &len), IOERR);
	CHECK_EQ(len, 1);
	tear_down();
}

static void a_full_ring_takes_more_than_one_turn(void)
{
	set_up(false, DRIVER_INDIRECT);
	uint32_t len;
	struct driver_buf status[128];
	for (unsigned i = 0; i < 128; i++) {
		struct driver_buf in[] = {header(IN, i % SECTORS), buffer(512, 0), buffer(1, UNTOUCHED)};
		status[i] = in[2];
		CHECK(driver_queue__add(&q, in, 1, 2) >= 0);
	}
	driver_device__kick(&dd, 0);
	for (unsigned i = 0; i < 128; i++)
		CHECK(driver_queue__wait(&q, &len, 5000) >= 0);
	for (unsigned i = 0; i < 128; i++)
		CHECK_EQ(byte_of(status[i], 0), OK);
	tear_down();
}

static void it_works_again_after_a_reset(void)
{
	set_up(false, 0);
	uint32_t len;
	driver_device__reset(&dd);
	driver_device__kick(&dd, 0);
	driver_queue__free(&q);
	driver_queue__init(&q, &d, &dd.dev->queues[0], 16, 0);
	driver_device__activate(&dd);
	struct driver_buf in[] = {header(IN, 9), buffer(512, 0), buffer(1, UNTOUCHED)};
	CHECK_EQ(ask(in, 1, 2, &len), OK);
	CHECK_EQ(byte_of(in[1], 0), 10);
	tear_down();
}

static int open_error(const char *name, bool read_only, const char *words)
{
	struct failure why = {.message = ""};
	uint64_t sectors;
	int fd = disk__open(name, &anything, read_only, &sectors, &why);
	CHECK(fd < 0);
	if (!strstr(why.message, words))
		printf("# \"%s\" does not say \"%s\"\n", why.message, words);
	CHECK(strstr(why.message, words));
	return fd;
}

static void what_is_no_disk_is_refused_in_words(void)
{
	struct failure why;
	uint64_t sectors;
	set_up(false, 0);
	CHECK_EQ(open_error(path, true, "in use"), -EBUSY);
	tear_down();
	CHECK_EQ(open_error(path, true, "ENOENT"), -ENOENT);
	CHECK_EQ(open_error("/tmp", true, "neither a file nor a block device"), -EINVAL);
	CHECK_EQ(open_error("/dev/null", true, "neither a file nor a block device"), -EINVAL);
	set_up(true, 0);
	int shared = disk__open(path, &anything, true, &sectors, &why);
	CHECK(shared >= 0);
	close(shared);
	CHECK_EQ(open_error(path, false, "in use"), -EBUSY);
	CHECK_EQ(ftruncate(file, 1025), 0);
	CHECK_EQ(open_error(path, true, "1025 bytes; a disk is made of one or more sectors of 512"), -EINVAL);
	CHECK_EQ(ftruncate(file, 0), 0);
	CHECK_EQ(open_error(path, true, "0 bytes"), -EINVAL);
	tear_down();
}

static void a_disk_is_the_one_that_was_looked_at(void)
{
	struct failure why = {.message = ""};
	struct stat st;
	uint64_t sectors;
	set_up(true, 0);
	CHECK_EQ(fstat(file, &st), 0);
	struct file_identity identity = {.known = true, .dev = st.st_dev, .ino = st.st_ino};
	int fd = disk__open(path, &identity, true, &sectors, &why);
	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(unlink(path), 0);
	CHECK_EQ(symlink("/dev/zero", path), 0);
	CHECK_EQ(disk__open(path, &identity, true, &sectors, &why), -ESTALE);
	CHECK(strstr(why.message, "another one has its name by now"));
	tear_down();
}

int main(void)
{
	CASE(the_guest_is_told_of_the_disk);
	CASE(sectors_are_read_and_written);
	CASE(header_and_status_need_no_buffers_of_their_own);
	CASE(what_lies_outside_is_refused);
	CASE(a_read_only_disk_is_not_written);
	CASE(requests_that_are_none_do_no_harm);
	CASE(a_file_that_was_cut_short_fails);
	CASE(a_full_ring_takes_more_than_one_turn);
	CASE(it_works_again_after_a_reset);
	CASE(a_disk_is_the_one_that_was_looked_at);
	CASE(what_is_no_disk_is_refused_in_words);
	return check__done();
}
