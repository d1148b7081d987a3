/* Inodes the guest knows: found by number or by key, each with the place it was last seen at. */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int stat__at(int dir, const char *name, struct statx *stx)
{
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
	return statx(dir, name, flags, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, stx) ? -errno : 0;
}

uint64_t stat__dev(const struct statx *stx)
{
	return makedev(stx->stx_dev_major, stx->stx_dev_minor);
}

static struct fs_key key_of(const struct fs_share *share, const struct statx *stx)
{
	return (struct fs_key){
		.dev = stat__dev(stx),
		.ino = stx->stx_ino,
		.mount = stx->stx_mask & STATX_MNT_ID ? stx->stx_mnt_id : 0,
		.share = share->index,
	};
}

static bool same_key(const struct fs_key *a, const struct fs_key *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->mount == b->mount && a->share == b->share;
}

static bool same_birth(const struct fs_inode *inode, const struct statx *stx)
{
	if (inode->type != (stx->stx_mode & S_IFMT))
		return false;
	return !(stx->stx_mask & STATX_BTIME) ||
	       (inode->born_sec == stx->stx_btime.tv_sec && inode->born_nsec == stx->stx_btime.tv_nsec);
}

bool inode__is(const struct fs_inode *inode, const struct statx *stx)
{
	struct fs_key key = key_of(inode->share, stx);
	return same_key(&inode->key, &key) && same_birth(inode, stx);
}

/* --- the table by key --- */

static uint64_t mix(uint64_t x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	return x ^ x >> 33;
}

static struct fs_inode **bucket(const struct fs_session *s, const struct fs_key *key)
{
	return &s->buckets[mix(key->ino ^ mix(key->dev)) & (s->bucket_count - 1)]; /* all inodes of a file are in one */
}

static void hash_in(struct fs_session *s, struct fs_inode *inode)
{
	struct fs_inode **at = bucket(s, &inode->key);
	inode->next = *at;
	*at = inode;
	inode->hashed = true;
}

static void hash_out(struct fs_session *s, struct fs_inode *inode)
{
	if (!inode->hashed)
		return;
	struct fs_inode **at = bucket(s, &inode->key);
	while (*at != inode)
		at = &(*at)->next;
	*at = inode->next;
	inode->hashed = false;
}

/* Keep about one inode a bucket. Without memory for more the table only gets slower. */
static int hash_grow(struct fs_session *s)
{
	if (s->bucket_count > s->inodes.live)
		return 0;
	uint32_t old_count = s->bucket_count, count = old_count ? old_count * 2 : 1024;
	struct fs_inode **old = s->buckets, **larger = calloc(count, sizeof(struct fs_inode *));
	if (!larger)
		return old ? 0 : -ENOMEM;
	s->buckets = larger;
	s->bucket_count = count;
	for (uint32_t i = 0; i < old_count; i++) {
		for (struct fs_inode *inode = old[i], *next; inode; inode = next) {
			next = inode->next;
			hash_in(s, inode);
		}
	}
	free(old);
	return 0;
}

struct fs_inode *inode__find(struct fs_session *s, const struct fs_share *share, const struct statx *stx)
{
	struct fs_key key = key_of(share, stx);
	for (struct fs_inode *inode = *bucket(s, &key); inode; inode = inode->next)
		if (same_key(&inode->key, &key))
			return same_birth(inode, stx) ? inode : NULL;
	return NULL;
}

struct fs_inode *inode__of_file(struct fs_session *s, const struct fs_inode *of, const struct fs_inode *last)
{
	struct fs_inode *inode = last ? last->next : *bucket(s, &of->key);
	while (inode && (inode->key.ino != of->key.ino || inode->key.dev != of->key.dev))
		inode = inode->next;
	return inode;
}

const struct fs_inode *inode__numbered(struct fs_session *s, const struct fs_inode *dir, uint64_t ino)
{
	struct fs_key key = dir->key;
	key.ino = ino;
	const struct fs_inode *inode = *bucket(s, &key);
	while (inode && !same_key(&inode->key, &key))
		inode = inode->next;
	return inode;
}

/* --- places --- */

struct fs_inode *inode__above(const struct fs_inode *inode)
{
	struct fs_inode *parent = inode->parent;
	return !parent || parent->upper == inode->upper ? parent : parent->under;
}

/* Whether `inode` is `of` or lies below it, as far as is known. */
static bool within(const struct fs_inode *inode, const struct fs_inode *of)
{
	while (inode && inode != of)
		inode = inode->parent;
	return inode != NULL;
}

