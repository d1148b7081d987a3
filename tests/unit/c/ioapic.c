/* The I/O APIC as its guest sees it: registers behind a window, and nothing beside them. */
#include "board/x86_64/ioapic.h"

#include <errno.h>

#include "check.h"

enum { PINS = 7, SELECT = 0x00, WINDOW = 0x10, ID = 0, VERSION = 1, MASKED = 0x10000 };

static struct ioapic *ioapic;
static struct board_route routes[IOAPIC_PINS_MAX];
static unsigned route_count;

static void take_routes(void *arg, const struct board_route *from, unsigned count)
{
	(void)arg;
	memcpy(routes, from, count * sizeof(*from));
	route_count = count;
}

static void set_up(void)
{
	route_count = 0;
	CHECK_EQ(ioapic__new(PINS, take_routes, NULL, &ioapic), 0);
}

static void tear_down(void)
{
	ioapic__free(ioapic);
}

static void put(uint64_t offset, uint32_t value)
{
	ioapic__access(ioapic, offset, (uint8_t *)&value, sizeof(value), true);
}

static uint32_t get(uint64_t offset)
{
	uint32_t value = 0xdeadbeef;
	ioapic__access(ioapic, offset, (uint8_t *)&value, sizeof(value), false);
	return value;
}

static uint32_t read_register(uint32_t index)
{
	put(SELECT, index);
	return get(WINDOW);
}

static void write_register(uint32_t index, uint32_t value)
{
	put(SELECT, index);
	put(WINDOW, value);
}

static void it_tells_its_pins_and_they_begin_masked(void)
{
	set_up();
	CHECK_EQ(read_register(VERSION), 0x11 | (PINS - 1) << 16);
	for (uint32_t pin = 0; pin < PINS; pin++) {
		CHECK_EQ(read_register(0x10 + 2 * pin), MASKED);
		CHECK_EQ(read_register(0x11 + 2 * pin), 0);
	}
	tear_down();
}

static void a_pin_keeps_what_may_be_written(void)
{
	set_up();
	write_register(ID, 0xffffffff);
	CHECK_EQ(read_register(ID), 0x0f000000);
	write_register(0x11 + 2 * 5, 0x03000000);
	write_register(0x10 + 2 * 5, 0xffffffff); /* delivery status and remote IRR are the device's to tell */
	CHECK_EQ(read_register(0x10 + 2 * 5), 0x1afff);
	write_register(0x10 + 2 * 5, 0x41);
	CHECK_EQ(read_register(0x10 + 2 * 5), 0x41);
	CHECK_EQ(read_register(0x11 + 2 * 5), 0x03000000);
	write_register(0x10 + 2 * 5, MASKED | 0x41);
	CHECK_EQ(read_register(0x10 + 2 * 5), MASKED | 0x41);
	tear_down();
}

static void a_pin_that_is_not_masked_is_a_message(void)
{
	set_up();
	write_register(0x11 + 2 * 5, 0x03000000);
	CHECK_EQ(route_count, 0);
	write_register(0x10 + 2 * 5, 0x0941); /* lowest priority, a logical destination */
	CHECK_EQ(route_count, 1);
	CHECK_EQ(routes[0].irq, 5);
	CHECK_EQ(routes[0].address, 0xfee03004);
	CHECK_EQ(routes[0].data, 0x141);
	write_register(0x10 + 2 * 6, 0x42);
	CHECK_EQ(route_count, 2);
	write_register(0x10 + 2 * 5, MASKED);
	CHECK_EQ(route_count, 1);
	CHECK_EQ(routes[0].irq, 6);
	tear_down();
}

static void nothing_lies_beyond(void)
{
	set_up();
	for (uint32_t index = 0; index < 256; index++)
		write_register(index, 0x12345678);
	CHECK_EQ(read_register(0x10 + 2 * PINS), 0);
	CHECK_EQ(read_register(0xff), 0);
	CHECK_EQ(read_register(VERSION), 0x11 | (PINS - 1) << 16);
	for (uint64_t offset = 0x20; offset < IOAPIC_SIZE; offset += 4) {
		put(offset, 0xffffffff);
		CHECK_EQ(get(offset), 0);
	}
	tear_down();
}

static void accesses_of_other_sizes_stay_in_bounds(void)
{
	set_up();
	uint8_t wide[8];
	memset(wide, 0xff, sizeof(wide));
	put(SELECT, VERSION);
	ioapic__access(ioapic, WINDOW, wide, sizeof(wide), false);
	CHECK_EQ(wide[0], 0x11);
	CHECK_EQ(wide[7], 0);
	uint8_t narrow = 0;
	ioapic__access(ioapic, WINDOW, &narrow, 1, false);
	CHECK_EQ(narrow, 0x11);
	ioapic__access(ioapic, WINDOW, &narrow, 1, true);
	tear_down();
}

static void more_pins_than_there_are_messages_for_are_refused(void)
{
	set_up();
	struct ioapic *other = NULL;
	CHECK_EQ(ioapic__new(IOAPIC_PINS_MAX + 1, take_routes, NULL, &other), -EINVAL);
	CHECK(other == NULL);
	tear_down();
}

int main(void)
{
	CASE(it_tells_its_pins_and_they_begin_masked);
	CASE(a_pin_keeps_what_may_be_written);
	CASE(a_pin_that_is_not_masked_is_a_message);
	CASE(nothing_lies_beyond);
	CASE(accesses_of_other_sizes_stay_in_bounds);
	CASE(more_pins_than_there_are_messages_for_are_refused);
	return check__done();
}
