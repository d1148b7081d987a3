/* Open files: their data goes straight between the host's file and the guest's memory. */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#define STAMP_SETTLED_NS 100000000LL /* a file changed less than this ago may change again under the same stamp */
#define COPY_MAX (64U << 20)         /* bytes of one copy: the guest asks again for more */

/* What of the guest's flags the host's descriptor gets. O_APPEND is left to each write: the guest's kernel writes back
 * dirty mapped pages through any descriptor of the file, at their own place. O_DIRECT would need the host's alignment.
 */
static int host_flags(uint32_t flags)
{
	return (int)(flags & (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC)) | O_NOCTTY;
}

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* Whether the file, changed then, was long unchanged when that was looked at. A file system may tell any time. */
static bool is_settled(const struct statx_timestamp *changed, int64_t seen_ns)
{
	int64_t ns;
	return !__builtin_mul_overflow(changed->tv_sec, 1000000000LL, &ns) &&
	       !__builtin_add_overflow(ns, changed->tv_nsec, &ns) && !__builtin_sub_overflow(seen_ns, ns, &ns) &&
	       ns > STAMP_SETTLED_NS;
}

/* Whether what the guest has cached of the file's data is still what the file holds. */
static bool cache_is_good(struct fs_inode *inode, const struct statx *stx)
{
	int64_t now = now_ns();
	bool good = inode->stamped && inode->stamp.sec == stx->stx_mtime.tv_sec &&
		    inode->stamp.nsec == stx->stx_mtime.tv_nsec && inode->stamp.size == stx->stx_size &&
		    is_settled(&stx->stx_mtime, inode->stamp.seen_ns);
	if (!good) {
		inode->stamped = true;
		inode->stamp.sec = stx->stx_mtime.tv_sec;
		inode->stamp.nsec = stx->stx_mtime.tv_nsec;
		inode->stamp.size = stx->stx_size;
		inode->stamp.seen_ns = now;
	}
	return good;
}

static uint32_t open_reply_flags(struct fs_inode *inode, const struct statx *stx)
{
	switch (inode->share->cache) {
	case FS_CACHE_ALWAYS:
		return FOPEN_KEEP_CACHE;
	case FS_CACHE_NEVER:
		return FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES;
	case FS_CACHE_AUTO:
		break;
	}
	return cache_is_good(inode, stx) ? FOPEN_KEEP_CACHE : 0;
}

/* Make a handle of fd (taken over, also on failure) and answer with it. */
static int reply_open(struct fs_request *req, struct fs_inode *inode, int fd, uint32_t flags, const struct statx *stx,
		      struct fuse_open_out *out)
{
	struct fs_handle *handle;
	int err = handle__new(req->session, inode, fd, false, (flags & O_ACCMODE) != O_RDONLY, &handle);
	if (err) {
		close(fd);
		return err;
	}
	*out = (struct fuse_open_out){.fh = handle->id, .open_flags = open_reply_flags(inode, stx)};
	out->open_flags |= lock__open_flags(req);
	return 0;
}

static int open_inode(struct fs_request *req, struct fs_inode *inode, uint32_t flags, uint32_t open_flags,
		      struct fuse_open_out *out)
{
	struct statx stx;
	bool writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
	if (writes)
		use__write(req->session, req->share, inode, NULL);
	if (writes && req->share->read_only)
		return -EROFS;
	int err = writes ? protect__inode(req->session, inode) : 0;
	if (err)
		return err;
	if (inode->type != S_IFREG)
		return inode->type == S_IFDIR ? -EISDIR : inode->type == S_IFLNK ? -ELOOP : -ENXIO;
	err = writes ? union__own(req->session, inode, flags & O_TRUNC) : 0;
	uint64_t before = 0;
	if (!err && flags & O_TRUNC && req->share->quota.size && !inode__stat(req->session, inode, &stx))
		before = quota__weight(req->share, &stx);
	int fd = err ? err : inode__open(req->session, inode, host_flags(flags));
	if (fd < 0)
		return fd;
	if (flags & O_TRUNC && open_flags & FUSE_OPEN_KILL_SUIDGID)
		err = owner__kill_suidgid(req, inode);
	if (!err)
		err = stat__at(fd, "", &stx);
	if (err) {
		close(fd);
		return err;
	}
	if (before)
		quota__changed(req->session, inode, before, quota__weight(req->share, &stx));
	return reply_open(req, inode, fd, flags, &stx, out);
}

