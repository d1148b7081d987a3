/*
 * Overwrites MEGABYTES of free memory. The emulated processor keeps its translation of code by where that lay: pages
 * that the guest before has run from are slow to write until each has been overwritten once.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	size_t size = argc == 2 ? (size_t)atoi(argv[1]) << 20 : 0;
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED || madvise(memory, size, MADV_HUGEPAGE) < 0 ||
	    madvise(memory, size, MADV_POPULATE_WRITE) < 0) {
		perror("scrub");
		return 1;
	}
	return 0;
}
