/* Making, linking, renaming and removing the entries of directories. */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* rename2() flags, <linux/fs.h>; declared by newer C libraries only. */
enum { NOREPLACE = 1, EXCHANGE = 2 };

/* Answer for an object just made at the spot of name[0]: the creator's, known by its own node. */
static int reply_made(struct fs_request *req, struct fs_spot *spot, mode_t mode)
{
	struct fs_inode *inode;
	struct fs_found found;
	int err = spot__fill(req->session, req->inode, req->name[0], spot, S_ISDIR(mode));
	if (!err)
		err = union__find(req->session, req->inode, req->name[0], &found);
	if (!err && (found.stx.stx_mode & S_IFMT) != (mode & S_IFMT))
		err = -ESTALE; /* the host was quicker */
	if (!err)
		err = union__intern(req->session, req->inode, req->name[0], &found, &inode);
	if (err)
		return err;
	uint64_t weight = quota__weight(req->share, &found.stx);
	quota__changed(req->session, inode, 0, weight);
	err = owner__created(req, inode, -1, mode, &found.stx);
	if (err) {
		quota__changed(req->session, inode, weight, 0);
		union__unmake(req->session, req->inode, req->name[0], S_ISDIR(mode));
		inode__put(req->session, inode);
		return err;
	}
	attr__entry(req, inode, &found.stx, req->out);
	req->out_len = sizeof(struct fuse_entry_out);
	return 0;
}

int op__mknod(struct fs_request *req)
{
	const struct fuse_mknod_in *in = req->in;
	mode_t type = in->mode & S_IFMT;
	struct fs_spot spot;
	if (type == S_IFCHR || type == S_IFBLK)
		return -EPERM;
	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
		return -EINVAL;
	int err = spot__find(req->session, req->inode, req->name[0], &spot);
	if (err)
		return err;
	if (mknodat(spot.dir, spot.name, type | (in->mode & 01777), 0))
		return -errno;
	return reply_made(req, &spot, in->mode);
}

int op__mkdir(struct fs_request *req)
{
	const struct fuse_mkdir_in *in = req->in;
	struct fs_spot spot;
	int err = spot__find(req->session, req->inode, req->name[0], &spot);
	if (err)
		return err;
	if (mkdirat(spot.dir, spot.name, in->mode & 01777))
		return -errno;
	return reply_made(req, &spot, S_IFDIR | (in->mode & 07777));
}

int op__symlink(struct fs_request *req)
{
	struct fs_spot spot;
	int err = spot__find(req->session, req->inode, req->name[0], &spot);
	if (err)
		return err;
	if (symlinkat(req->name[1], spot.dir, spot.name))
		return -errno;
	return reply_made(req, &spot, S_IFLNK | 0777);
}

/* Give the inode, which is to be changed already, the name. */
static int link_at(struct fs_request *req, struct fs_inode *inode)
{
	struct fs_spot spot;
	char number[16];
	int err = spot__find(req->session, req->inode, req->name[0], &spot);
	int fd = err ? err : inode__fd(req->session, inode);
	if (fd < 0)
		return fd;
	/* Follows the link in /proc, which leads to the very file of fd, and no symlink beyond it. */
	snprintf(number, sizeof(number), "%d", fd);
	if (linkat(req->session->proc, number, spot.dir, spot.name, AT_SYMLINK_FOLLOW))
		return -errno;
	return spot__fill(req->session, req->inode, req->name[0], &spot, false);
}

int op__link(struct fs_request *req)
{
	const struct fuse_link_in *in = req->in;
	struct fs_inode *inode = slots__get(&req->session->inodes, in->oldnodeid);
	struct statx stx;
	if (!inode)
		return -ESTALE;
	if (inode->share != req->share)
		return -EXDEV;
	if (inode->type == S_IFDIR)
		return -EPERM;
	int err = protect__inode(req->session, inode);
	if (!err)
		err = union__own(req->session, inode, false);
	if (!err)
		err = link_at(req, inode);
	if (!err)
		err = stat__at(inode__fd(req->session, inode), "", &stx);
	if (err)
		return err;
	quota__named(req->session, inode, true);
	inode__moved(req->session, inode, req->inode, req->name[0]);
	attr__entry(req, inode, &stx, req->out);
	req->out_len = sizeof(struct fuse_entry_out);
	return 0;
}

/* What is at this name, held by a reference; *inode is NULL where there is nothing. In a share of one layer, which
 * takes what the host says, also where the guest knows no node of it. */
static int hold(struct fs_request *req, struct fs_inode *dir, const char *name, struct fs_found *found,
		struct fs_inode **inode)
{
	struct fs_session *s = req->session;
	*inode = NULL;
	int err = union__find(s, dir, name, found);
	if (err) /* the host may make it before it is removed */
		found->stx = (struct statx){0};
	if (req->share->layer && !err)
		err = union__intern(s, dir, name, found, inode);
	else if (!err)
		*inode = inode__find(s, req->share, &found->stx);
	if (*inode)
		(*inode)->refs++;
	return req->share->layer && err != -ENOENT ? err : 0;
}

static void let_go(struct fs_request *req, struct fs_inode *inode)
{
	if (!inode)
		return;
	inode->refs--;
	inode__put(req->session, inode);
}

static void gone(struct fs_request *req, struct fs_inode *inode, const struct fs_inode *dir, const char *name,
		 const struct statx *stx)
{
	if (stx->stx_nlink <= 1 || inode->type == S_IFDIR)
		inode->doomed = true;
	else if (req->share->layer && !inode->upper) /* the host goes on counting it */
		inode->links--;
	inode__unlinked(req->session, inode, dir, name);
	quota__removed(req->session, req->share, inode, stx);
}

