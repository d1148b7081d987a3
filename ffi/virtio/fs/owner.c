/* Who owns the files of a share, as the guest sees it: the host's ids, mapped ids, or owners that exist here only.
 *
 * Where the guest's ids are not the host's (root, caller), set-user-id and set-group-id bits of files never reach the
 * host: there they would give away the rights of whoever runs the sandbox.
 */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { UNMAPPED = 65534 };

/* What the guest made of a file under FS_OWNER_ROOT. */
struct fs_owner {
	struct fs_key key;
	int64_t born_sec;
	uint32_t born_nsec;
	uint32_t uid, gid;
	mode_t special; /* S_ISUID, S_ISGID */
	struct fs_owner *next;
};

static bool is_virtual(const struct fs_share *share)
{
	return share->ownership == FS_OWNER_ROOT || share->ownership == FS_OWNER_CALLER;
}

/* --- remembered owners --- */

static struct fs_owner **owner_bucket(const struct fs_session *s, const struct fs_key *key)
{
	uint64_t hash = (key->ino ^ key->dev << 32 ^ (uint64_t)key->share << 56) * 0x9e3779b97f4a7c15ULL;
	return &s->owners[hash >> 32 & (s->owner_buckets - 1)];
}

/* The mount does not matter: a file is the same by every way to it. */
static struct fs_owner **owner_find(const struct fs_session *s, const struct fs_inode *inode)
{
	if (!s->owner_buckets)
		return NULL;
	struct fs_owner **at = owner_bucket(s, &inode->key);
	while (*at && ((*at)->key.ino != inode->key.ino || (*at)->key.dev != inode->key.dev ||
		       (*at)->key.share != inode->key.share || (*at)->born_sec != inode->born_sec ||
		       (*at)->born_nsec != inode->born_nsec))
		at = &(*at)->next;
	return at;
}

static int owners_grow(struct fs_session *s)
{
	if (s->owner_buckets > s->owner_count)
		return 0;
	uint32_t old_count = s->owner_buckets;
	struct fs_owner **old = s->owners;
	uint32_t count = old_count ? old_count * 2 : 64;
	struct fs_owner **larger = calloc(count, sizeof(struct fs_owner *));
	if (!larger)
		return old ? 0 : -ENOMEM;
	s->owners = larger;
	s->owner_buckets = count;
	for (uint32_t i = 0; i < old_count; i++) {
		for (struct fs_owner *owner = old[i], *next; owner; owner = next) {
			struct fs_owner **at = owner_bucket(s, &owner->key);
			next = owner->next;
			owner->next = *at;
			*at = owner;
		}
	}
	free(old);
	return 0;
}

static void owner_drop(struct fs_session *s, struct fs_owner **at)
{
	struct fs_owner *gone = *at;
	*at = gone->next;
	free(gone);
	s->owner_count--;
}

static const struct fs_owner *owner_of(const struct fs_session *s, const struct fs_inode *inode)
{
	struct fs_owner **at = owner_find(s, inode);
	return at ? *at : NULL;
}

/* Root's files without special bits are what needs no remembering. */
static int owner_remember(struct fs_session *s, const struct fs_inode *inode, uint32_t uid, uint32_t gid,
			  mode_t special)
{
	struct fs_owner **at = owner_find(s, inode);
	if (!uid && !gid && !special) {
		if (at && *at)
			owner_drop(s, at);
		return 0;
	}
	if (!at || !*at) {
		if (s->owner_count >= FS_OWNERS_MAX)
			return -ENOSPC;
		int err = owners_grow(s);
		if (err)
			return err;
		struct fs_owner *owner = calloc(1, sizeof(*owner));
		if (!owner)
			return -ENOMEM;
		owner->key = inode->key;
		owner->born_sec = inode->born_sec;
		owner->born_nsec = inode->born_nsec;
		at = owner_bucket(s, &inode->key);
		owner->next = *at;
		*at = owner;
		s->owner_count++;
	}
	(*at)->uid = uid;
	(*at)->gid = gid;
	(*at)->special = special;
	return 0;
}

void owner__forget(struct fs_session *s, const struct fs_inode *inode)
{
	struct fs_owner **at = owner_find(s, inode);
	if (at && *at)
		owner_drop(s, at);
}

struct fs_owner *owner__take(struct fs_session *s, const struct fs_inode *inode)
{
	struct fs_owner **at = owner_find(s, inode), *owner = at ? *at : NULL;
	if (owner) {
		*at = owner->next;
		s->owner_count--;
	}
	return owner;
}

void owner__give(struct fs_session *s, const struct fs_inode *inode, struct fs_owner *owner)
{
	if (!owner)
		return;
	owner__forget(s, inode); /* of a file that had its number before */
	struct fs_owner **at = owner_bucket(s, &inode->key);
	owner->key = inode->key;
	owner->born_sec = inode->born_sec;
	owner->born_nsec = inode->born_nsec;
	owner->next = *at;
	*at = owner;
	s->owner_count++;
}

