/* Extended attributes: those of the `user` namespace pass, the host's own (security, trusted, system) are not shown. */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

static bool is_user(const struct fs_request *req, const char *name)
{
	return !strncmp(name, "user.", 5) && !(req->share->layer && union__is_own(name));
}

/* A descriptor to ask by, closed by done(): only files and directories have user attributes. */
static int attribute_fd(struct fs_request *req)
{
	if (req->inode->handles)
		return req->inode->handles->fd;
	if (req->inode->type != S_IFREG && req->inode->type != S_IFDIR)
		return -EOPNOTSUPP;
	return inode__open(req->session, req->inode, O_RDONLY);
}

static int done(struct fs_request *req, int fd, ssize_t result)
{
	int err = result < 0 ? -errno : 0;
	if (!req->inode->handles)
		close(fd);
	return err;
}

/* Answer with `len` bytes at out, or with how many there are. */
static int reply_value(struct fs_request *req, uint32_t asked, size_t len)
{
	if (!asked) {
		*(struct fuse_getxattr_out *)req->out = (struct fuse_getxattr_out){.size = (uint32_t)len};
		req->out_len = sizeof(struct fuse_getxattr_out);
		return 0;
	}
	if (len > asked || len > req->out_room)
		return -ERANGE;
	req->out_len = len;
	return 0;
}

int op__getxattr(struct fs_request *req)
{
	const struct fuse_getxattr_in *in = req->in;
	if (!is_user(req, req->name[0]))
		return -EOPNOTSUPP;
	int fd = attribute_fd(req);
	if (fd < 0)
		return fd;
	size_t room = in->size < req->out_room ? in->size : req->out_room;
	ssize_t n = fgetxattr(fd, req->name[0], req->out, room);
	int err = done(req, fd, n);
	return err ? err : reply_value(req, in->size, (size_t)n);
}

int op__listxattr(struct fs_request *req)
{
	const struct fuse_getxattr_in *in = req->in;
	char *names = req->out;
	int fd = attribute_fd(req);
	if (fd == -EOPNOTSUPP)
		return reply_value(req, in->size, 0);
	if (fd < 0)
		return fd;
	ssize_t n = flistxattr(fd, names, FS_REPLY_MAX);
	int err = done(req, fd, n);
	if (err)
		return err == -EOPNOTSUPP ? reply_value(req, in->size, 0) : err;
	size_t kept = 0;
	for (size_t at = 0, len; at < (size_t)n; at += len) {
		len = strnlen(names + at, (size_t)n - at) + 1;
		if (len > (size_t)n - at) /* the list has no end, as no local file system has it */
			break;
		if (!is_user(req, names + at))
			continue;
		memmove(names + kept, names + at, len);
		kept += len;
	}
	return reply_value(req, in->size, kept);
}

/* Some file systems count attributes in no file's blocks. */
static uint64_t weight_of(const struct fs_request *req, int fd)
{
	ssize_t n = req->share->quota.size ? fgetxattr(fd, req->name[0], NULL, 0) : -1;
	return n < 0 ? 0 : (uint64_t)n + QUOTA_NAME;
}

static void count(struct fs_request *req, int fd, uint64_t before, uint64_t blocks)
{
	uint64_t after = weight_of(req, fd), grown = quota__weigh(req->share, fd);
	if (grown > blocks && after < before + (grown - blocks))
		after = before + (grown - blocks);
	quota__changed(req->session, req->inode, before, after);
}

int op__setxattr(struct fs_request *req)
{
	const struct fuse_setxattr_in *in = req->in; /* its first half: FUSE_SETXATTR_EXT is not offered */
	if (in->size > req->data_len)
		return -EINVAL;
	if (!is_user(req, req->name[0]))
		return -EOPNOTSUPP;
	int fd = attribute_fd(req);
	if (fd < 0)
		return fd;
	uint64_t before = weight_of(req, fd), blocks = quota__weigh(req->share, fd);
	int err = quota__admit(req->session, req->share,
			       in->size + QUOTA_NAME > before ? in->size + QUOTA_NAME - before : 0);
	ssize_t n = err ? err : fsetxattr(fd, req->name[0], req->data, in->size, (int)in->flags);
	if (err)
		errno = -err;
	else if (!n)
		count(req, fd, before, blocks);
	return done(req, fd, n);
}

int op__removexattr(struct fs_request *req)
{
	if (!is_user(req, req->name[0]))
		return -EOPNOTSUPP;
	int fd = attribute_fd(req);
	if (fd < 0)
		return fd;
	uint64_t before = weight_of(req, fd);
	int n = fremovexattr(fd, req->name[0]);
	if (!n)
		quota__changed(req->session, req->inode, before < req->inode->charge ? before : req->inode->charge, 0);
	return done(req, fd, n);
}
