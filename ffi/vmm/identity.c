/* The identity of a file: its device and its inode. */
#include "vmm/identity.h"

#include <errno.h>
#include <sys/stat.h>

int file_identity__check(const struct file_identity *identity, int fd)
{
	struct stat st;
	if (!identity->known)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_dev == identity->dev && st.st_ino == identity->ino ? 0 : -ESTALE;
}