static void leave(struct fs_session *s, struct fs_inode *inode)
{
	struct fs_inode *parent = inode->parent;
	if (!parent)
		return;
	inode->parent = NULL;
	free(inode->name);
	inode->name = NULL;
	fd__displaced(s, inode);
	parent->refs--;
	inode__put(s, parent);
}

void inode__moved(struct fs_session *s, struct fs_inode *inode, struct fs_inode *parent, const char *name)
{
	if (inode->root || (inode->parent == parent && !strcmp(inode->name, name)))
		return;
	/* What was seen at different times may contradict itself when the host moves directories about: a loop of
	 * parents is cut where it is oldest. */
	if (inode->type == S_IFDIR && within(parent, inode)) {
		struct fs_inode *last = parent;
		while (last->parent != inode)
			last = last->parent;
		inode->refs++;
		leave(s, last);
		inode->refs--;
	}
	char *copy = strdup(name);
	if (!copy) /* it keeps its old place, and is stale there */
		return;
	parent->refs++; /* first, lest leaving frees it */
	leave(s, inode);
	inode->parent = parent;
	inode->name = copy;
	inode->doomed = false;
	inode->astray = false;
	fd__placed(s, inode);
}

void inode__pin(struct fs_session *s, struct fs_inode *inode, const struct statx *stx)
{
	/* The guest may go on asking about it, by other names it has cached or as a process's working directory: answer
	 * from a descriptor. Without one such a question is ESTALE, and the guest looks again. */
	bool needed = inode->type == S_IFDIR || stx->stx_nlink > 1;
	if (needed && inode->lookups && !inode->handles)
		(void)!inode__fd(s, inode);
}

void inode__unlinked(struct fs_session *s, struct fs_inode *inode, const struct fs_inode *parent, const char *name)
{
	if (inode->parent == parent && !strcmp(inode->name, name))
		leave(s, inode);
}

/* --- life --- */

static struct fs_inode *new_inode(void)
{
	struct fs_inode *inode = calloc(1, sizeof(*inode));
	if (!inode)
		return NULL;
	inode->fd = -1;
	return inode;
}

static void identify(struct fs_inode *inode, const struct statx *stx)
{
	bool born = stx->stx_mask & STATX_BTIME;
	inode->key = key_of(inode->share, stx);
	inode->born_sec = born ? stx->stx_btime.tv_sec : 0;
	inode->born_nsec = born ? stx->stx_btime.tv_nsec : 0;
}

static void describe(struct fs_inode *inode, struct fs_share *share, const struct statx *stx)
{
	inode->share = share;
	identify(inode, stx);
	inode->type = stx->stx_mode & S_IFMT;
	inode->top_dev = inode->key.dev;
}

int inode__new_root(struct fs_session *s, struct fs_share *share, int fd, struct fs_inode **out)
{
	struct statx stx;
	struct fs_inode *inode = new_inode();
	int err = inode ? hash_grow(s) : -ENOMEM;
	if (!err && share)
		err = stat__at(fd, "", &stx);
	if (!err && share && !S_ISDIR(stx.stx_mode) && (s->single || !S_ISREG(stx.stx_mode)))
		err = -ENOTDIR;
	if (!err)
		err = slots__add(&s->inodes, inode, s->inodes_max, &inode->id);
	if (err) {
		free(inode);
		return err;
	}
	inode->root = true;
	inode->type = S_IFDIR;
	if (share) {
		describe(inode, share, &stx);
		inode->submount = inode->type == S_IFDIR && !s->single;
		if (inode->type != S_IFDIR)
			inode->top_dev = 0; /* it is seen in the made root, whose device is none of the host's */
		inode->fd = fd;
		hash_in(s, inode);
	}
	*out = inode;
	return 0;
}

int inode__cover_root(struct fs_session *s, struct fs_share *share, int fd)
{
	struct fs_inode *under = share->root, *root;
	int err = inode__new_root(s, share, fd, &root);
	if (err)
		return err;
	hash_out(s, under);
	slots__remove(&s->inodes, root->id);
	root->id = under->id; /* which may be the one that the guest begins with */
	s->inodes.slots[(uint32_t)root->id].object = root;
	under->id = 0;
	under->refs = 1;
	root->upper = true;
	root->under = under;
	root->number = under->key.ino;
	root->top_dev = under->top_dev;
	share->root = root;
	return 0;
}

int inode__intern(struct fs_session *s, struct fs_inode *parent, const char *name, const struct statx *stx,
		  struct fs_inode **out)
{
	struct fs_key key = key_of(parent->share, stx);
	struct fs_inode *inode = *bucket(s, &key);
	while (inode && !same_key(&inode->key, &key))
		inode = inode->next;
	if (inode && !same_birth(inode, stx)) { /* the file is gone, and its number was given to this one */
		if (inode->root)
			return -ESTALE;
		hash_out(s, inode);
		inode = NULL;
	}
	if (inode) {
		/* no directory lies in itself, nor in its share's root twice: the host's numbers repeat */
		if (name && inode->type == S_IFDIR && (inode == parent || inode->root))
			return -ELOOP;
		if (name)
			inode__moved(s, inode, parent, name);
		*out = inode;
		return 0;
	}

