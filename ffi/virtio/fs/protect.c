/* What of a writable share stays as it is: the protected paths, and whatever else leads to what is there.
 *
 * Three things are told apart. Held: what is at a protected path, all below it, and what stands in the way of one, a
 * file or link where a directory should be. Above: a directory on the way to a protected path; its entries may change,
 * but those that lead on cannot be replaced, and where there is none only a directory can be made. Free: all the rest.
 *
 * A name leads to a protected path if it is the path's own, or is like it and that of the same file: so it is where a
 * file system takes "A" for "a". A file that has several names, or is seen through another mount, is looked for at the
 * protected paths of all shares. All this is asked of what the guest wants to change, and of nothing else.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "virtio/fs/internal.h"

enum { TREE_DEPTH_MAX = 128 };

/* A component of protected paths. */
struct fs_protected {
	char *name; /* NULL: the share's root */
	bool end;   /* it is protected, with all below it */
	struct fs_protected *children, *next;
};

/* --- the paths --- */

static struct fs_protected *child_of(struct fs_protected *node, const char *name, size_t len)
{
	for (struct fs_protected *child = node->children; child; child = child->next)
		if (strlen(child->name) == len && !memcmp(child->name, name, len))
			return child;
	struct fs_protected *child = calloc(1, sizeof(*child));
	if (child)
		child->name = strndup(name, len);
	if (!child || !child->name) {
		free(child);
		return NULL;
	}
	child->next = node->children;
	node->children = child;
	return child;
}

bool protect__valid(const char *path)
{
	for (const char *at = path;; at++) {
		size_t len = strcspn(at, "/");
		if (!len || len > NAME_MAX || (at[0] == '.' && (len == 1 || (len == 2 && at[1] == '.'))))
			return false;
		at += len;
		if (!*at)
			return true;
	}
}

static int add_path(struct fs_protected *node, const char *path)
{
	if (!protect__valid(path))
		return -EINVAL;
	for (const char *at = path; *at;) {
		size_t len = strcspn(at, "/");
		node = child_of(node, at, len);
		if (!node)
			return -ENOMEM;
		at += len + (at[len] == '/');
	}
	node->end = true;
	return 0;
}

int protect__new(const char *const *paths, unsigned count, struct fs_protected **out)
{
	struct fs_protected *root = count ? calloc(1, sizeof(*root)) : NULL;
	int err = count && !root ? -ENOMEM : 0;
	for (unsigned i = 0; !err && i < count; i++)
		err = add_path(root, paths[i]);
	if (err)
		protect__free(root);
	else
		*out = root;
	return err;
}

void protect__free(struct fs_protected *node)
{
	while (node) {
		struct fs_protected *next = node->next;
		protect__free(node->children); /* as deep as the paths are */
		free(node->name);
		free(node);
		node = next;
	}
}

/* --- by place --- */

static bool same_file(const struct statx *a, const struct statx *b)
{
	return a->stx_ino == b->stx_ino && stat__dev(a) == stat__dev(b);
}

static int plain(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 'a';
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : 0;
}

/* Whether some file system may take the one name for the other: it folds case, normalizes, or has short names for long
 * ones. None changes two plain characters that a name begins with, behind dots and spaces: most names differ there, and
 * no file has to be looked at. */
static bool may_be_one(const char *a, const char *b)
{
	a += strspn(a, ". ");
	b += strspn(b, ". ");
	for (unsigned i = 0; i < 2; i++) {
		int one = plain(a[i]), other = plain(b[i]);
		if (!one || !other)
			return true;
		if (one != other)
			return false;
	}
	return true;
}

/* Which of the paths below `node`, which `dir` is at, go on by `name`; NULL: none. */
static const struct fs_protected *match(int dir, const struct fs_protected *node, const char *name)
{
	struct statx stx, other;
	for (const struct fs_protected *child = node->children; child; child = child->next)
		if (!strcmp(child->name, name))
			return child;
	bool looked = false, missing = false;
	for (const struct fs_protected *child = node->children; child; child = child->next) {
		if (!may_be_one(child->name, name))
			continue;
		missing = looked ? missing : stat__at(dir, name, &stx) != 0;
		looked = true;
		int err = stat__at(dir, child->name, &other);
		/* Of two names of which there is neither, nobody can say whether they are one. */
		if (missing ? err && !strcasecmp(child->name, name) : !err && same_file(&stx, &other))
			return child;
	}
	return NULL;
}

static struct fs_inode *ancestor(struct fs_inode *inode, unsigned steps)
{
	while (steps--)
		inode = inode->parent;
	return inode;
}

/*
 * Where an inode is: -EROFS if it is held; 0, with *node if it is above what is protected, and NULL there if it is
 * free. By where it was last seen, which the guest cannot make wrong; -ESTALE if that is not known.
 */
static int known_place(struct fs_session *s, struct fs_inode *inode, const struct fs_protected **node)
{
	unsigned depth = 0;
	*node = NULL;
	for (const struct fs_inode *at = inode; !at->root; at = at->parent)
		if (!at->parent || depth++ == FS_DEPTH_MAX)
			return -ESTALE;
	const struct fs_protected *found = inode->share->protected;
	while (found && depth--) {
		struct fs_inode *at = ancestor(inode, depth);
		int dir = inode__fd(s, at->parent);
		if (dir < 0)
			return dir;
		found = match(dir, found, at->name);
		if (found && (found->end || at->type != S_IFDIR))
			return -EROFS;
	}
	*node = found;
	return 0;
}

