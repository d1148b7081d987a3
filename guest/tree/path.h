/* Where a walk is, in text: for messages, and the names to go back by. It may be longer than a system call takes. */
#ifndef CAPSA_TREE_PATH_H
#define CAPSA_TREE_PATH_H

#include <stddef.h>

/* All zero is one that was not set. The text is its own: tree_path__free. */
struct tree_path {
	char *text; /* terminated */
	size_t length, capacity;
	size_t root; /* bytes of the text that the walk began with */
};

/* Begin with `path`, slashes at its end left out. Returns 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int tree_path__set(struct tree_path *path, const char *root);
/* Go down to `name`. Returns 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int tree_path__push(struct tree_path *path, const char *name);
/* Go up; never above what it began with. */
void tree_path__pop(struct tree_path *path);
/* Its last name; "." of the root directory. */
const char *tree_path__name(const struct tree_path *path);
/* What was pushed, as a path relative to the root: "" there. */
const char *tree_path__below(const struct tree_path *path);
void tree_path__free(struct tree_path *path);

#endif
