/* RAM regions and the memory map that is told of them. */
#include "board/x86_64/layout.h"

#include <errno.h>

#include "board/board.h"

int board__split(uint64_t memory, struct guest_memory *mem, struct failure *why)
{
	if (memory < BOARD_MEMORY_MIN || memory > BOARD_MEMORY_MAX || memory % 4096)
		return failure__set(why, EINVAL, NULL,
				    "a machine has %llu MiB to %llu GiB of memory in whole pages, not %llu bytes",
				    BOARD_MEMORY_MIN >> 20, BOARD_MEMORY_MAX >> 30, (unsigned long long)memory);
	uint64_t low = memory < LAYOUT_HOLE ? memory : LAYOUT_HOLE;
	mem->count = 1;
	mem->regions[0] = (struct guest_region){.gpa = 0, .size = low};
	if (memory > low)
		mem->regions[mem->count++] = (struct guest_region){.gpa = LAYOUT_HIGH, .size = memory - low};
	return 0;
}

unsigned layout__e820(const struct guest_memory *mem, struct layout_e820 e820[LAYOUT_E820_MAX])
{
	unsigned count = 0;
	e820[count++] = (struct layout_e820){.addr = 0, .size = LAYOUT_BASE_END};
	e820[count++] =
		(struct layout_e820){.addr = LAYOUT_KERNEL_MIN, .size = mem->regions[0].size - LAYOUT_KERNEL_MIN};
	if (mem->count > 1)
		e820[count++] = (struct layout_e820){.addr = mem->regions[1].gpa, .size = mem->regions[1].size};
	return count;
}