	inode = new_inode();
	char *copy = name ? strdup(name) : NULL;
	int err = inode && (copy || !name) ? hash_grow(s) : -ENOMEM;
	if (!err)
		err = slots__add(&s->inodes, inode, s->inodes_max, &inode->id);
	if (err) {
		free(inode);
		free(copy);
		return err;
	}
	describe(inode, parent->share, stx);
	inode->submount = inode->type == S_IFDIR && !parent->share->layer &&
			  (key.dev != parent->key.dev || key.mount != parent->key.mount);
	if (!inode->submount || !s->submounts)
		inode->top_dev = parent->top_dev;
	if (name) {
		inode->parent = parent;
		inode->name = copy;
		parent->refs++;
	}
	hash_in(s, inode);
	*out = inode;
	return 0;
}

int inode__new_under(struct fs_session *s, struct fs_share *share, struct fs_inode *parent, const char *name,
		     const struct statx *stx, struct fs_inode **out)
{
	struct fs_inode *under = new_inode();
	char *copy = under ? strdup(name) : NULL;
	(void)s;
	if (!copy) {
		free(under);
		return -ENOMEM;
	}
	describe(under, share, stx);
	under->refs = 1;
	under->parent = parent;
	under->name = copy;
	parent->refs++;
	*out = under;
	return 0;
}

static void drop_under(struct fs_session *s, struct fs_inode *inode)
{
	struct fs_inode *under = inode->under;
	if (!under)
		return;
	inode->under = NULL;
	under->refs--;
	inode__put(s, under);
}

int inode__set_under(struct fs_session *s, struct fs_inode *inode, struct fs_inode *parent, const char *name,
		     const struct statx *stx)
{
	struct fs_inode *under = inode->under;
	if (stx && under && under->parent == parent && !strcmp(under->name, name) && inode__is(under, stx))
		return 0;
	drop_under(s, inode);
	return stx ? inode__new_under(s, inode->share, parent, name, stx, &inode->under) : 0;
}

int inode__raise(struct fs_session *s, struct fs_inode *inode, const struct statx *stx)
{
	if (inode->type == S_IFDIR) {
		int err = inode__new_under(s, inode->share, inode->parent, inode->name, stx, &inode->under);
		if (err)
			return err;
		inode->under->key = inode->key;
		inode->under->born_sec = inode->born_sec;
		inode->under->born_nsec = inode->born_nsec;
	}
	struct fs_owner *owner = owner__take(s, inode);
	hash_out(s, inode);
	fd__close(s, inode);
	identify(inode, stx);
	inode->upper = true;
	hash_in(s, inode);
	owner__give(s, inode, owner);
	return 0;
}

void inode__put(struct fs_session *s, struct fs_inode *inode)
{
	while (inode && !inode->root && !inode->lookups && !inode->refs) {
		struct fs_inode *parent = inode->parent;
		if (inode->doomed)
			owner__forget(s, inode);
		quota__forgotten(s, inode);
		changes__unwatch(s, inode);
		hash_out(s, inode);
		fd__close(s, inode);
		drop_under(s, inode);
		if (inode->id)
			slots__remove(&s->inodes, inode->id);
		free(inode->name);
		free(inode);
		if (parent)
			parent->refs--;
		inode = parent;
	}
}

void inode__forget(struct fs_session *s, struct fs_inode *inode, uint64_t lookups)
{
	inode->lookups -= lookups < inode->lookups ? lookups : inode->lookups;
	inode__put(s, inode);
}

void inode__free_all(struct fs_session *s, bool roots)
{
	/* Children first would need a sort; instead every hold is dropped, then all are freed alike. */
	for (uint32_t i = 0; i < s->inodes.count; i++) {
		struct fs_inode *inode = s->inodes.slots[i].object;
		if (!inode)
			continue;
		inode->refs = 0;
		inode->lookups = 0;
		inode->parent = NULL;
		inode->stamped = false;
		inode->root = inode->root && !roots;
		if (inode->under && !inode->root) {
			inode->under->parent = NULL;
			inode->under->root = false;
		}
	}
	for (uint32_t i = 0; i < s->inodes.count; i++)
		if (s->inodes.slots[i].object)
			inode__put(s, s->inodes.slots[i].object);
}
