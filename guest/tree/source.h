/* A regular file as a sequence of data and holes, however it changes meanwhile. */
#ifndef CAPSA_TREE_SOURCE_H
#define CAPSA_TREE_SOURCE_H

#include <sys/stat.h>

enum { SOURCE_END = 0, SOURCE_DATA = 1, SOURCE_HOLE = 2 };

struct source {
	int fd;         /* -1: none is open */
	off_t at;       /* bytes before it are done; advanced by the caller */
	off_t known_to; /* `data` holds up to here */
	int kind;       /* of the run at `at`, up to known_to */
	off_t size;
};

/* Open `name` of the directory `at`. Returns 0 or -errno; -ELOOP or -ENOENT also when it is no regular file by now.
 * *status is what it is. */
__attribute__((warn_unused_result)) int source__open(struct source *source, int at, const char *name,
						     struct stat *status);
/* What is next, and how much of it in one piece (SOURCE_DATA may turn out to end earlier, by a read of 0 bytes).
 * Returns one of SOURCE_*, or -errno. */
__attribute__((warn_unused_result)) int source__next(struct source *source, off_t *length);
void source__close(struct source *source);

#endif
