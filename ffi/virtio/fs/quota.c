/* What the guest adds to a share that has a size: counted by what each of its requests changes in the blocks of the
 * host's file, so that nothing is walked. All of it is at least a block, and a name or an attribute more costs, too.
 *
 * What the guest takes away is given back, its own or not, once the host's file system has it: an open file has lost no
 * blocks with its name. What the host changes is not counted. What it removes of the guest's is given back when there
 * would be no room otherwise: so an inode that something was counted for stays known.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "common/clock.h"
#include "virtio/fs/internal.h"

enum {
	BLOCK = QUOTA_LEAST,
	PARTS_MAX = 256,         /* times that a file is asked for its parts */
	LAYER_DEPTH = 256,       /* of directories in a layer that is counted */
	ZFS_MAGIC = 0x2fc12fc1,  /* which tells blocks seconds later: sizes count there */
	LOOK_NS = 500 * 1000000, /* between looks for what the host has removed, */
	LOOK_SHARE = 10,         /* which take one part of the time at most */
};

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t rounded_up(uint64_t bytes)
{
	return plus(bytes, BLOCK - 1) / BLOCK * BLOCK;
}

uint64_t quota__weight(const struct fs_share *share, const struct statx *stx)
{
	bool by_size = share->quota.by_size && S_ISREG(stx->stx_mode);
	uint64_t bytes = by_size ? rounded_up(stx->stx_size) : stx->stx_blocks * 512;
	return bytes > BLOCK ? bytes : BLOCK;
}

uint64_t quota__weigh(const struct fs_share *share, int fd)
{
	struct statx stx;
	return share->quota.size && fd >= 0 && !stat__at(fd, "", &stx) ? quota__weight(share, &stx) : 0;
}

/* --- counting --- */

static void keep(struct fs_session *s, struct fs_inode *inode)
{
	if (inode->kept || inode->root || s->kept >= s->inodes_max / 2)
		return;
	inode->kept = true;
	inode->refs++;
	s->kept++;
}

/* Who holds it puts it. What nothing else holds may be in use all the same, until the request has ended. */
static void let_go(struct fs_session *s, struct fs_inode *inode)
{
	if (!inode->kept)
		return;
	if (!inode->lookups && inode->refs == 1) {
		s->loose = true;
		return;
	}
	inode->kept = false;
	inode->refs--;
	s->kept--;
}

void quota__sweep(struct fs_session *s)
{
	for (uint32_t i = 0; s->loose && i < s->inodes.count; i++) {
		struct fs_inode *inode = s->inodes.slots[i].object;
		if (!inode || !inode->kept || inode->charge)
			continue;
		inode->kept = false;
		inode->refs--;
		s->kept--;
		inode__put(s, inode);
	}
	s->loose = false;
}

void quota__changed(struct fs_session *s, struct fs_inode *inode, uint64_t before, uint64_t after)
{
	struct fs_quota *quota = &inode->share->quota;
	if (!quota->size || before == after)
		return;
	quota->used = minus(plus(quota->used, after), before);
	inode->charge = minus(plus(inode->charge, after), before);
	if (inode->charge)
		keep(s, inode);
	else
		let_go(s, inode);
}

void quota__named(struct fs_session *s, struct fs_inode *inode, bool more)
{
	uint64_t before = more || inode->charge < QUOTA_NAME ? 0 : QUOTA_NAME;
	quota__changed(s, inode, before, more ? QUOTA_NAME : 0);
}

static void give_back(struct fs_session *s, struct fs_inode *inode)
{
	struct fs_quota *quota = &inode->share->quota;
	quota->used = minus(quota->used, inode->charge);
	inode->charge = 0;
	let_go(s, inode);
}

/* Whether the guest has the file open, by whichever share. What would keep its blocks besides is closed. */
static bool is_open(struct fs_session *s, const struct fs_inode *inode)
{
	for (struct fs_inode *at = inode__of_file(s, inode, NULL); at; at = inode__of_file(s, inode, at)) {
		if (at->handles || at->root)
			return true;
		fd__close(s, at);
	}
	return false;
}

void quota__removed(struct fs_session *s, struct fs_share *share, struct fs_inode *inode, const struct statx *stx)
{
	bool directory = S_ISDIR(stx->stx_mode), own = !share->layer || (inode && inode->upper);
	if (!share->quota.size || !own || union__is_whiteout(stx))
		return;
	uint64_t weight = quota__weight(share, stx);
	if (!directory && stx->stx_nlink > 1) {
		if (inode)
			quota__named(s, inode, false);
	} else if (!inode) {
		share->quota.used = minus(share->quota.used, weight);
	} else {
		inode->charge = weight > inode->charge ? weight : inode->charge;
		if (directory) /* who works in it goes on: it is given back with the inode */
			let_go(s, inode);
		else if (is_open(s, inode))
			keep(s, inode);
		else
			give_back(s, inode);
	}
}