/* --- by identity --- */

/* -ENOENT, too, when this machine has made something else of it since it was looked at. */
static int open_directory(struct fs_session *s, int dir, const char *name)
{
	int fd = fd__open(s, dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	return fd == -ENOTDIR ? -ENOENT : fd;
}

/* Whether the file is in this directory or below: -EROFS if so, or if that is too deep to tell. Takes `dir` over. */
static int search_tree(struct fs_session *s, int dir, const struct statx *file, unsigned depth)
{
	_Alignas(struct dirent64) char data[2048];
	struct statx stx;
	int err = depth ? 0 : -EROFS;
	ssize_t n = 0;
	while (!err && (n = getdents64(dir, data, sizeof(data))) > 0) {
		for (ssize_t at = 0; !err && at < n;) {
			const struct dirent64 *d = (const void *)(data + at);
			at += d->d_reclen;
			if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, "..") || stat__at(dir, d->d_name, &stx))
				continue;
			if (same_file(&stx, file)) {
				err = -EROFS;
			} else if (S_ISDIR(stx.stx_mode)) {
				int below = open_directory(s, dir, d->d_name);
				if (below != -ENOENT)
					err = below < 0 ? below : search_tree(s, below, file, depth - 1);
			}
		}
	}
	if (!err && n < 0)
		err = -errno;
	close(dir);
	return err;
}

/* A file that may be elsewhere, too. */
struct wanted {
	struct statx stx;
	bool named; /* by another name; else through another mount alone */
};

/* Trees are taken to be on one mount each. */
static bool may_hold(const struct statx *tree, const struct wanted *file)
{
	return stat__dev(tree) == stat__dev(&file->stx) && (file->named || tree->stx_mnt_id != file->stx.stx_mnt_id);
}

/* Whether the file is one of those on the paths below `from`, which `dir` is at: as known_place. */
static int search(struct fs_session *s, int dir, const struct fs_protected *from, const struct wanted *file,
		  const struct fs_protected **node)
{
	int err = 0;
	for (const struct fs_protected *child = from->children; !err && !*node && child; child = child->next) {
		struct statx stx;
		if (stat__at(dir, child->name, &stx))
			continue;
		bool directory = S_ISDIR(stx.stx_mode);
		if (same_file(&stx, &file->stx)) {
			*node = child;
			err = child->end || !directory ? -EROFS : 0;
		} else if (directory && (!child->end || may_hold(&stx, file))) {
			int below = open_directory(s, dir, child->name);
			if (below >= 0 && child->end) {
				err = search_tree(s, below, &file->stx, TREE_DEPTH_MAX);
			} else if (below >= 0) {
				err = search(s, below, child, file, node);
				close(below);
			} else if (below != -ENOENT) {
				err = below;
			}
		}
	}
	return err;
}

/* Of what may be at a protected path of some share though it was last seen elsewhere, or (`lost`) nowhere: as
 * known_place. */
static int other_place(struct fs_session *s, struct fs_inode *inode, bool lost, const struct fs_protected **node)
{
	struct wanted file;
	struct statx root;
	bool mounted = inode->key.mount != inode->share->root->key.mount;
	*node = NULL;
	if (inode->type == S_IFDIR && !mounted)
		return 0;
	int err = inode__stat(s, inode, &file.stx);
	file.named = !err && inode->type != S_IFDIR && file.stx.stx_nlink > (lost ? 0 : 1);
	if (!file.named && !mounted)
		return err;
	for (unsigned i = 0; !err && !*node && i < s->share_count; i++) {
		const struct fs_share *share = &s->shares[i];
		if (!share->protected)
			continue;
		err = stat__at(share->root->fd, "", &root);
		if (!err && same_file(&root, &file.stx))
			*node = share->protected;
		else if (!err)
			err = search(s, share->root->fd, share->protected, &file, node);
	}
	return err;
}

static int place_of(struct fs_session *s, struct fs_inode *inode, const struct fs_protected **node)
{
	*node = NULL;
	if (!s->protects || !inode->share)
		return 0;
	int err = known_place(s, inode, node);
	bool lost = err && err != -EROFS;
	if (*node || err == -EROFS || (lost && inode->type == S_IFDIR && inode->share->protected))
		return err;
	return other_place(s, inode, lost, node);
}

/* --- what is asked --- */

int protect__inode(struct fs_session *s, struct fs_inode *inode)
{
	const struct fs_protected *node;
	return place_of(s, inode, &node);
}

int protect__entry(struct fs_session *s, struct fs_inode *dir, const char *name, bool directory)
{
	const struct fs_protected *node;
	int err = place_of(s, dir, &node);
	if (err || !node)
		return err;
	int fd = inode__fd(s, dir);
	if (fd < 0)
		return fd;
	node = match(fd, node, name);
	return !node || (directory && !node->end) ? 0 : -EROFS;
}
