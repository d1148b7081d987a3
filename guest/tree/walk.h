/* Walks a directory and all below it, in steps, without following links. */
#ifndef CAPSA_TREE_WALK_H
#define CAPSA_TREE_WALK_H

#include <dirent.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "tree/path.h"

/* Directories within each other; each keeps a descriptor open. */
enum { TREE_DEPTH = 256 };

enum walk_kind { WALK_ENTER, WALK_LEAF, WALK_LEAVE };

struct walk {
	struct tree_path path; /* of what was told last */
	DIR *levels[TREE_DEPTH];
	int depth;
	bool begun, at_leaf;
	struct stat root; /* what the walk began at */
};

/* What the walk has come to: a directory, before and after all that is in it, or something else. */
struct walk_step {
	enum walk_kind kind;
	int at;             /* directory that holds it, or AT_FDCWD of the root */
	const char *name;   /* valid until the next step */
	struct stat status; /* not of WALK_LEAVE */
};

/* Begin at `path`, which is not followed where it is a link, unless a slash is behind it. `walk` is zeroed before, and
 * walk__end is called after it whatever it returns: 0 or -errno. */
__attribute__((warn_unused_result)) int walk__begin(struct walk *walk, const char *path);
/* Returns 1, 0 (that was all) or -errno of what is at walk->path; -ENAMETOOLONG when it is nested too
 * deep. Names that vanish
 * meanwhile are left out. */
__attribute__((warn_unused_result)) int walk__next(struct walk *walk, struct walk_step *step);
/* Leave the directory that was just entered, without what is in it; there will be no WALK_LEAVE. */
void walk__skip(struct walk *walk);
/* Whether a name at which something failed is merely one that vanished, or became something else. */
bool walk__vanished(const struct walk *walk, int err);
void walk__end(struct walk *walk);

#endif
