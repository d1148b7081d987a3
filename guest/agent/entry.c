/* What the host is told of a file: its type, size, permissions and time. */
#include "agent/entry.h"

const char *entry__type(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return "dir";
	case S_IFLNK:
		return "symlink";
	case S_IFIFO:
		return "fifo";
	case S_IFSOCK:
		return "socket";
	case S_IFCHR:
		return "char";
	case S_IFBLK:
		return "block";
	default:
		return "file";
	}
}

int64_t entry__ms(struct timespec time)
{
	return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

void entry__put(struct writer *writer, const struct stat *status)
{
	writer__text(writer, "type", entry__type(status->st_mode));
	writer__uint(writer, "size", (uint64_t)status->st_size);
	writer__uint(writer, "mode", status->st_mode & 07777);
	writer__int(writer, "mtimeMs", entry__ms(status->st_mtim));
}