/* Of an entry that is seen. */
static int remove_found(struct fs_request *req, struct fs_inode *inode, const struct fs_found *found, int flags)
{
	struct fs_session *s = req->session;
	if (!req->share->layer) {
		int dir = inode__fd(s, req->inode);
		return dir < 0 ? dir : unlinkat(dir, req->name[0], flags) ? -errno : 0;
	}
	if (!inode)
		return -ENOENT;
	if (inode->type == S_IFDIR && !(flags & AT_REMOVEDIR))
		return -EISDIR;
	if (inode->type != S_IFDIR && flags & AT_REMOVEDIR)
		return -ENOTDIR;
	int err = flags & AT_REMOVEDIR ? union__empty(s, inode) : 0;
	return err ? err : union__remove(s, req->inode, req->name[0], found);
}

static int remove_entry(struct fs_request *req, int flags)
{
	struct fs_found found;
	struct fs_inode *inode;
	int err = hold(req, req->inode, req->name[0], &found, &inode);
	if (err)
		return err;
	if (inode)
		inode__pin(req->session, inode, &found.stx);
	err = remove_found(req, inode, &found, flags);
	if (!err && inode)
		gone(req, inode, req->inode, req->name[0], &found.stx);
	else if (!err)
		quota__removed(req->session, req->share, NULL, &found.stx);
	let_go(req, inode);
	return err;
}

int op__unlink(struct fs_request *req)
{
	return remove_entry(req, 0);
}

int op__rmdir(struct fs_request *req)
{
	return remove_entry(req, AT_REMOVEDIR);
}

/* As the host's kernel asks where it does it all itself. */
static int may_replace(struct fs_session *s, const struct fs_inode *moved, struct fs_inode *target, unsigned flags)
{
	if (!moved || (!target && flags & EXCHANGE))
		return -ENOENT;
	if (target && flags & NOREPLACE)
		return -EEXIST;
	if (!target || flags & EXCHANGE)
		return 0;
	if (moved->type == S_IFDIR)
		return target->type == S_IFDIR ? union__empty(s, target) : -ENOTDIR;
	return target->type == S_IFDIR ? -EISDIR : 0;
}

static int rename_in_layer(struct fs_request *req, struct fs_inode *moved, struct fs_inode *to, struct fs_inode *target,
			   unsigned flags)
{
	struct fs_session *s = req->session;
	int err = flags & NOREPLACE || moved != target ? may_replace(s, moved, target, flags) : 0;
	if (!err && moved == target)
		return 0;
	if (!err)
		err = union__own(s, to, false);
	if (!err)
		err = union__own(s, moved, false);
	if (!err && flags & EXCHANGE)
		err = union__own(s, target, false);
	return err ? err : union__rename(s, req->inode, req->name[0], moved, to, req->name[1], target, flags);
}

static int rename_at(struct fs_request *req, struct fs_inode *moved, struct fs_inode *to, struct fs_inode *target,
		     unsigned flags)
{
	struct fs_session *s = req->session;
	if (req->share->layer)
		return moved || !target ? rename_in_layer(req, moved, to, target, flags) : -ENOENT;
	int from_fd = inode__fd(s, req->inode);
	int to_fd = from_fd < 0 ? from_fd : inode__fd(s, to);
	if (to_fd < 0)
		return to_fd;
	return renameat2(from_fd, req->name[0], to_fd, req->name[1], flags) ? -errno : 0;
}

static int rename_held(struct fs_request *req, struct fs_inode *moved, struct fs_inode *to, struct fs_inode *replaced,
		       const struct statx *replaced_stx, unsigned flags)
{
	struct fs_session *s = req->session;
	if (replaced && replaced != moved && !(flags & EXCHANGE))
		inode__pin(s, replaced, replaced_stx);
	int err = rename_at(req, moved, to, replaced, flags);
	if (err || moved == replaced) /* two names of one file: nothing happened */
		return err;
	if (replaced && flags & EXCHANGE)
		inode__moved(s, replaced, req->inode, req->name[0]);
	else if (replaced)
		gone(req, replaced, to, req->name[1], replaced_stx);
	if (moved)
		inode__moved(s, moved, to, req->name[1]);
	return 0;
}

static int rename_entry(struct fs_request *req, uint64_t newdir, unsigned flags)
{
	struct fs_session *s = req->session;
	struct fs_inode *to = slots__get(&s->inodes, newdir), *moved, *replaced;
	struct fs_found from_found, to_found;
	if (flags & ~(unsigned)(NOREPLACE | EXCHANGE))
		return -EINVAL;
	if (!to)
		return -ESTALE;
	if (to->share != req->share)
		return -EXDEV;
	use__write(s, req->share, to, req->name[1]);
	int err = protect__entry(s, to, req->name[1], false);
	if (!err)
		err = hold(req, req->inode, req->name[0], &from_found, &moved);
	if (err)
		return err;
	err = hold(req, to, req->name[1], &to_found, &replaced);
	uint64_t before = req->share->quota.size && to != req->inode ? quota__weigh(req->share, inode__fd(s, to)) : 0;
	if (!err)
		err = rename_held(req, moved, to, replaced, &to_found.stx, flags);
	uint64_t after = before ? quota__weigh(req->share, inode__fd(s, to)) : 0;
	if (after)
		quota__changed(s, to, before, after);
	let_go(req, replaced);
	let_go(req, moved);
	return err;
}

int op__rename(struct fs_request *req)
{
	const struct fuse_rename_in *in = req->in;
	return rename_entry(req, in->newdir, 0);
}

int op__rename2(struct fs_request *req)
{
	const struct fuse_rename2_in *in = req->in;
	return rename_entry(req, in->newdir, in->flags);
}