void quota__closed(struct fs_session *s, const struct fs_inode *inode, int fd)
{
	struct statx stx;
	for (struct fs_inode *at = inode__of_file(s, inode, NULL); at; at = inode__of_file(s, inode, at)) {
		if (at->type != S_IFREG || !at->share->quota.size || !at->charge)
			continue;
		if (stat__at(fd, "", &stx) || is_open(s, inode))
			return;
		if (!stx.stx_nlink || at->doomed)
			give_back(s, at);
	}
}

void quota__forgotten(struct fs_session *s, const struct fs_inode *inode)
{
	s->kept -= inode->kept;
	if (inode->doomed && inode->share && inode->type == S_IFDIR)
		inode->share->quota.used = minus(inode->share->quota.used, inode->charge);
}

/* --- what there is room for --- */

/* Whether the host may have removed it. The guest's own renames are known here, so a place without the inode is one
 * that the host took it from. */
static bool is_missing(struct fs_session *s, struct fs_inode *inode)
{
	struct statx stx;
	unsigned depth = 0;
	for (const struct fs_inode *at = inode; !at->root; at = at->parent)
		if (!at->parent || depth++ == FS_DEPTH_MAX)
			return false;
	if (inode->root)
		return false;
	int dir = inode__fd(s, inode->parent);
	int err = dir < 0 ? dir : stat__at(dir, inode->name, &stx);
	return err == -ENOENT || err == -ESTALE || (!err && !inode__is(inode, &stx));
}

static void look_for_removed(struct fs_session *s, struct fs_share *share)
{
	struct fs_quota *quota = &share->quota;
	uint64_t began = monotonic_ns();
	if (share->layer || began < quota->look_again) /* nobody else changes a layer */
		return;
	for (uint32_t i = 0; i < s->inodes.count; i++) {
		struct fs_inode *inode = s->inodes.slots[i].object;
		if (!inode || !inode->charge || inode->share != share || inode->handles || !is_missing(s, inode) ||
		    is_open(s, inode))
			continue;
		fd__close(s, inode);
		give_back(s, inode);
	}
	uint64_t now = monotonic_ns();
	quota->look_again = now + LOOK_NS + (now - began) * LOOK_SHARE;
}

static uint64_t room(const struct fs_quota *quota)
{
	return minus(quota->size, quota->used);
}

int quota__admit(struct fs_session *s, struct fs_share *share, uint64_t bytes)
{
	if (!share->quota.size || bytes <= room(&share->quota))
		return 0;
	look_for_removed(s, share);
	return bytes <= room(&share->quota) ? 0 : -ENOSPC;
}

/* What is left of a range, and of the bytes that it may take where it has no blocks. */
struct stretch {
	uint64_t at, end, budget;
};

/* What is before `next` has none: whether it may take so much. */
static bool spend(struct stretch *left, uint64_t next)
{
	uint64_t missing = minus(next < left->end ? next : left->end, left->at);
	uint64_t fits = missing <= left->budget ? missing : left->budget / BLOCK * BLOCK;
	left->at += fits;
	left->budget -= fits;
	return fits == missing;
}

static void skip(struct stretch *left, uint64_t next)
{
	left->at = next < left->at ? left->at : next < left->end ? next : left->end;
}

/* Where the file system tells of data alone: what it has set aside is not seen. */
static void pass_data(int fd, struct stretch *left)
{
	for (unsigned i = 0; left->at < left->end && i < PARTS_MAX; i++) {
		off_t data = lseek(fd, (off_t)left->at, SEEK_DATA);
		if (!spend(left, data < 0 ? UINT64_MAX : (uint64_t)data))
			return;
		off_t hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
		skip(left, hole < 0 ? UINT64_MAX : (uint64_t)hole);
	}
	(void)spend(left, UINT64_MAX);
}

/* As far as there are blocks, or the budget goes. In a file of many parts what follows is taken to have none. */
static void pass_blocks(int fd, struct stretch *left)
{
	struct {
		struct fiemap map;
		struct fiemap_extent extents[32];
	} ask;
	bool last = false;
	for (unsigned parts = 0; left->at < left->end && !last && parts < PARTS_MAX; parts++) {
		ask.map =
			(struct fiemap){.fm_start = left->at, .fm_length = left->end - left->at, .fm_extent_count = 32};
		if (ioctl(fd, FS_IOC_FIEMAP, &ask)) {
			pass_data(fd, left);
			return;
		}
		last = !ask.map.fm_mapped_extents;
		for (unsigned i = 0; i < ask.map.fm_mapped_extents && i < 32; i++) {
			const struct fiemap_extent *part = &ask.extents[i];
			if (!spend(left, part->fe_logical))
				return;
			skip(left, plus(part->fe_logical, part->fe_length));
			last = part->fe_flags & FIEMAP_EXTENT_LAST;
		}
	}
	(void)spend(left, UINT64_MAX);
}