void owner__free_all(struct fs_session *s)
{
	for (uint32_t i = 0; i < s->owner_buckets; i++)
		while (s->owners[i])
			owner_drop(s, &s->owners[i]);
	free(s->owners);
	s->owners = NULL;
	s->owner_buckets = 0;
}

/* --- mapped ids --- */

static uint32_t to_guest(const struct fs_id_range *map, unsigned count, uint32_t host)
{
	for (unsigned i = 0; i < count; i++)
		if (host >= map[i].host && host - map[i].host < map[i].count)
			return map[i].guest + (host - map[i].host);
	return UNMAPPED;
}

static int to_host(const struct fs_id_range *map, unsigned count, uint32_t guest, uint32_t *host)
{
	for (unsigned i = 0; i < count; i++) {
		if (guest >= map[i].guest && guest - map[i].guest < map[i].count) {
			*host = map[i].host + (guest - map[i].guest);
			return 0;
		}
	}
	return -EINVAL;
}

/* Guest ids to the host's; an id of -1 ("as it is") stays. */
static int host_ids(const struct fs_share *share, uint32_t *uid, uint32_t *gid)
{
	if (share->ownership != FS_OWNER_MAP)
		return 0;
	int err = *uid == UINT32_MAX ? 0 : to_host(share->uid_map, share->uid_map_count, *uid, uid);
	if (!err && *gid != UINT32_MAX)
		err = to_host(share->gid_map, share->gid_map_count, *gid, gid);
	return err;
}

/* --- the host's mode and owner --- */

static int host_chmod(const struct fs_session *s, int fd, mode_t mode)
{
	char number[16];
	snprintf(number, sizeof(number), "%d", fd);
	return fchmodat(s->proc, number, mode & 07777, 0) ? -errno : 0;
}

