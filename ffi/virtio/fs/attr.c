/* What the guest is shown of a file, and the operations that ask for or change it. */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statfs.h>
#include <unistd.h>

enum {
	AUTO_SECONDS = 1,
	ALWAYS_SECONDS = 10 * 365 * 24 * 3600, /* longer than any sandbox lives */
};

void attr__timeout(const struct fs_share *share, uint64_t *sec)
{
	static const uint64_t seconds[] = {
		[FS_CACHE_AUTO] = AUTO_SECONDS,
		[FS_CACHE_ALWAYS] = ALWAYS_SECONDS,
		[FS_CACHE_NEVER] = 0,
	};
	*sec = share ? seconds[share->cache] : ALWAYS_SECONDS;
}

/* Device numbers as the guest's new_decode_dev() reads them. */
static uint32_t encode_dev(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | major << 8 | (minor & ~0xffU) << 12;
}

/* Within one mount of the guest no two files may have one number: those of another host device get theirs changed. */
static uint64_t shown_ino(const struct fs_inode *inode)
{
	if (inode->number)
		return inode->number;
	if (inode->key.dev == inode->top_dev)
		return inode->key.ino;
	return inode->key.ino ^ (inode->key.dev * 0x9e3779b97f4a7c15ULL & 0xffffff0000000000ULL);
}

/* Of a directory of two layers nobody has counted the directories in it, which 1 says. An apply makes others such. */
static uint32_t shown_links(const struct fs_inode *inode, const struct statx *stx)
{
	int64_t links = (int64_t)stx->stx_nlink + inode->links;
	bool uncounted = inode->type == S_IFDIR && inode->share && inode->share->layer;
	return uncounted ? 1 : links > 0 ? (uint32_t)links : 0;
}

void attr__fill(const struct fs_request *req, const struct fs_inode *inode, const struct statx *stx,
		struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = shown_ino(inode),
		.size = stx->stx_size,
		.blocks = stx->stx_blocks,
		.atime = (uint64_t)stx->stx_atime.tv_sec,
		.mtime = (uint64_t)stx->stx_mtime.tv_sec,
		.ctime = (uint64_t)stx->stx_ctime.tv_sec,
		.atimensec = stx->stx_atime.tv_nsec,
		.mtimensec = stx->stx_mtime.tv_nsec,
		.ctimensec = stx->stx_ctime.tv_nsec,
		.nlink = shown_links(inode, stx),
		.rdev = encode_dev(stx->stx_rdev_major, stx->stx_rdev_minor),
		.blksize = stx->stx_blksize,
		.flags = inode->submount && req->session->submounts ? FUSE_ATTR_SUBMOUNT : 0,
	};
	owner__show(req, inode, stx, attr);
}

void attr__fill_top(const struct fs_session *s, struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = s->top->id,
		.mode = S_IFDIR | 0555,
		.nlink = 2 + s->share_count,
		.blksize = 4096,
	};
}

void attr__entry(const struct fs_request *req, struct fs_inode *inode, const struct statx *stx,
		 struct fuse_entry_out *entry)
{
	uint64_t valid;
	attr__timeout(inode->share, &valid);
	if (inode->parent && inode->parent->locked) /* a database's journal, say, which tells who holds the lock */
		valid = 0;
	*entry = (struct fuse_entry_out){.nodeid = inode->id, .entry_valid = valid, .attr_valid = valid};
	attr__fill(req, inode, stx, &entry->attr);
	inode->lookups++;
}

static int reply_attr(struct fs_request *req)
{
	struct fuse_attr_out *out = req->out;
	struct statx stx;
	int err = inode__stat(req->session, req->inode, &stx);
	if (err)
		return err;
	*out = (struct fuse_attr_out){0};
	attr__timeout(req->share, &out->attr_valid);
	attr__fill(req, req->inode, &stx, &out->attr);
	req->out_len = sizeof(*out);
	return 0;
}

int op__getattr(struct fs_request *req)
{
	if (req->share)
		return reply_attr(req);
	struct fuse_attr_out *out = req->out;
	*out = (struct fuse_attr_out){0};
	attr__timeout(NULL, &out->attr_valid);
	attr__fill_top(req->session, &out->attr);
	req->out_len = sizeof(*out);
	return 0;
}

static int truncate_inode(struct fs_request *req, const struct fuse_setattr_in *in)
{
	struct fs_handle *handle = in->valid & FATTR_FH ? handle__get(req, in->fh, false) : NULL;
	if (in->size > INT64_MAX)
		return -EINVAL;
	if (req->inode->type != S_IFREG)
		return req->inode->type == S_IFDIR ? -EISDIR : -EINVAL;
	if (handle && handle->writable)
		return quota__resize(req->session, req->inode, handle->fd, in->size);
	int fd = inode__open(req->session, req->inode, O_WRONLY);
	if (fd < 0)
		return fd;
	int err = quota__resize(req->session, req->inode, fd, in->size);
	close(fd);
	return err;
}

static struct timespec new_time(uint32_t valid, uint32_t set, uint32_t now, uint64_t sec, uint32_t nsec)
{
	if (valid & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	if (valid & set && nsec < 1000000000)
		return (struct timespec){.tv_sec = (time_t)sec, .tv_nsec = nsec};
	return (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int set_times(struct fs_request *req, const struct fuse_setattr_in *in)
{
	struct timespec times[2] = {
		new_time(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		new_time(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};
	int fd = inode__fd(req->session, req->inode);
	if (fd < 0)
		return fd;
	return utimensat(fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) ? -errno : 0;
}

int op__setattr(struct fs_request *req)
{
	const struct fuse_setattr_in *in = req->in;
	int err = 0;
	if (in->valid & (FATTR_UID | FATTR_GID))
		err = owner__chown(req, req->inode, in);
	if (!err && in->valid & FATTR_MODE)
		err = owner__chmod(req, req->inode, in->mode);
	if (!err && in->valid & FATTR_SIZE)
		err = truncate_inode(req, in);
	if (!err && in->valid & FATTR_KILL_SUIDGID)
		err = owner__kill_suidgid(req, req->inode);
	if (!err && in->valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW))
		err = set_times(req, in);
	return err ? err : reply_attr(req);
}

int op__statfs(struct fs_request *req)
{
	struct fuse_statfs_out *out = req->out;
	struct statfs st;
	*out = (struct fuse_statfs_out){.st = {.bsize = 4096, .frsize = 4096, .namelen = NAME_MAX}};
	req->out_len = sizeof(*out);
	if (!req->share) /* the made root has no blocks */
		return 0;
	/* what is changed goes into the layer, wherever the file is yet */
	int fd = inode__fd(req->session, req->share->layer ? req->share->root : req->inode);
	if (fd < 0)
		return fd;
	if (fstatfs(fd, &st))
		return -errno;
	out->st = (struct fuse_kstatfs){
		.blocks = st.f_blocks,
		.bfree = st.f_bfree,
		.bavail = st.f_bavail,
		.files = st.f_files,
		.ffree = st.f_ffree,
		.bsize = (uint32_t)st.f_bsize,
		.namelen = (uint32_t)st.f_namelen,
		.frsize = (uint32_t)st.f_frsize,
	};
	quota__show(req->session, req->share, &out->st);
	return 0;
}

/* The guest's kernel checks permissions itself (default_permissions); what it cannot know is said here. */
int op__access(struct fs_request *req)
{
	const struct fuse_access_in *in = req->in;
	if (!(in->mask & W_OK))
		return 0;
	return !req->share || req->share->read_only ? -EROFS : protect__inode(req->session, req->inode);
}