int op__open(struct fs_request *req)
{
	const struct fuse_open_in *in = req->in;
	int err = open_inode(req, req->inode, in->flags, in->open_flags, req->out);
	req->out_len = err ? 0 : sizeof(struct fuse_open_out);
	return err;
}

struct create_out {
	struct fuse_entry_out entry;
	struct fuse_open_out open;
};

/* The file is new and open as fd, which is taken over; `name` NULL: it has none. */
static int reply_created(struct fs_request *req, int fd, const char *name, const struct fuse_create_in *in)
{
	struct create_out *out = req->out;
	struct fs_inode *inode = NULL;
	struct statx stx;
	int err = stat__at(fd, "", &stx);
	if (!err)
		err = inode__intern(req->session, req->inode, name, &stx, &inode);
	if (!err && req->share->layer)
		union__made(inode, &stx);
	if (err) {
		close(fd);
		return err;
	}
	uint64_t weight = quota__weight(req->share, &stx);
	quota__changed(req->session, inode, 0, weight);
	err = owner__created(req, inode, fd, in->mode, &stx);
	if (err) {
		close(fd);
		quota__changed(req->session, inode, weight, 0);
		if (name)
			union__unmake(req->session, req->inode, name, false);
	} else {
		inode->doomed = !name;
		err = reply_open(req, inode, fd, in->flags, &stx, &out->open);
	}
	if (err) {
		inode__put(req->session, inode);
		return err;
	}
	attr__entry(req, inode, &stx, &out->entry);
	req->out_len = sizeof(*out);
	return 0;
}

/* The guest thought there was no such file, but there is. */
static int create_existing(struct fs_request *req, const struct fuse_create_in *in)
{
	struct create_out *out = req->out;
	struct fs_inode *inode;
	struct fs_found found;
	struct statx stx;
	int err = union__find(req->session, req->inode, req->name[0], &found);
	if (!err && !S_ISREG(found.stx.stx_mode))
		err = -ESTALE; /* a symlink, say: the guest looks again, and follows it itself */
	if (!err)
		err = union__intern(req->session, req->inode, req->name[0], &found, &inode);
	if (err)
		return err;
	err = open_inode(req, inode, in->flags, in->open_flags, &out->open);
	if (!err)
		err = inode__stat(req->session, inode, &stx);
	if (err) {
		inode__put(req->session, inode);
		return err;
	}
	attr__entry(req, inode, &stx, &out->entry);
	req->out_len = sizeof(*out);
	return 0;
}

int op__create(struct fs_request *req)
{
	const struct fuse_create_in *in = req->in;
	struct fs_spot spot;
	int flags = host_flags(in->flags) | O_CREAT | O_EXCL | O_NOFOLLOW;
	int fd = spot__find(req->session, req->inode, req->name[0], &spot);
	if (!fd)
		fd = fd__open(req->session, spot.dir, spot.name, flags, in->mode & 01777);
	if (fd == -EEXIST && !(in->flags & O_EXCL))
		return create_existing(req, in);
	if (fd < 0)
		return fd;
	int err = spot__fill(req->session, req->inode, req->name[0], &spot, false);
	if (err)
		close(fd);
	return err ? err : reply_created(req, fd, req->name[0], in);
}

int op__tmpfile(struct fs_request *req)
{
	const struct fuse_create_in *in = req->in;
	int err = quota__admit(req->session, req->share, QUOTA_LEAST);
	int dir = err ? err : inode__fd(req->session, req->inode);
	if (dir < 0)
		return dir;
	int flags = (host_flags(in->flags) & ~O_TRUNC) | O_TMPFILE | (int)(in->flags & O_EXCL);
	int fd = fd__open(req->session, dir, ".", flags, in->mode & 01777);
	return fd < 0 ? fd : reply_created(req, fd, NULL, in);
}

