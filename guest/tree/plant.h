/* Makes a tree: directories, files, links and nodes below a place. No link is followed on the way, whoever puts it
 * there meanwhile, and nothing shows under its name before it is whole. */
#ifndef CAPSA_TREE_PLANT_H
#define CAPSA_TREE_PLANT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "tree/path.h"
#include "tree/walk.h"

struct plant_attributes {
	mode_t mode; /* permission bits */
	bool has_owner;
	uid_t user;
	gid_t group;
	struct timespec mtime;
};

/* A directory being filled; one that is new gets its attributes when it is left. */
struct plant_level {
	int fd;
	bool made;
	struct plant_attributes attributes;
};

struct plant {
	struct tree_path path;                     /* of what is being made */
	struct plant_level levels[TREE_DEPTH + 1]; /* the first holds the root */
	int depth;                                 /* directories entered */
	int fd;                                    /* of the file being written; -1: none */
	uint64_t size;                             /* of it so far, holes included: where the next byte goes */
	struct plant_attributes attributes;
	char temporary[64]; /* its name until it is whole */
};

/* Begin to make a tree at `path`: the first thing that is made is it. A link there is followed, as the caller's own.
 * `plant` is zeroed before, and plant__end is called after it whatever it returns: 0 or -errno. */
__attribute__((warn_unused_result)) int plant__begin(struct plant *plant, const char *path);

/* Whether the place where the tree is to be is the file of `status`, or lies in that directory. */
bool plant__is_within(const struct plant *plant, const struct stat *status);

/* Each makes `name` (not looked at for the root) in the directory entered last, and returns 0 or -errno of what is at
 * plant->path. A directory that is there is filled and stays as it is; anything else that is there is replaced.
 * -ENAMETOOLONG: nested too deep. */
__attribute__((warn_unused_result)) int plant__enter(struct plant *plant, const char *name,
						     const struct plant_attributes *attributes);
__attribute__((warn_unused_result)) int plant__open(struct plant *plant, const char *name,
						    const struct plant_attributes *attributes);
__attribute__((warn_unused_result)) int plant__symlink(struct plant *plant, const char *name, const char *target,
						       const struct plant_attributes *attributes);
/* `target` is the path below the root of a file made before. */
__attribute__((warn_unused_result)) int plant__link(struct plant *plant, const char *name, const char *target);
/* `type` as of st_mode. */
__attribute__((warn_unused_result)) int plant__node(struct plant *plant, const char *name, mode_t type, dev_t device,
						    const struct plant_attributes *attributes);

/* To the file that is open: bytes, and bytes that are a hole. */
__attribute__((warn_unused_result)) int plant__write(struct plant *plant, const uint8_t *bytes, size_t length);
__attribute__((warn_unused_result)) int plant__skip(struct plant *plant, uint64_t length);
/* The file is whole; the directory is. Both return 0 or -errno. */
__attribute__((warn_unused_result)) int plant__close(struct plant *plant);
__attribute__((warn_unused_result)) int plant__leave(struct plant *plant);

/* A file that is not whole goes. */
void plant__end(struct plant *plant);

#endif
