/* The identity of a file: its device and its inode. */
#include "confine/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static int know(struct cbor_reader *reader, void *into, const char *where)
{
	(void)reader, (void)where;
	((struct file_identity *)into)->known = true;
	return 0;
}

static const struct cbor_field fields[] = {
	{.key = "dev", .kind = CBOR_U64, .required = true, .offset = offsetof(struct file_identity, dev)},
	{.key = "ino", .kind = CBOR_U64, .required = true, .offset = offsetof(struct file_identity, ino)},
};
const struct cbor_table file_identity_table = CBOR_TABLE("file-identity", fields, .check = know);

int file_identity__check(const struct file_identity *identity, int fd)
{
	struct stat st;
	if (!identity->known)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	return st.st_dev == identity->dev && st.st_ino == identity->ino ? 0 : -ESTALE;
}

int file_identity__open(const struct file_identity *identity, const char *path, int flags)
{
	char same[32];
	int at = open(path, O_PATH | O_CLOEXEC);
	if (at < 0)
		return -errno;
	snprintf(same, sizeof(same), "/proc/self/fd/%d", at);
	int err = file_identity__check(identity, at);
	int fd = err ? err : open(same, flags | O_CLOEXEC);
	if (!err && fd < 0)
		fd = -errno;
	close(at);
	return fd;
}
