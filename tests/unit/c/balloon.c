/* virtio-balloon: pages that are named or reported are the host's again, and no others; what a guest should not say is
 * borne with. */
#include "virtio/balloon.h"

#include <sys/syscall.h>

#include "driver.h"

enum { INFLATE, DEFLATE, REPORTING, QUEUES };
enum { SIZE = 8 << 20, RINGS = 2 << 20, PAGE = BALLOON_PAGE }; /* RINGS: what the rings and buffers have */

static struct driver d;
static struct driver_queue q[QUEUES];
static struct driver_device dd;

/* Guest memory of `fd`, or private without (-1), with something in every page behind the rings. */
static void set_up(int fd)
{
	struct virtio_device *dev;
	driver__init(&d, SIZE);
	if (fd >= 0)
		CHECK(mmap(d.ram, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == d.ram);
	memset(d.ram, 0, RINGS); /* all of it is there */
	memset(d.ram + RINGS, 0xaa, SIZE - RINGS);
	CHECK_EQ(virtio_balloon__new(&dev), 0);
	CHECK_EQ(dev->ops->id, VIRTIO_ID_BALLOON);
	CHECK_EQ(dev->ops->num_queues, QUEUES);
	driver_device__start(&dd, dev);
	for (unsigned i = 0; i < QUEUES; i++)
		driver_queue__init(&q[i], &d, &dev->queues[i], 128, 0);
	driver_device__activate(&dd);
	d.next = (d.next + PAGE - 1) / PAGE * PAGE;
}

static void tear_down(void)
{
	driver_device__stop(&dd);
	for (unsigned i = 0; i < QUEUES; i++)
		driver_queue__free(&q[i]);
	driver__free(&d);
}

static uint32_t number(unsigned page)
{
	return DRIVER_BASE / PAGE + page;
}

/* Give page numbers to a queue, and wait for the buffer to come back. */
static void name(unsigned queue, const uint32_t *numbers, unsigned count)
{
	struct driver_buf buf = {driver__alloc(&d, 4 * 300), 4 * count};
	uint32_t len = 99;
	memcpy(driver__at(&d, buf.gpa), numbers, 4UL * count);
	CHECK(driver_queue__add(&q[queue], &buf, 1, 0) >= 0);
	driver_device__kick(&dd, queue);
	CHECK(driver_queue__wait(&q[queue], &len, 5000) >= 0);
	CHECK_EQ(len, 0);
}

static bool dropped(unsigned page)
{
	const uint8_t *at = d.ram + (size_t)page * PAGE;
	return at[0] == 0 && memcmp(at, at + 1, PAGE - 1) == 0;
}

static bool kept(unsigned page)
{
	const uint8_t *at = d.ram + (size_t)page * PAGE;
	return at[0] == 0xaa && memcmp(at, at + 1, PAGE - 1) == 0;
}

static void named_pages_are_dropped_and_no_others(void)
{
	/* up, down, alone, twice, and the last that there is */
	static const unsigned pages[] = {1000, 1001, 1002, 900, 899, 898, 1200, 1200, SIZE / PAGE - 1};
	uint32_t numbers[sizeof(pages) / sizeof(pages[0])];
	set_up(-1);
	for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		numbers[i] = number(pages[i]);
	name(INFLATE, numbers, sizeof(pages) / sizeof(pages[0]));
	for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		CHECK(dropped(pages[i]));
	static const unsigned others[] = {897, 901, 999, 1003, 1199, 1201, SIZE / PAGE - 2};
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		CHECK(kept(others[i]));
	name(DEFLATE, numbers, 1);
	memset(d.ram + 1000UL * PAGE, 0x55, PAGE); /* it is there once it is touched */
	tear_down();
}

static void memory_of_a_file_is_the_hosts_again(void)
{
	int fd = (int)syscall(SYS_memfd_create, "memory", 0);
	CHECK(fd >= 0 && ftruncate(fd, SIZE) == 0);
	set_up(fd);
	uint32_t numbers[256];
	for (unsigned i = 0; i < 256; i++)
		numbers[i] = number(1000 + i);
	off_t hole = lseek(fd, 0, SEEK_HOLE);
	CHECK_EQ(hole, SIZE);
	name(INFLATE, numbers, 256);
	CHECK_EQ(lseek(fd, 0, SEEK_HOLE), 1000L * PAGE);
	CHECK_EQ(lseek(fd, 1000L * PAGE, SEEK_DATA), 1256L * PAGE);
	tear_down();
	close(fd);
}

static void pages_that_there_are_not_are_left_alone(void)
{
	/* below and above memory, the last that can be named, a run that leaves it at both ends */
	uint32_t numbers[] = {0, number(0) - 1, number(SIZE / PAGE), UINT32_MAX, number(SIZE / PAGE) + 1, number(1500)};
	uint32_t run[300];
	set_up(-1);
	name(INFLATE, numbers, sizeof(numbers) / sizeof(numbers[0]));
	CHECK(dropped(1500));
	CHECK(kept(1499) && kept(SIZE / PAGE - 1));
	for (unsigned i = 0; i < 300; i++)
		run[i] = number(SIZE / PAGE - 150 + i);
	name(INFLATE, run, 300);
	CHECK(dropped(SIZE / PAGE - 1) && dropped(SIZE / PAGE - 150) && kept(SIZE / PAGE - 151));
	tear_down();
}

static void half_a_number_and_none_at_all(void)
{
	set_up(-1);
	struct driver_buf odd = {driver__alloc(&d, 16), 7}, in = {driver__alloc(&d, 16), 16};
	uint32_t first[] = {number(1300), number(1301)}, len;
	memcpy(driver__at(&d, odd.gpa), first, sizeof(first));
	CHECK(driver_queue__add(&q[INFLATE], &odd, 1, 0) >= 0);
	CHECK(driver_queue__add(&q[INFLATE], &in, 0, 1) >= 0);
	driver_device__kick(&dd, INFLATE);
	CHECK(driver_queue__wait(&q[INFLATE], &len, 5000) >= 0);
	CHECK(driver_queue__wait(&q[INFLATE], &len, 5000) >= 0);
	CHECK(dropped(1300) && kept(1301));
	tear_down();
}

static void reported_memory_is_dropped_where_it_is_whole_pages(void)
{
	set_up(-1);
	struct driver_buf bufs[] = {{DRIVER_BASE + 1000U * PAGE, 4 * PAGE},
				    {DRIVER_BASE + 1100U * PAGE + 16, 2 * PAGE},
				    {DRIVER_BASE + 1200U * PAGE + 16, PAGE}};
	uint32_t len = 99;
	CHECK(driver_queue__add(&q[REPORTING], bufs, 0, 3) >= 0);
	driver_device__kick(&dd, REPORTING);
	CHECK(driver_queue__wait(&q[REPORTING], &len, 5000) >= 0);
	CHECK_EQ(len, 0);
	for (unsigned page = 1000; page < 1004; page++)
		CHECK(dropped(page));
	CHECK(kept(999) && kept(1004) && kept(1100) && dropped(1101) && kept(1102) && kept(1200) && kept(1201));
	tear_down();
}

static void the_guest_reads_what_is_asked_and_says_what_it_gave(void)
{
	set_up(-1);
	const struct virtio_device_ops *ops = dd.dev->ops;
	uint32_t asked, actual = 77, config[2];
	virtio_balloon__ask(dd.dev, 1234);
	ops->read_config(dd.dev, 0, &asked, 4);
	CHECK_EQ(asked, 1234);
	ops->write_config(dd.dev, 0, &actual, 4); /* not the guest's to set */
	ops->write_config(dd.dev, 5, &actual, 2);
	CHECK_EQ(virtio_balloon__given(dd.dev), 0);
	ops->write_config(dd.dev, 4, &actual, 4);
	CHECK_EQ(virtio_balloon__given(dd.dev), 77);
	ops->read_config(dd.dev, 0, config, 8);
	CHECK(config[0] == 1234 && config[1] == 77);
	driver_device__reset(&dd); /* a new driver has given nothing yet, and is asked for as much */
	CHECK_EQ(virtio_balloon__given(dd.dev), 0);
	ops->read_config(dd.dev, 0, &asked, 4);
	CHECK_EQ(asked, 1234);
	tear_down();
}

static void a_full_ring_takes_more_than_one_turn(void)
{
	set_up(-1);
	uint32_t len;
	for (unsigned i = 0; i < 128; i++) {
		struct driver_buf buf = {driver__alloc(&d, 4), 4};
		uint32_t page = number(1000 + i);
		memcpy(driver__at(&d, buf.gpa), &page, 4);
		CHECK(driver_queue__add(&q[INFLATE], &buf, 1, 0) >= 0);
	}
	driver_device__kick(&dd, INFLATE);
	for (unsigned i = 0; i < 128; i++)
		CHECK(driver_queue__wait(&q[INFLATE], &len, 5000) >= 0);
	CHECK(dropped(1000) && dropped(1127));
	tear_down();
}

int main(void)
{
	CASE(named_pages_are_dropped_and_no_others);
	CASE(memory_of_a_file_is_the_hosts_again);
	CASE(pages_that_there_are_not_are_left_alone);
	CASE(half_a_number_and_none_at_all);
	CASE(reported_memory_is_dropped_where_it_is_whole_pages);
	CASE(the_guest_reads_what_is_asked_and_says_what_it_gave);
	CASE(a_full_ring_takes_more_than_one_turn);
	return check__done();
}
