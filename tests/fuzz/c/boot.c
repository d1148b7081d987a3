/* Fuzzes the kernel loaders: the input is the kernel file, its last byte says how much memory there is. */
#include "board/board.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "board/x86_64/layout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 2)
		return 0;
	struct guest_memory mem;
	struct failure why;
	if (board__split(BOARD_MEMORY_MIN + ((uint64_t)data[len - 1] << 20), &mem, &why))
		abort();
	size_t size = mem.regions[0].size;
	/* with a page on either side that nothing may touch */
	uint8_t *guarded = mmap(NULL, size + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int kernel = memfd_create("kernel", MFD_CLOEXEC);
	if (guarded == MAP_FAILED || kernel < 0 || mprotect(guarded + 4096, size, PROT_READ | PROT_WRITE) < 0 ||
	    write(kernel, data, len - 1) != (ssize_t)(len - 1))
		abort();
	mem.regions[0].host = guarded + 4096;
	struct board_request request = {.kernel = kernel,
					.initrd = kernel,
					.kernel_path = "kernel",
					.initrd_path = "initrd",
					.cmdline = "quiet",
					.cpus = 1U + data[0] % LAYOUT_CPUS_MAX};
	struct board_entry entry;
	if (board__load(&mem, &request, &entry, &why) == 0 &&
	    (!guest_memory__at(&mem, entry.pc, 1) || !guest_memory__at(&mem, entry.argument, 56)))
		abort();
	close(kernel);
	munmap(guarded, size + 8192);
	return 0;
}
