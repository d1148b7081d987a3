/* Directories, and single files, opened so that they lead nowhere but down. */
#ifndef CAPSA_CONFINE_TREE_H
#define CAPSA_CONFINE_TREE_H

#include <stdbool.h>

/*
 * O_PATH descriptor of `path`. Where mounting is permitted, be it in a user namespace, it is a mount of its own (with
 * all that is mounted below), detached from every place: ".." stops at it, and `read_only` holds whatever is done
 * through it, set-id bits and device nodes count for nothing. Elsewhere it is an ordinary one. -errno of open(2).
 * `path` may be looked up by another process: it names none of /proc/self. Called while the main thread is the only
 * one.
 */
int tree__open(const char *path, bool read_only);

#endif