static int host_chown(int fd, uint32_t uid, uint32_t gid)
{
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

/* The special bits a guest may see of a host file whose owner it does not see. */
static mode_t shown_special(const struct statx *stx)
{
	return (stx->stx_uid ? 0 : S_ISUID) | (stx->stx_gid ? 0 : S_ISGID);
}

int owner__copy(struct fs_session *s, const struct fs_inode *inode, int fd, const struct statx *stx)
{
	struct timespec times[2] = {
		{.tv_sec = stx->stx_atime.tv_sec, .tv_nsec = stx->stx_atime.tv_nsec},
		{.tv_sec = stx->stx_mtime.tv_sec, .tv_nsec = stx->stx_mtime.tv_nsec},
	};
	const struct fs_owner *owner = owner_of(s, inode);
	mode_t mode = stx->stx_mode & 07777, special = mode & (S_ISUID | S_ISGID);
	int err = 0;
	/* where a change of owner is refused the copy is the user's, as all that the guest makes */
	bool same = !is_virtual(inode->share) && !host_chown(fd, stx->stx_uid, stx->stx_gid);
	if (!same && inode->type != S_IFDIR)
		mode &= ~special;
	if (inode->share->ownership == FS_OWNER_ROOT && inode->type != S_IFDIR && special & shown_special(stx))
		err = owner_remember(s, inode, owner ? owner->uid : 0, owner ? owner->gid : 0,
				     (owner ? owner->special : 0) | (special & shown_special(stx)));
	if (!err && inode->type != S_IFLNK)
		err = host_chmod(s, fd, mode);
	if (!err && utimensat(fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
		err = -errno;
	return err;
}

void owner__show(const struct fs_request *req, const struct fs_inode *inode, const struct statx *stx,
		 struct fuse_attr *attr)
{
	const struct fs_share *share = inode->share;
	const struct fs_owner *owner;
	attr->uid = stx->stx_uid;
	attr->gid = stx->stx_gid;
	attr->mode = stx->stx_mode;
	switch (share->ownership) {
	case FS_OWNER_ROOT:
		owner = owner_of(req->session, inode);
		if (inode->type != S_IFDIR)
			attr->mode &= ~(mode_t)(S_ISUID | S_ISGID) | shown_special(stx);
		attr->mode |= owner ? owner->special : 0;
		attr->uid = owner ? owner->uid : 0;
		attr->gid = owner ? owner->gid : 0;
		break;
	case FS_OWNER_CALLER:
		if (inode->type != S_IFDIR)
			attr->mode &= ~(mode_t)(S_ISUID | S_ISGID);
		attr->uid = req->header.uid;
		attr->gid = req->header.gid;
		break;
	case FS_OWNER_PASSTHROUGH:
		break;
	case FS_OWNER_MAP:
		attr->uid = to_guest(share->uid_map, share->uid_map_count, stx->stx_uid);
		attr->gid = to_guest(share->gid_map, share->gid_map_count, stx->stx_gid);
		break;
	}
}

/* The group a new file gets: its directory's when that says so, else its creator's (UINT32_MAX: as the host did). */
static int new_group(const struct fs_request *req, mode_t *mode, const struct fs_inode *inode, uint32_t *gid)
{
	struct statx parent;
	int err = inode__stat(req->session, req->inode, &parent);
	if (err)
		return err;
	*gid = req->header.gid;
	if (!(parent.stx_mode & S_ISGID))
		return 0;
	if (inode->type == S_IFDIR)
		*mode |= S_ISGID;
	const struct fs_owner *owner = owner_of(req->session, req->inode);
	if (req->share->ownership == FS_OWNER_ROOT)
		*gid = owner ? owner->gid : 0;
	else
		*gid = UINT32_MAX;
	return 0;
}

int owner__created(const struct fs_request *req, struct fs_inode *inode, int fd, mode_t mode, struct statx *stx)
{
	const struct fs_share *share = req->share;
	uint32_t uid = req->header.uid, gid;
	mode_t special = inode->type == S_IFDIR ? 0 : mode & (S_ISUID | S_ISGID);
	int err = new_group(req, &mode, inode, &gid);
	if (err)
		return err;
	bool changed = false;
	if (is_virtual(share)) {
		mode &= ~special;
		if (share->ownership == FS_OWNER_ROOT)
			err = owner_remember(req->session, inode, uid, gid, special);
	} else {
		err = host_ids(share, &uid, &gid);
		if (err == -EINVAL) /* as the kernel answers for an id without a mapping */
			err = -EOVERFLOW;
		if (uid == stx->stx_uid)
			uid = UINT32_MAX;
		if (gid == stx->stx_gid)
			gid = UINT32_MAX;
		if (!err && (uid != UINT32_MAX || gid != UINT32_MAX)) {
			changed = true;
			fd = fd >= 0 ? fd : inode__fd(req->session, inode);
			err = fd < 0 ? fd : host_chown(fd, uid, gid);
		}
	}
	/* The host's umask, an inherited access list, or the change of owner may have changed it. */
	if (!err && inode->type != S_IFLNK && (changed || (stx->stx_mode & 07777) != (mode & 07777))) {
		changed = true;
		fd = fd >= 0 ? fd : inode__fd(req->session, inode);
		err = fd < 0 ? fd : host_chmod(req->session, fd, mode);
	}
	if (!err && changed)
		err = stat__at(fd, "", stx);
	return err;
}

int owner__kill_suidgid(const struct fs_request *req, struct fs_inode *inode)
{
	struct statx stx;
	const struct fs_owner *owner = owner_of(req->session, inode);
	if (inode->type != S_IFREG)
		return 0;
	int err = inode__stat(req->session, inode, &stx);
	if (err)
		return err;
	mode_t kill = S_ISUID | (stx.stx_mode & S_IXGRP ? S_ISGID : 0);
	if (owner && owner->special & kill)
		err = owner_remember(req->session, inode, owner->uid, owner->gid, owner->special & ~kill);
	if (err || !(stx.stx_mode & kill))
		return err;
	int fd = inode__fd(req->session, inode);
	return fd < 0 ? fd : host_chmod(req->session, fd, stx.stx_mode & ~kill);
}

int owner__chown(const struct fs_request *req, struct fs_inode *inode, const struct fuse_setattr_in *in)
{
	const struct fs_share *share = inode->share;
	uint32_t uid = in->valid & FATTR_UID ? in->uid : UINT32_MAX;
	uint32_t gid = in->valid & FATTR_GID ? in->gid : UINT32_MAX;
	int err = owner__kill_suidgid(req, inode);
	if (err)
		return err;
	if (share->ownership == FS_OWNER_CALLER)
		return 0;
	if (share->ownership == FS_OWNER_ROOT) {
		const struct fs_owner *owner = owner_of(req->session, inode);
		if (uid == UINT32_MAX)
			uid = owner ? owner->uid : 0;
		if (gid == UINT32_MAX)
			gid = owner ? owner->gid : 0;
		return owner_remember(req->session, inode, uid, gid, owner ? owner->special : 0);
	}
	err = host_ids(share, &uid, &gid);
	if (err)
		return err;
	int fd = inode__fd(req->session, inode);
	return fd < 0 ? fd : host_chown(fd, uid, gid);
}

int owner__chmod(const struct fs_request *req, struct fs_inode *inode, mode_t mode)
{
	const struct fs_share *share = inode->share;
	int fd = inode__fd(req->session, inode);
	if (fd < 0)
		return fd;
	if (inode->type == S_IFLNK)
		return -EOPNOTSUPP;
	mode_t special = inode->type == S_IFDIR || !is_virtual(share) ? 0 : mode & (S_ISUID | S_ISGID);
	int err = host_chmod(req->session, fd, mode & ~special);
	if (err || share->ownership != FS_OWNER_ROOT || inode->type == S_IFDIR)
		return err;
	const struct fs_owner *owner = owner_of(req->session, inode);
	return owner_remember(req->session, inode, owner ? owner->uid : 0, owner ? owner->gid : 0, special);
}
