/* Guest memory lookup: what lies whole in a region is found, anything else is refused. */
#include "memory.h"

#include "check.h"

static uint8_t low[0x1000], high[0x2000];

static const struct guest_memory mem = {
	.count = 3,
	.regions = {{.gpa = 0x1000, .size = sizeof(low), .host = low, .user = 0x7f0000000000},
		    {.gpa = 0x100000000, .size = sizeof(high), .host = high, .user = 0},
		    {.gpa = UINT64_MAX - 0xfff, .size = 0xfff, .host = low, .user = 0}},
};

static void whole_ranges_are_found(void)
{
	CHECK(guest_memory__at(&mem, 0x1000, 1) == low);
	CHECK(guest_memory__at(&mem, 0x1000, 0x1000) == low);
	CHECK(guest_memory__at(&mem, 0x1fff, 1) == low + 0xfff);
	CHECK(guest_memory__at(&mem, 0x100000800, 0x1800) == high + 0x800);
}

static void anything_else_is_refused(void)
{
	CHECK(!guest_memory__at(&mem, 0xfff, 1));
	CHECK(!guest_memory__at(&mem, 0xfff, 2));
	CHECK(!guest_memory__at(&mem, 0x2000, 1));
	CHECK(!guest_memory__at(&mem, 0x1fff, 2));
	CHECK(!guest_memory__at(&mem, 0x1000, 0x1001));
	CHECK(!guest_memory__at(&mem, 0x1000, 0));
	CHECK(!guest_memory__at(&mem, 0x1800, UINT64_MAX));
	CHECK(!guest_memory__at(&mem, UINT64_MAX, 1));
	CHECK(!guest_memory__at(&mem, UINT64_MAX - 1, 2));
	CHECK(!guest_memory__at(&mem, UINT64_MAX - 0xfff, UINT64_MAX));
}

static void front_end_addresses_need_a_region_that_has_one(void)
{
	CHECK(guest_memory__at_user(&mem, 0x7f0000000010, 16) == low + 16);
	CHECK(!guest_memory__at_user(&mem, 0x7f0000001000, 1));
	CHECK(!guest_memory__at_user(&mem, 0, 1));
	CHECK(!guest_memory__at_user(&mem, 0x800, 1));
}

static void room_ends_with_the_region(void)
{
	CHECK_EQ(guest_memory__room(&mem, 0x1000), 0x1000);
	CHECK_EQ(guest_memory__room(&mem, 0x1fff), 1);
	CHECK_EQ(guest_memory__room(&mem, 0x2000), 0);
	CHECK_EQ(guest_memory__room(&mem, UINT64_MAX - 1), 1);
	CHECK_EQ(guest_memory__room(&mem, UINT64_MAX), 0);
}

int main(void)
{
	CASE(whole_ranges_are_found);
	CASE(anything_else_is_refused);
	CASE(front_end_addresses_need_a_region_that_has_one);
	CASE(room_ends_with_the_region);
	return check__done();
}
