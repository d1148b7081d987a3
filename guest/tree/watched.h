/* The directories that an inotify instance watches, as a tree of names: each is found by its watch descriptor, and
 * knows where it was last seen. */
#ifndef CAPSA_TREE_WATCHED_H
#define CAPSA_TREE_WATCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tree/path.h"

struct watched_dir {
	int wd;
	char *name;                 /* in parent; "" of the root */
	struct watched_dir *parent; /* NULL: the root */
	struct watched_dir *children, *next, *prev;
	struct watched_dir *next_in_bucket;
};

/* `fd` is -1 before watched__begin and after watched__end. */
struct watched {
	int fd;
	uint32_t mask; /* what is told of each directory; more of the root, which it ends with */
	struct watched_dir *root;
	struct watched_dir **buckets;
	size_t bucket_count, count;
};

/* A new inotify instance, non-blocking, that watches nothing. Returns 0 or -errno. */
__attribute__((warn_unused_result)) int watched__begin(struct watched *watched, uint32_t mask);
/* Watch the open directory `fd`, which is `name` in `parent` (NULL: it is the root). Returns 1; 0 when it was watched
 * already, and is known by this place from now on; or -errno: -ENOSPC at the system's limit, -ELOOP when it was thought
 * to be above `parent`: what is known is out of date. */
__attribute__((warn_unused_result)) int watched__add(struct watched *watched, int fd, struct watched_dir *parent,
						     const char *name, struct watched_dir **out);
/* NULL: none has it, or not any more. */
struct watched_dir *watched__find(const struct watched *watched, int wd);
/* The one last known by that name; NULL: none. */
struct watched_dir *watched__child(const struct watched_dir *parent, const char *name);
/* It has another place now. Returns 0, -ELOOP as above, or -ENOMEM. */
__attribute__((warn_unused_result)) int watched__move(struct watched_dir *dir, struct watched_dir *parent,
						      const char *name);
/* Watch it no more, nor what is below it. */
void watched__remove(struct watched *watched, struct watched_dir *dir);
/* Go down in `path` from the root to the directory. Returns 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int watched__descend(const struct watched_dir *dir, struct tree_path *path);
void watched__end(struct watched *watched);

#endif
