/* Making, linking, renaming and removing the entries of directories. */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* rename2() flags, <linux/fs.h>; declared by newer C libraries only. */
enum { NOREPLACE = 1, EXCHANGE = 2, WHITEOUT = 4 };

/* Answer for an object just made at name[0]: the creator's, known by its own node. */
static int reply_made(struct fs_request *req, int dir, mode_t mode)
{
	struct fs_inode *inode;
	struct statx stx;
	int err = stat__at(dir, req->name[0], &stx);
	if (!err && (stx.stx_mode & S_IFMT) != (mode & S_IFMT))
		err = -ESTALE; /* the host was quicker */
	if (!err)
		err = inode__intern(req->session, req->inode, req->name[0], &stx, &inode);
	if (err)
		return err;
	err = owner__created(req, inode, -1, mode, &stx);
	if (err) {
		unlinkat(inode__fd(req->session, req->inode), req->name[0], S_ISDIR(mode) ? AT_REMOVEDIR : 0);
		inode__put(req->session, inode);
		return err;
	}
	attr__entry(req, inode, &stx, req->out);
	req->out_len = sizeof(struct fuse_entry_out);
	return 0;
}

int op__mknod(struct fs_request *req)
{
	const struct fuse_mknod_in *in = req->in;
	mode_t type = in->mode & S_IFMT;
	bool whiteout = type == S_IFCHR && !in->rdev && req->share->whiteouts;
	if ((type == S_IFCHR || type == S_IFBLK) && !whiteout)
		return -EPERM;
	if (!whiteout && type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
		return -EINVAL;
	int dir = inode__fd(req->session, req->inode);
	if (dir < 0)
		return dir;
	if (mknodat(dir, req->name[0], type | (in->mode & 01777), 0))
		return -errno;
	return reply_made(req, dir, in->mode);
}

int op__mkdir(struct fs_request *req)
{
	const struct fuse_mkdir_in *in = req->in;
	int dir = inode__fd(req->session, req->inode);
	if (dir < 0)
		return dir;
	if (mkdirat(dir, req->name[0], in->mode & 01777))
		return -errno;
	return reply_made(req, dir, S_IFDIR | (in->mode & 07777));
}

int op__symlink(struct fs_request *req)
{
	int dir = inode__fd(req->session, req->inode);
	if (dir < 0)
		return dir;
	if (symlinkat(req->name[1], dir, req->name[0]))
		return -errno;
	return reply_made(req, dir, S_IFLNK | 0777);
}

int op__link(struct fs_request *req)
{
	const struct fuse_link_in *in = req->in;
	struct fs_inode *inode = slots__get(&req->session->inodes, in->oldnodeid);
	struct statx stx;
	char number[16];
	if (!inode)
		return -ESTALE;
	if (inode->share != req->share)
		return -EXDEV;
	if (inode->type == S_IFDIR)
		return -EPERM;
	int err = protect__inode(req->session, inode);
	if (err)
		return err;
	int dir = inode__fd(req->session, req->inode);
	int fd = dir < 0 ? dir : inode__fd(req->session, inode);
	if (fd < 0)
		return fd;
	/* Follows the link in /proc, which leads to the very file of fd, and no symlink beyond it. */
	snprintf(number, sizeof(number), "%d", fd);
	if (linkat(req->session->proc, number, dir, req->name[0], AT_SYMLINK_FOLLOW))
		return -errno;
	err = stat__at(fd, "", &stx);
	if (err)
		return err;
	inode__moved(req->session, inode, req->inode, req->name[0]);
	attr__entry(req, inode, &stx, req->out);
	req->out_len = sizeof(struct fuse_entry_out);
	return 0;
}

/* The node the guest knows for what is at this name now; NULL when it knows none. */
static struct fs_inode *known(struct fs_request *req, int dir, const char *name, struct statx *stx)
{
	return stat__at(dir, name, stx) ? NULL : inode__find(req->session, req->share, stx);
}

static void gone(struct fs_request *req, struct fs_inode *inode, const struct fs_inode *dir, const char *name,
		 const struct statx *stx)
{
	if (stx->stx_nlink <= 1 || inode->type == S_IFDIR)
		inode->doomed = true;
	inode__unlinked(req->session, inode, dir, name);
	inode__put(req->session, inode);
}

static int remove_entry(struct fs_request *req, int flags)
{
	struct statx stx;
	int dir = inode__fd(req->session, req->inode);
	if (dir < 0)
		return dir;
	struct fs_inode *inode = known(req, dir, req->name[0], &stx);
	if (inode)
		inode__pin(req->session, inode, &stx);
	if (unlinkat(dir, req->name[0], flags))
		return -errno;
	if (inode)
		gone(req, inode, req->inode, req->name[0], &stx);
	return 0;
}

int op__unlink(struct fs_request *req)
{
	return remove_entry(req, 0);
}

int op__rmdir(struct fs_request *req)
{
	return remove_entry(req, AT_REMOVEDIR);
}

static int rename_entry(struct fs_request *req, uint64_t newdir, unsigned flags)
{
	struct fs_session *s = req->session;
	struct fs_inode *to = slots__get(&s->inodes, newdir);
	struct statx from_stx, to_stx;
	if (flags & ~(unsigned)(NOREPLACE | EXCHANGE | (req->share->whiteouts ? WHITEOUT : 0)))
		return -EINVAL;
	if (!to)
		return -ESTALE;
	if (to->share != req->share)
		return -EXDEV;
	use__write(s, req->share, to, req->name[1]);
	int err = protect__entry(s, to, req->name[1], false);
	if (err)
		return err;
	int from_fd = inode__fd(s, req->inode);
	int to_fd = from_fd < 0 ? from_fd : inode__fd(s, to);
	if (to_fd < 0)
		return to_fd;
	struct fs_inode *moved = known(req, from_fd, req->name[0], &from_stx);
	struct fs_inode *replaced = known(req, to_fd, req->name[1], &to_stx);
	if (replaced && replaced != moved && !(flags & EXCHANGE))
		inode__pin(s, replaced, &to_stx);
	if (renameat2(from_fd, req->name[0], to_fd, req->name[1], flags))
		return -errno;
	if (moved == replaced) /* two names of one file: nothing happened */
		return 0;
	if (replaced && flags & EXCHANGE)
		inode__moved(s, replaced, req->inode, req->name[0]);
	else if (replaced)
		gone(req, replaced, to, req->name[1], &to_stx);
	if (moved)
		inode__moved(s, moved, to, req->name[1]);
	return 0;
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
