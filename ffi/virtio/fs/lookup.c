/* From a name to a node, and the guest's giving nodes back. */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* A share by its name in the made root. */
static int lookup_share(struct fs_request *req)
{
	struct fs_session *s = req->session;
	struct statx stx;
	for (unsigned i = 0; i < s->share_count; i++) {
		if (strcmp(s->shares[i].name, req->name[0]) != 0)
			continue;
		int err = inode__stat(s, s->shares[i].root, &stx);
		if (err)
			return err;
		struct fuse_entry_out *out = req->out;
		attr__entry(req, s->shares[i].root, &stx, out);
		out->attr_valid = 0; /* who mounts it needs no more than that; who looks at it then asks */
		req->out_len = sizeof(struct fuse_entry_out);
		return 0;
	}
	return -ENOENT;
}

int op__lookup(struct fs_request *req)
{
	struct fuse_entry_out *out = req->out;
	struct fs_inode *inode;
	struct fs_found found;
	if (!req->share)
		return lookup_share(req);
	int err = union__find(req->session, req->inode, req->name[0], &found);
	if (err == -ENOENT && req->share->cache != FS_CACHE_NEVER) { /* node 0: the guest may remember that */
		*out = (struct fuse_entry_out){0};
		if (!req->inode->locked)
			attr__timeout(req->share, &out->entry_valid);
		req->out_len = sizeof(*out);
		return 0;
	}
	if (!err)
		err = union__intern(req->session, req->inode, req->name[0], &found, &inode);
	if (err)
		return err;
	attr__entry(req, inode, &found.stx, out);
	req->out_len = sizeof(*out);
	return 0;
}

int op__forget(struct fs_request *req)
{
	const struct fuse_forget_in *in = req->in;
	inode__forget(req->session, req->inode, in->nlookup);
	return 0;
}

int op__batch_forget(struct fs_request *req)
{
	const struct fuse_batch_forget_in *in = req->in;
	struct fuse_forget_one one;
	for (size_t i = 0; i < in->count && (i + 1) * sizeof(one) <= req->data_len; i++) {
		memcpy(&one, req->data + i * sizeof(one), sizeof(one));
		struct fs_inode *inode = slots__get(&req->session->inodes, one.nodeid);
		if (inode)
			inode__forget(req->session, inode, one.nlookup);
	}
	return 0;
}

int op__readlink(struct fs_request *req)
{
	if (req->inode->type != S_IFLNK)
		return -EINVAL;
	int fd = inode__fd(req->session, req->inode);
	if (fd < 0)
		return fd;
	size_t room = req->out_room < PATH_MAX ? req->out_room : PATH_MAX;
	ssize_t n = readlinkat(fd, "", req->out, room);
	if (n < 0)
		return -errno;
	req->out_len = (size_t)n;
	return 0;
}
