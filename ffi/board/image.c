/* Bounds-checked reading of kernel and initrd files, and placing an initrd. */
#include "board/image.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

int image_file__open(int fd, const char *path, struct image_file *file, struct failure *why)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return failure__set(why, errno, NULL, "cannot look at %s", path);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return failure__set(why, EINVAL, NULL, "%s is not a regular file with something in it", path);
	*file = (struct image_file){.fd = fd, .size = (uint64_t)st.st_size, .path = path};
	return 0;
}

int image_file__read(const struct image_file *file, uint64_t offset, void *to, uint64_t len)
{
	if (offset > file->size || len > file->size - offset)
		return -ENOEXEC;
	uint8_t *at = to;
	while (len > 0) {
		ssize_t n = pread(file->fd, at, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENOEXEC; /* it shrank */
		at += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

int image_file__place(const struct image_file *file, uint64_t offset, const struct guest_memory *mem, uint64_t gpa,
		      uint64_t len)
{
	if (len == 0)
		return 0;
	void *to = guest_memory__at(mem, gpa, len);
	return to ? image_file__read(file, offset, to, len) : -ENOMEM;
}

int image_initrd__load(const struct guest_memory *mem, const struct image_file *file, uint64_t least, uint64_t most,
		       struct image_initrd *initrd, struct failure *why)
{
	const uint64_t base = mem->regions[0].gpa;
	uint64_t top = base + mem->regions[0].size;
	if (most < top)
		top = most + 1;
	uint64_t addr = top - base >= file->size ? (top - file->size) & ~0xfffULL : 0;
	if (addr < least)
		return failure__set(why, ENOMEM, NULL,
				    "the initrd %s (%" PRIu64 " MiB) does not fit beside the kernel; give the machine "
				    "at least %" PRIu64 " MiB of memory",
				    file->path, file->size >> 20, ((least - base + file->size) >> 20) + 2);
	int error = image_file__place(file, 0, mem, addr, file->size);
	if (error)
		return failure__set(why, -error, NULL, "cannot read the initrd %s", file->path);
	*initrd = (struct image_initrd){.addr = addr, .size = file->size};
	return 0;
}