int op__release(struct fs_request *req)
{
	const struct fuse_release_in *in = req->in;
	struct fs_handle *handle = handle__get(req, in->fh, false);
	if (!handle)
		return -EBADF;
	handle__free(req->session, handle);
	return 0;
}

/* --- data --- */

/* The part [offset, offset + len) of a list of buffers, as far as there is one; returns how many there are of it. */
static unsigned slice(struct iovec *to, const struct iovec *from, unsigned count, size_t offset, size_t len)
{
	unsigned n = 0;
	for (unsigned i = 0; i < count && len; i++) {
		if (offset >= from[i].iov_len) {
			offset -= from[i].iov_len;
			continue;
		}
		size_t part = from[i].iov_len - offset;
		to[n].iov_base = (uint8_t *)from[i].iov_base + offset;
		to[n].iov_len = part < len ? part : len;
		len -= to[n++].iov_len;
		offset = 0;
	}
	return n;
}

typedef ssize_t (*transfer_fn)(int fd, const struct iovec *iov, int count, off_t offset, int flags);

/* Move [offset, offset + len) between the file and the slice in s->iov, in as many calls as the host needs. */
static int transfer(struct fs_session *s, transfer_fn fn, int fd, unsigned count, uint64_t offset, int flags,
		    size_t *done)
{
	struct iovec *iov = s->iov;
	*done = 0;
	while (count) {
		ssize_t n = fn(fd, iov, (int)(count < IOV_MAX ? count : IOV_MAX), (off_t)(offset + *done), flags);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return *done ? 0 : -errno;
		if (n == 0)
			return 0;
		*done += (size_t)n;
		while (count && (size_t)n >= iov->iov_len) {
			n -= (ssize_t)iov->iov_len;
			iov++;
			count--;
		}
		if (count) {
			iov->iov_base = (uint8_t *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

int op__read(struct fs_request *req)
{
	const struct fuse_read_in *in = req->in;
	const struct virtqueue_chain *chain = req->chain;
	struct fs_handle *handle = handle__get(req, in->fh, false);
	if (!handle)
		return -EBADF;
	if (in->offset > INT64_MAX - FS_WRITE_MAX)
		return -EINVAL;
	size_t len = in->size < FS_WRITE_MAX ? in->size : FS_WRITE_MAX;
	unsigned count =
		slice(req->session->iov, chain->writable, chain->writable_count, sizeof(struct fuse_out_header), len);
	int err = transfer(req->session, preadv2, handle->fd, count, in->offset, 0, &req->direct);
	if (!err)
		req->session->read += req->direct;
	return err;
}

/* What comes from the guest's page cache, or past it, is written whole or not at all: nobody would hear of a part, or
 * as of EIO. */
static int admit_write(struct fs_request *req, const struct fs_handle *handle, bool append, size_t *len)
{
	const struct fuse_write_in *in = req->in;
	uint64_t offset = in->offset;
	struct statx stx;
	if (append && !stat__at(handle->fd, "", &stx))
		offset = stx.stx_size;
	return quota__admit_range(req->session, req->share, handle->fd, offset, len,
				  in->write_flags & FUSE_WRITE_CACHE || in->flags & O_DIRECT);
}

int op__write(struct fs_request *req)
{
	const struct fuse_write_in *in = req->in;
	const struct virtqueue_chain *chain = req->chain;
	struct fuse_write_out *out = req->out;
	struct fs_handle *handle = handle__get(req, in->fh, false);
	size_t before = sizeof(struct fuse_in_header) + sizeof(*in), done;
	if (!handle || !handle->writable)
		return -EBADF;
	if (in->size > FS_WRITE_MAX || in->size > req->header.len - before || in->offset > INT64_MAX - FS_WRITE_MAX)
		return -EINVAL;
	bool append = in->flags & O_APPEND && !(in->write_flags & FUSE_WRITE_CACHE);
	uint64_t held = quota__weigh(req->share, handle->fd);
	size_t len = in->size;
	int err = held ? admit_write(req, handle, append, &len) : 0;
	unsigned count = slice(req->session->iov, chain->readable, chain->readable_count, before, len);
	if (!err)
		err = transfer(req->session, pwritev2, handle->fd, count, in->offset, append ? RWF_APPEND : 0, &done);
	if (held)
		quota__changed(req->session, req->inode, held, quota__weigh(req->share, handle->fd));
	if (!err)
		req->session->written += done;
	if (!err && in->write_flags & FUSE_WRITE_KILL_SUIDGID)
		err = owner__kill_suidgid(req, req->inode);
	if (err)
		return err;
	*out = (struct fuse_write_out){.size = (uint32_t)done};
	req->out_len = sizeof(*out);
	return 0;
}

int op__fsync(struct fs_request *req)
{
	const struct fuse_fsync_in *in = req->in;
	struct fs_handle *handle = handle__get(req, in->fh, false);
	if (!handle)
		return -EBADF;
	if (req->share->read_only)
		return 0;
	return (in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(handle->fd) : fsync(handle->fd)) ? -errno : 0;
}

int op__fallocate(struct fs_request *req)
{
	const struct fuse_fallocate_in *in = req->in;
	struct fs_handle *handle = handle__get(req, in->fh, false);
	if (!handle || !handle->writable)
		return -EBADF;
	if (in->mode & ~(uint32_t)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (in->offset > INT64_MAX || in->length > INT64_MAX - in->offset)
		return -EFBIG;
	uint64_t held = quota__weigh(req->share, handle->fd);
	size_t len = in->length;
	int err = held && !(in->mode & FALLOC_FL_PUNCH_HOLE)
			  ? quota__admit_range(req->session, req->share, handle->fd, in->offset, &len, true)
			  : 0;
	if (!err && fallocate(handle->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length))
		err = -errno;
	if (held)
		quota__changed(req->session, req->inode, held, quota__weigh(req->share, handle->fd));
	return err;
}

int op__lseek(struct fs_request *req)
{
	const struct fuse_lseek_in *in = req->in;
	struct fuse_lseek_out *out = req->out;
	struct fs_handle *handle = handle__get(req, in->fh, false);
	if (!handle)
		return -EBADF;
	if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
		return -EINVAL;
	off_t at = lseek(handle->fd, (off_t)in->offset, (int)in->whence);
	if (at < 0)
		return -errno;
	out->offset = (uint64_t)at;
	req->out_len = sizeof(*out);
	return 0;
}

int op__copy_file_range(struct fs_request *req)
{
	const struct fuse_copy_file_range_in *in = req->in;
	struct fuse_write_out *out = req->out;
	struct fs_handle *from = handle__get(req, in->fh_in, false);
	struct fs_handle *to = slots__get(&req->session->handles, in->fh_out);
	if (!from || !to || to->directory || to->inode->id != in->nodeid_out || !to->writable)
		return -EBADF;
	if (to->inode->share != req->share) /* which may stand, or be for reading */
		return -EXDEV;
	if (in->flags)
		return -EINVAL;
	off_t from_at = (off_t)in->off_in, to_at = (off_t)in->off_out;
	size_t len = in->len < COPY_MAX ? in->len : COPY_MAX;
	if (in->off_out > INT64_MAX - len)
		return -EFBIG;
	uint64_t held = quota__weigh(req->share, to->fd);
	int err = held ? quota__admit_range(req->session, req->share, to->fd, in->off_out, &len, false) : 0;
	ssize_t n = err ? 0 : copy_file_range(from->fd, &from_at, to->fd, &to_at, len, 0);
	if (n < 0)
		err = -errno;
	if (held)
		quota__changed(req->session, to->inode, held, quota__weigh(req->share, to->fd));
	if (err)
		return err;
	req->share->unsynced = true;
	*out = (struct fuse_write_out){.size = (uint32_t)n};
	req->out_len = sizeof(*out);
	return 0;
}
