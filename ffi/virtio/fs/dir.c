/* Open directories: listing their entries, with or without what each entry is. */
#include "virtio/fs/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What the host gave of a directory, and how far the guest has got in it. */
struct fs_listing {
	uint64_t offset;                           /* where the next entry is to be asked from */
	size_t next, len;                          /* bytes of `data` */
	_Alignas(struct dirent64) char data[4096]; /* as much as the guest asks for at once */
};

int op__opendir(struct fs_request *req)
{
	struct fuse_open_out *out = req->out;
	struct fs_handle *handle;
	int fd = -1;
	if (req->inode->type != S_IFDIR)
		return -ENOTDIR;
	if (req->share) {
		fd = inode__open(req->session, req->inode, O_RDONLY | O_DIRECTORY);
		if (fd < 0)
			return fd;
	}
	int err = handle__new(req->session, req->inode, fd, true, false, &handle);
	if (err) {
		if (fd >= 0)
			close(fd);
		return err;
	}
	bool always = !req->share || req->share->cache == FS_CACHE_ALWAYS;
	*out = (struct fuse_open_out){.fh = handle->id, .open_flags = always ? FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR : 0};
	out->open_flags |= lock__open_flags(req);
	req->out_len = sizeof(*out);
	return 0;
}

int op__releasedir(struct fs_request *req)
{
	const struct fuse_release_in *in = req->in;
	struct fs_handle *handle = handle__get(req, in->fh, true);
	if (!handle)
		return -EBADF;
	handle__free(req->session, handle);
	return 0;
}

int op__fsyncdir(struct fs_request *req)
{
	const struct fuse_fsync_in *in = req->in;
	struct fs_handle *handle = handle__get(req, in->fh, true);
	if (!handle)
		return -EBADF;
	if (!req->share || req->share->read_only)
		return 0;
	return (in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(handle->fd) : fsync(handle->fd)) ? -errno : 0;
}

/* One entry of the reply under way. */
struct entry {
	const char *name;
	uint64_t ino, offset;
	uint32_t type; /* DT_ */
};

