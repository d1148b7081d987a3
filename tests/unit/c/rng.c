/* virtio-rng: fills what it is offered, and bears with what it should not be offered. */
#include "virtio/rng.h"

#include "driver.h"

static struct driver d;
static struct driver_queue q;
static struct driver_device dd;

static void set_up(void)
{
	struct virtio_device *dev;
	driver__init(&d, 1 << 20);
	CHECK_EQ(virtio_rng__new(&dev), 0);
	CHECK_EQ(dev->ops->id, VIRTIO_ID_RNG);
	driver_device__start(&dd, dev);
	driver_queue__init(&q, &d, &dev->queues[0], 128, 0);
	driver_device__activate(&dd);
}

static void tear_down(void)
{
	driver_device__stop(&dd);
	driver_queue__free(&q);
	driver__free(&d);
}

static void buffers_are_filled(void)
{
	set_up();
	struct driver_buf buf = {driver__alloc(&d, 64), 64};
	uint8_t first[64], zero[64] = {0};
	uint32_t len;
	CHECK(driver_queue__add(&q, &buf, 0, 1) >= 0);
	driver_device__kick(&dd, 0);
	CHECK(driver_queue__wait(&q, &len, 5000) >= 0);
	CHECK_EQ(len, 64);
	memcpy(first, driver__at(&d, buf.gpa), 64);
	CHECK(memcmp(first, zero, 64) != 0);
	CHECK(driver_queue__add(&q, &buf, 0, 1) >= 0);
	driver_device__kick(&dd, 0);
	CHECK(driver_queue__wait(&q, &len, 5000) >= 0);
	CHECK(memcmp(first, driver__at(&d, buf.gpa), 64) != 0);
	tear_down();
}

static void a_huge_buffer_is_answered_short(void)
{
	set_up();
	struct driver_buf buf = {driver__alloc(&d, 512 << 10), 512 << 10};
	uint32_t len;
	CHECK(driver_queue__add(&q, &buf, 0, 1) >= 0);
	driver_device__kick(&dd, 0);
	CHECK(driver_queue__wait(&q, &len, 5000) >= 0);
	CHECK(len > 0 && len <= 4096);
	tear_down();
}

static void a_buffer_that_cannot_be_written_gets_nothing(void)
{
	set_up();
	struct driver_buf buf = {driver__alloc(&d, 64), 64};
	uint32_t len = 99;
	CHECK(driver_queue__add(&q, &buf, 1, 0) >= 0);
	driver_device__kick(&dd, 0);
	CHECK(driver_queue__wait(&q, &len, 5000) >= 0);
	CHECK_EQ(len, 0);
	tear_down();
}

static void a_full_ring_takes_more_than_one_turn(void)
{
	set_up();
	uint32_t len;
	for (unsigned i = 0; i < 128; i++) {
		struct driver_buf buf = {driver__alloc(&d, 8), 8};
		CHECK(driver_queue__add(&q, &buf, 0, 1) >= 0);
	}
	driver_device__kick(&dd, 0);
	for (unsigned i = 0; i < 128; i++) {
		CHECK(driver_queue__wait(&q, &len, 5000) >= 0);
		CHECK_EQ(len, 8);
	}
	tear_down();
}

static void it_works_again_after_a_reset(void)
{
	set_up();
	driver_device__reset(&dd);
	driver_device__kick(&dd, 0);
	driver_queue__free(&q);
	driver_queue__init(&q, &d, &dd.dev->queues[0], 16, DRIVER_EVENT_IDX | DRIVER_INDIRECT);
	driver_device__activate(&dd);
	struct driver_buf bufs[] = {{driver__alloc(&d, 8), 8}, {driver__alloc(&d, 24), 24}};
	uint32_t len;
	CHECK(driver_queue__add(&q, bufs, 0, 2) >= 0);
	driver_device__kick(&dd, 0);
	CHECK(driver_queue__wait(&q, &len, 5000) >= 0);
	CHECK_EQ(len, 32);
	tear_down();
}

int main(void)
{
	CASE(buffers_are_filled);
	CASE(a_huge_buffer_is_answered_short);
	CASE(a_buffer_that_cannot_be_written_gets_nothing);
	CASE(a_full_ring_takes_more_than_one_turn);
	CASE(it_works_again_after_a_reset);
	return check__done();
}
