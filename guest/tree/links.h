/* Files with several names that a walk has come across: the first name is remembered, for the others to be links to it.
 */
#ifndef CAPSA_TREE_LINKS_H
#define CAPSA_TREE_LINKS_H

#include <stddef.h>
#include <sys/stat.h>

/* Of more files than that, the names become files of their own: memory is bounded whatever a tree holds. */
enum { LINKS_MOST = 65536 };

struct links_file;

/* All zero is empty. */
struct links {
	struct links_file **buckets;
	size_t count;
};

/* The first name of a file, or NULL: it was not met yet, or has one name only. */
const char *links__find(const struct links *links, const struct stat *status);
/* Remember `name` as the first. Returns 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int links__add(struct links *links, const struct stat *status, const char *name);
void links__free(struct links *links);

#endif