static bool is_dots(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

/* What the entry is, for a reply with attributes; node 0 when that cannot be said: the guest then looks it up. */
static void fill_plus(struct fs_request *req, struct entry *entry, struct fuse_entry_out *out)
{
	struct fs_inode *inode = NULL;
	struct statx stx;
	*out = (struct fuse_entry_out){0};
	if (is_dots(entry->name))
		return;
	if (!req->share) {
		inode = req->session->shares[entry->offset - 3].root;
		if (inode__stat(req->session, inode, &stx))
			return;
	} else {
		struct fs_found found;
		if (union__find(req->session, req->inode, entry->name, &found) ||
		    union__intern(req->session, req->inode, entry->name, &found, &inode))
			return;
		stx = found.stx;
	}
	attr__entry(req, inode, &stx, out);
	entry->ino = out->attr.ino;
	entry->type = IFTODT(stx.stx_mode);
}

/* Add the entry to the reply; false when there is no room for it. */
static bool give(struct fs_request *req, struct entry *entry, size_t room, bool plus)
{
	size_t namelen = strlen(entry->name);
	size_t head = plus ? sizeof(struct fuse_entry_out) : 0;
	size_t size = FUSE_DIRENT_ALIGN(head + sizeof(struct fuse_dirent) + namelen);
	uint8_t *at = (uint8_t *)req->out + req->out_len;
	if (size > room - req->out_len)
		return false;
	memset(at, 0, size);
	if (plus)
		fill_plus(req, entry, (void *)at);
	struct fuse_dirent dirent = {
		.ino = entry->ino,
		.off = entry->offset,
		.namelen = (uint32_t)namelen,
		.type = entry->type,
	};
	memcpy(at + head, &dirent, sizeof(dirent));
	memcpy(at + head + sizeof(dirent), entry->name, namelen);
	req->out_len += size;
	return true;
}

/* The made root: ".", "..", and what is shared. */
static int list_shares(struct fs_request *req, uint64_t offset, size_t room, bool plus)
{
	struct fs_session *s = req->session;
	for (uint64_t i = offset; i < s->share_count + 2; i++) {
		struct entry entry = {
			.name = i == 0   ? "."
				: i == 1 ? ".."
					 : s->shares[i - 2].name,
			.ino = i < 2 ? s->top->id : s->shares[i - 2].root->key.ino,
			.offset = i + 1,
			.type = i < 2 ? DT_DIR : IFTODT(s->shares[i - 2].root->type),
		};
		if (!give(req, &entry, room, plus))
			return req->out_len ? 0 : -EINVAL;
	}
	return 0;
}

/* Have the listing's next entry in `data`, or none left (len 0). */
static int refill(struct fs_session *s, struct fs_handle *handle, uint64_t offset)
{
	struct fs_listing *listing = handle->listing;
	if (!listing) {
		listing = handle->listing = malloc(sizeof(*listing));
		if (!listing)
			return -ENOMEM;
		*listing = (struct fs_listing){.offset = 0};
		s->listings++;
	}
	if (offset != listing->offset || !offset) { /* offset 0 is also rewinddir() */
		if (lseek(handle->fd, (off_t)offset, SEEK_SET) < 0)
			return -errno;
		listing->offset = offset;
		listing->next = listing->len = 0;
	}
	if (listing->next < listing->len)
		return 0;
	ssize_t n = getdents64(handle->fd, listing->data, sizeof(listing->data));
	if (n < 0)
		return errno == ENOENT ? 0 : -errno; /* the directory was removed: it has no entries */
	listing->next = 0;
	listing->len = (size_t)n;
	return 0;
}

/* The number shown for an entry that is not looked at; ".." of a share's root must not tell what lies above it. */
static uint64_t plain_ino(const struct fs_request *req, const struct dirent64 *d)
{
	if (strcmp(d->d_name, "..") != 0)
		return d->d_ino;
	return req->inode->parent ? req->inode->parent->key.ino : req->inode->key.ino;
}

static int list_directory(struct fs_request *req, struct fs_handle *handle, uint64_t offset, size_t room, bool plus)
{
	for (;;) {
		int err = refill(req->session, handle, offset);
		struct fs_listing *listing = handle->listing;
		if (err)
			return req->out_len ? 0 : err;
		if (listing->next >= listing->len)
			return 0;
		const struct dirent64 *d = (const void *)(listing->data + listing->next);
		struct entry entry = {
			.name = d->d_name,
			.ino = plain_ino(req, d),
			.offset = (uint64_t)d->d_off,
			.type = d->d_type,
		};
		if (!give(req, &entry, room, plus))
			return req->out_len ? 0 : -EINVAL;
		listing->next += d->d_reclen;
		listing->offset = offset = entry.offset;
	}
}

/* ".." of the share's root must not tell what lies above it. */
static uint64_t merged_ino(const struct fs_request *req, const struct fs_merged_entry *entry)
{
	const struct fs_inode *inode = req->inode;
	if (!is_dots(entry->name))
		return merged__number(req->session, req->inode, entry);
	return entry->name[1] && inode->parent ? inode->parent->number : inode->number;
}

static int list_merged(struct fs_request *req, struct fs_handle *handle, uint64_t offset, size_t room, bool plus)
{
	struct fs_merged_entry merged;
	int found;
	while ((found = merged__next(req->session, handle, offset, &merged)) > 0) {
		struct entry entry = {.name = merged.name, .offset = merged.offset, .type = merged.type};
		entry.ino = plus && !is_dots(merged.name) ? 1 : merged_ino(req, &merged);
		if (!give(req, &entry, room, plus))
			return req->out_len ? 0 : -EINVAL;
		offset = entry.offset;
	}
	return req->out_len ? 0 : found;
}

static int list(struct fs_request *req, bool plus)
{
	const struct fuse_read_in *in = req->in;
	struct fs_handle *handle = handle__get(req, in->fh, true);
	size_t room = in->size < req->out_room ? in->size : req->out_room;
	if (!handle)
		return -EBADF;
	if (!req->share)
		return list_shares(req, in->offset, room, plus);
	if (req->share->layer)
		return list_merged(req, handle, in->offset, room, plus);
	int err = list_directory(req, handle, in->offset, room, plus);
	bool ended = !err && !req->out_len;
	if (ended || req->session->listings > FS_LISTINGS_MAX) /* it is read again from there, if it goes on */
		listing__free(req->session, handle);
	return err;
}

int op__readdir(struct fs_request *req)
{
	return list(req, false);
}

int op__readdirplus(struct fs_request *req)
{
	return list(req, true);
}
