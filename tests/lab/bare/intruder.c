/* Asks a VMM with an intruder in it (tests/lab/intruder.c) for one deed after another: each line of the initrd is an
 * order, and each is printed with what came of it. */
#include "bare.h"

/* The intruder's registers, where no device is. */
static const struct device intruder = {.at = (volatile uint8_t *)0xcafe0000U};
enum { ORDER_ADDRESS = 0, ORDER_LENGTH = 4, RESULT = 8 };

void run(void)
{
	for (uint32_t at = 0, end; at < initrd_size; at = end + 1) {
		for (end = at; end < initrd_size && initrd[end] != '\n';)
			end++;
		if (end == at)
			continue;
		print_bytes(initrd + at, end - at);
		print(" -> ");
		reg_write(&intruder, ORDER_ADDRESS, (uint32_t)(uintptr_t)(initrd + at));
		reg_write(&intruder, ORDER_LENGTH, end - at); /* done when this returns */
		print_number(reg_read(&intruder, RESULT));
		print("\n");
	}
	print("intruder: done\n");
}