int quota__admit_range(struct fs_session *s, struct fs_share *share, int fd, uint64_t offset, size_t *len, bool all)
{
	struct stretch left = {.at = offset / BLOCK * BLOCK, .end = rounded_up(offset + *len)};
	struct statx stx;
	if (!share->quota.size || !*len || !quota__admit(s, share, left.end - left.at))
		return 0;
	int err = stat__at(fd, "", &stx);
	if (err)
		return err;
	uint64_t weight = quota__weight(share, &stx);
	left.budget = room(&share->quota) + (share->quota.by_size ? 0 : minus(weight, stx.stx_blocks * 512));
	if (share->quota.by_size) {
		skip(&left, weight);
		(void)spend(&left, UINT64_MAX);
	} else {
		pass_blocks(fd, &left);
	}
	if (left.at == left.end)
		return 0;
	if (all || left.at <= offset)
		return -ENOSPC;
	*len = left.at - offset < *len ? left.at - offset : *len;
	return 0;
}

int quota__resize(struct fs_session *s, struct fs_inode *inode, int fd, uint64_t size)
{
	struct fs_share *share = inode->share;
	struct statx was;
	int err = share->quota.size ? stat__at(fd, "", &was) : 0;
	if (err || ftruncate(fd, (off_t)size))
		return err ? err : -errno;
	if (!share->quota.size)
		return 0;
	uint64_t before = quota__weight(share, &was), after = quota__weigh(share, fd);
	if (size > was.stx_size && after > before && quota__admit(s, share, after - before)) {
		err = -ENOSPC; /* where the file system has no holes */
		(void)!ftruncate(fd, (off_t)was.stx_size);
		after = quota__weigh(share, fd);
	}
	quota__changed(s, inode, before, after);
	return err;
}

void quota__show(struct fs_session *s, struct fs_share *share, struct fuse_kstatfs *st)
{
	const struct fs_quota *quota = &share->quota;
	if (!quota->size)
		return;
	look_for_removed(s, share);
	uint64_t unit = st->frsize ? st->frsize : BLOCK, left = room(quota) / unit, files = room(quota) / BLOCK;
	st->blocks = quota->size / unit;
	st->bfree = left < st->bfree ? left : st->bfree;
	st->bavail = left < st->bavail ? left : st->bavail;
	st->ffree = files < st->ffree || !st->files ? files : st->ffree;
	st->files = quota->size / BLOCK;
}

/* --- what a layer holds already --- */

static int open_directory(struct fs_session *s, int at, const char *name)
{
	mode_t mode;
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW, fd = fd__open(s, at, name, flags, 0);
	int found = fd == -EACCES ? fd__open(s, at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0) : -1;
	if (found < 0)
		return fd;
	if (!fd__lend(s, found, &mode)) {
		fd = fd__open(s, at, name, flags, 0);
		fd__take_back(s, found, mode);
	}
	close(found);
	return fd;
}

/* All names of a file are in the layer: each counts its part. */
static int count(struct fs_session *s, struct fs_share *share, int at, const char *name, unsigned depth)
{
	_Alignas(struct dirent64) char data[2048];
	struct statx stx;
	ssize_t n = 0;
	int dir = depth ? open_directory(s, at, name) : -ELOOP, err = dir < 0 ? dir : 0;
	while (!err && (n = getdents64(dir, data, sizeof(data))) > 0) {
		for (ssize_t next = 0; !err && next < n;) {
			const struct dirent64 *d = (const void *)(data + next);
			next += d->d_reclen;
			if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
				continue;
			err = stat__at(dir, d->d_name, &stx);
			if (err || union__is_whiteout(&stx))
				continue;
			bool directory = S_ISDIR(stx.stx_mode);
			uint64_t names = directory || !stx.stx_nlink ? 1 : stx.stx_nlink;
			share->quota.used = plus(share->quota.used, quota__weight(share, &stx) / names);
			err = directory ? count(s, share, dir, d->d_name, depth - 1) : 0;
		}
	}
	if (!err && n < 0)
		err = -errno;
	if (dir >= 0)
		close(dir);
	return err;
}

int quota__begin(struct fs_session *s, struct fs_share *share, uint64_t size)
{
	struct statfs st;
	share->quota.size = size;
	if (!size)
		return 0;
	int fd = share->layer ? share->layer->fd : share->root->fd;
	if (fstatfs(fd, &st))
		return -errno;
	share->quota.by_size = st.f_type == ZFS_MAGIC;
	int err = share->layer ? count(s, share, fd, ".", LAYER_DEPTH) : 0;
	if (err == -ELOOP) /* what lies deeper than any honest tree was put there not to be counted */
		share->quota.used = size;
	return err == -ELOOP ? 0 : err;
}
