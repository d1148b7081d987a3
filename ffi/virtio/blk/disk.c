/* Files and block devices as disks. */
#include "virtio/blk/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/errno_name.h"
#include "virtio/blk.h"

static int measure(int fd, const char *path, uint64_t *bytes, struct failure *why)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return failure__set(why, errno, NULL, "the disk %s cannot be measured", path);
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(fd, BLKGETSIZE64, bytes) < 0)
			return failure__set(why, errno, NULL, "the disk %s cannot be measured", path);
	} else if (S_ISREG(st.st_mode)) {
		*bytes = (uint64_t)st.st_size;
	} else {
		return failure__set(why, EINVAL, NULL, "the disk %s is neither a file nor a block device", path);
	}
	if (!*bytes || *bytes % BLK_SECTOR)
		return failure__set(why, EINVAL, NULL,
				    "the disk %s has %llu bytes; a disk is made of one or more sectors of %d", path,
				    (unsigned long long)*bytes, BLK_SECTOR);
	return 0;
}

int disk__open(const char *path, const struct file_identity *identity, bool read_only, uint64_t *sectors,
	       struct failure *why)
{
	uint64_t bytes = 0;
	/* not waiting for the other side of a pipe, which is no disk */
	int fd = file_identity__open(identity, path, (read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return failure__set(why, -fd, NULL, "the disk %s cannot be opened for %s (%s)%s", path,
				    read_only ? "reading" : "writing", errno_name(-fd),
				    fd == -ESTALE ? ": another one has its name by now" : "");
	int err = measure(fd, path, &bytes, why);
	if (!err && flock(fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0)
		err = failure__set(
			why, errno == EWOULDBLOCK ? EBUSY : errno, NULL,
			"the disk %s is in use: of those who have it open, here or in another machine, one writes "
			"to it",
			path);
	if (err) {
		close(fd);
		return err;
	}
	*sectors = bytes / BLK_SECTOR;
	return fd;
}
