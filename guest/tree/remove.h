/* Removes a file, or a directory and all below it, in steps; at any depth it holds two descriptors. */
#ifndef CAPSA_TREE_REMOVE_H
#define CAPSA_TREE_REMOVE_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tree/path.h"

/* A directory on the way down, by which it is known again on the way up. */
struct removal_level {
	dev_t device;
	ino_t inode;
};

struct removal {
	struct tree_path path; /* what it is about */
	int above;             /* the directory that holds the root of what is removed; -1: none */
	DIR *listing;          /* of the directory being emptied; NULL: none */
	struct removal_level *levels;
	size_t depth, capacity; /* levels in use; the last one is that of `listing` */
	bool removed;           /* anything since the listing began */
	uint64_t count;         /* names that are gone */
};

/* Remove `path` itself, a link too, or prepare to do so with all below it where it is a directory and `recursive`. A
 * mount point is left alone (-EBUSY), with all that is in it. Returns 1 (removal__step is to be called), 0 (it is gone)
 * or -errno. `removal` is zeroed before, and removal__end is called after it whatever it returns. */
__attribute__((warn_unused_result)) int removal__begin(struct removal *removal, const char *path, bool recursive);
/* Some more. Links are removed, not followed; names that vanish meanwhile are none the worse for it; -ESTALE when a
 * directory was moved away under it. Returns 1 (there is more), 0 (all is gone) or -errno of what is at
 * removal->path. */
__attribute__((warn_unused_result)) int removal__step(struct removal *removal);
void removal__end(struct removal *removal);

#endif
