/* One FUSE connection: requests are checked here against a table of operations before any of those runs. */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "confine/tree.h"

enum op_flags {
	TOP = 1,      /* is also answered for the made root */
	MODIFY = 2,   /* changes files: refused in a read-only share */
	NODELESS = 4, /* is about no particular node */
	SILENT = 8,   /* has no reply */
	STREAM = 16,  /* what follows the fixed part is not copied */
	TOUCH = 32,   /* changes files too, where what it is about may be */
	UPKEEP = 64,  /* is no use of a share by itself: the guest's kernel gives back, or mounts and unmounts */
};

struct op {
	int (*fn)(struct fs_request *req);
	uint16_t fixed;     /* bytes before the names */
	uint16_t reply;     /* bytes the reply has at most, unless the request says how many */
	uint8_t names;      /* strings that follow */
	uint8_t components; /* how many of those are names of files in a directory */
	uint8_t flags;
};

static int op__init(struct fs_request *req);
static int op__destroy(struct fs_request *req);
static int op__interrupt(struct fs_request *req);

/* Bytes of the parts of protocol 7.31 and later. Not here, so answered ENOSYS and then not asked again: BMAP, IOCTL,
 * POLL; and FLUSH where the guest's kernel keeps all locks. */
#define IN(type) .fixed = sizeof(struct type)
#define OUT(type) .reply = sizeof(struct type)
static const struct op ops[] = {
	[FUSE_LOOKUP] = {op__lookup, OUT(fuse_entry_out), .names = 1, .components = 1, .flags = TOP},
	[FUSE_FORGET] = {op__forget, IN(fuse_forget_in), .flags = TOP | SILENT | UPKEEP},
	[FUSE_GETATTR] = {op__getattr, IN(fuse_getattr_in), OUT(fuse_attr_out), .flags = TOP},
	[FUSE_SETATTR] = {op__setattr, IN(fuse_setattr_in), OUT(fuse_attr_out), .flags = MODIFY},
	[FUSE_READLINK] = {op__readlink},
	[FUSE_SYMLINK] = {op__symlink, OUT(fuse_entry_out), .names = 2, .components = 1, .flags = MODIFY},
	[FUSE_MKNOD] = {op__mknod, IN(fuse_mknod_in), OUT(fuse_entry_out), 1, 1, MODIFY},
	[FUSE_MKDIR] = {op__mkdir, IN(fuse_mkdir_in), OUT(fuse_entry_out), 1, 1, MODIFY},
	[FUSE_UNLINK] = {op__unlink, .names = 1, .components = 1, .flags = MODIFY},
	[FUSE_RMDIR] = {op__rmdir, .names = 1, .components = 1, .flags = MODIFY},
	[FUSE_RENAME] = {op__rename, IN(fuse_rename_in), .names = 2, .components = 2, .flags = MODIFY},
	[FUSE_LINK] = {op__link, IN(fuse_link_in), OUT(fuse_entry_out), 1, 1, MODIFY},
	[FUSE_OPEN] = {op__open, IN(fuse_open_in), OUT(fuse_open_out), .flags = TOUCH},
	[FUSE_READ] = {op__read, IN(fuse_read_in)},
	[FUSE_WRITE] = {op__write, IN(fuse_write_in), OUT(fuse_write_out), .flags = MODIFY | STREAM},
	[FUSE_STATFS] = {op__statfs, OUT(fuse_statfs_out), .flags = TOP},
	[FUSE_RELEASE] = {op__release, IN(fuse_release_in), .flags = TOUCH | UPKEEP},
	[FUSE_FSYNC] = {op__fsync, IN(fuse_fsync_in)},
	[FUSE_SETXATTR] = {op__setxattr, .fixed = FUSE_COMPAT_SETXATTR_IN_SIZE, .names = 1, .flags = MODIFY},
	[FUSE_GETXATTR] = {op__getxattr, IN(fuse_getxattr_in), OUT(fuse_getxattr_out), .names = 1},
	[FUSE_LISTXATTR] = {op__listxattr, IN(fuse_getxattr_in), OUT(fuse_getxattr_out)},
	[FUSE_REMOVEXATTR] = {op__removexattr, .names = 1, .flags = MODIFY},
	[FUSE_FLUSH] = {op__flush, IN(fuse_flush_in), .flags = TOUCH | UPKEEP},
	[FUSE_INIT] = {op__init, .fixed = 16, OUT(fuse_init_out), .flags = NODELESS},
	[FUSE_OPENDIR] = {op__opendir, IN(fuse_open_in), OUT(fuse_open_out), .flags = TOP},
	[FUSE_READDIR] = {op__readdir, IN(fuse_read_in), .flags = TOP},
	[FUSE_RELEASEDIR] = {op__releasedir, IN(fuse_release_in), .flags = TOP | UPKEEP},
	[FUSE_FSYNCDIR] = {op__fsyncdir, IN(fuse_fsync_in), .flags = TOP},
	[FUSE_GETLK] = {op__getlk, IN(fuse_lk_in), OUT(fuse_lk_out), .flags = TOP},
	[FUSE_SETLK] = {op__setlk, IN(fuse_lk_in), .flags = TOP | TOUCH},
	[FUSE_SETLKW] = {op__setlkw, IN(fuse_lk_in), .flags = TOP | TOUCH},
	[FUSE_ACCESS] = {op__access, IN(fuse_access_in), .flags = TOP},
	[FUSE_CREATE] = {op__create, IN(fuse_create_in), .reply = 144, .names = 1, .components = 1, .flags = MODIFY},
	[FUSE_INTERRUPT] = {op__interrupt, IN(fuse_interrupt_in), .flags = NODELESS | SILENT},
	[FUSE_DESTROY] = {op__destroy, .flags = NODELESS},
	[FUSE_BATCH_FORGET] = {op__batch_forget, IN(fuse_batch_forget_in), .flags = NODELESS | SILENT},
	[FUSE_FALLOCATE] = {op__fallocate, IN(fuse_fallocate_in), .flags = MODIFY},
	[FUSE_READDIRPLUS] = {op__readdirplus, IN(fuse_read_in), .flags = TOP},
	[FUSE_RENAME2] = {op__rename2, IN(fuse_rename2_in), .names = 2, .components = 2, .flags = MODIFY},
	[FUSE_LSEEK] = {op__lseek, IN(fuse_lseek_in), OUT(fuse_lseek_out)},
	[FUSE_COPY_FILE_RANGE] = {op__copy_file_range, IN(fuse_copy_file_range_in), OUT(fuse_write_out),
				  .flags = TOUCH},
	[FUSE_SYNCFS] = {op__syncfs, IN(fuse_syncfs_in), .flags = TOP | UPKEEP},
	[FUSE_TMPFILE] = {op__tmpfile, IN(fuse_create_in), .reply = 144, .names = 1, .flags = MODIFY},
	[FS_OP_WATCH] = {op__watch, .flags = TOP},
	[FS_OP_UNWATCH] = {op__unwatch, .flags = NODELESS},
	[FS_OP_CHANGES] = {op__changes, .flags = NODELESS},
};

/* --- life --- */

static int copy_map(struct fs_id_range **to, unsigned *to_count, const struct fs_id_range *from, unsigned count)
{
	if (!count)
		return 0;
	*to = malloc(count * sizeof(**to));
	if (!*to)
		return -ENOMEM;
	memcpy(*to, from, count * sizeof(**to));
	*to_count = count;
	return 0;
}

static int valid_component(const char *name)
{
	size_t len = strlen(name);
	if (len > NAME_MAX)
		return -ENAMETOOLONG;
	if (!len || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	return 0;
}

static int add_share(struct fs_session *s, const struct fs_root *root)
{
	struct fs_share *share = &s->shares[s->share_count];
	*share = (struct fs_share){
		.index = s->share_count,
		.name = strdup(s->single ? "" : root->name),
		.read_only = root->read_only,
		.host_locks = root->host_locks,
		.cache = root->cache,
		.ownership = root->ownership,
	};
	s->share_count++;
	int err = !share->name ? -ENOMEM : s->single ? 0 : valid_component(share->name);
	if (!err)
		err = copy_map(&share->uid_map, &share->uid_map_count, root->uid_map.at, root->uid_map.count);
	if (!err)
		err = copy_map(&share->gid_map, &share->gid_map_count, root->gid_map.at, root->gid_map.count);
	if (!err)
		err = protect__new(root->protect.at, root->protect.count, &share->protected);
	if (!err)
		err = inode__new_root(s, share, root->fd, &share->root);
	if (!err && root->layered)
		err = union__open(s, share, root->layer);
	if (!err)
		err = quota__begin(s, share, root->size);
	s->protects = s->protects || share->protected;
	return err ? err : share->protected && share->root->type != S_IFDIR ? -ENOTDIR : 0;
}

/* No fewer inodes than a guest of that memory holds, so that it gives them back before it meets the limit. */
static unsigned most_inodes(uint64_t memory)
{
	uint64_t inodes = memory ? memory / FS_INODE_BYTES : FS_INODES_MAX;
	return inodes < FS_INODES_LEAST ? FS_INODES_LEAST : inodes < FS_INODES_MAX ? (unsigned)inodes : FS_INODES_MAX;
}

uint64_t virtio_fs__bound(uint64_t memory)
{
	return (uint64_t)most_inodes(memory) * FS_INODE_HELD + (uint64_t)FS_OWNERS_MAX * FS_OWNER_HELD;
}

/* How many descriptors the session may use: an eighth of the process's for known inodes, another for owners of locks,
 * half for open files. */
static void set_limits(struct fs_session *s, uint64_t memory)
{
	s->inodes_max = most_inodes(memory);
	struct rlimit limit = {.rlim_cur = 1024};
	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < limit.rlim_max) {
		rlim_t soft = limit.rlim_cur;
		limit.rlim_cur = limit.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &limit))
			limit.rlim_cur = soft;
	}
	const rlim_t most = (rlim_t)2 * FS_HANDLES_MAX, files = limit.rlim_cur < most ? limit.rlim_cur : most;
	s->lru_max = files / 8 > 16 ? (unsigned)(files / 8) : 16;
	s->locks.opened_max = s->lru_max;
	s->handles_max = files / 2 > 16 ? (unsigned)(files / 2) : 16;
}

/* Its descriptors are still the caller's. */
static void give_back(struct fs_share *share)
{
	struct fs_inode *root = share->root && share->root->under ? share->root->under : share->root;
	if (root)
		root->fd = -1;
	if (share->layer)
		share->layer->fd = -1;
}

int session__new(const struct fs_options *options, struct fs_session **out)
{
	struct fs_session *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->lru.lru_next = s->lru.lru_prev = &s->lru;
	s->serial = 1;
	changes__init(&s->changes);
	s->notice = options->notice;
	s->notice_arg = options->notice_arg;
	s->single = options->single;
	s->shares = calloc(options->roots.count, sizeof(*s->shares));
	char proc[32]; /* by this process's number: "self" may be the process that opens it */
	snprintf(proc, sizeof(proc), "/proc/%d/fd", (int)getpid());
	s->proc = tree__open(proc, false);
	set_limits(s, options->memory);
	int err = s->proc < 0 ? s->proc : s->shares ? 0 : -ENOMEM;
	if (!err && !s->single)
		err = inode__new_root(s, NULL, -1, &s->top);
	for (unsigned i = 0; !err && i < options->roots.count; i++)
		err = add_share(s, &options->roots.at[i]);
	if (err) {
		for (unsigned i = 0; s->shares && i < s->share_count; i++)
			give_back(&s->shares[i]);
		session__free(s);
		return err;
	}
	if (s->single)
		s->top = s->shares[0].root;
	*out = s;
	return 0;
}

void session__reset(struct fs_session *s)
{
	handle__free_all(s);
	lock__reset(s);
	changes__reset(s);
	inode__free_all(s, false);
	s->started = false;
}

void session__free(struct fs_session *s)
{
	handle__free_all(s);
	lock__end(s);
	changes__reset(s);
	inode__free_all(s, true);
	changes__end(&s->changes);
	slots__free(&s->handles);
	slots__free(&s->inodes);
	free(s->buckets);
	owner__free_all(s);
	for (unsigned i = 0; i < s->share_count; i++) {
		free(s->shares[i].name);
		protect__free(s->shares[i].protected);
		union__close(s->shares[i].layer);
		free(s->shares[i].uid_map);
		free(s->shares[i].gid_map);
	}
	free(s->shares);
	if (s->proc >= 0)
		close(s->proc);
	free(s);
}

/* --- the connection --- */

/* Locks are asked for by all of a device, or by none. */
static uint64_t wanted_locks(const struct fs_session *s)
{
	for (unsigned i = 0; i < s->share_count; i++)
		if (s->shares[i].host_locks)
			return FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FS_HAS_LOCKS;
	return 0;
}

static int op__init(struct fs_request *req)
{
	static const uint64_t always = FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA |
				       FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO |
				       FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_SUBMOUNTS |
				       FUSE_HANDLE_KILLPRIV_V2 | FUSE_INIT_EXT | FS_DIRECT_IO_ALLOW_MMAP |
				       FS_USER_XATTR | FS_HAS_WATCH;
	const struct fuse_init_in *in = req->in;
	struct fuse_init_out *out = req->out;
	uint64_t offered = in->flags, wanted = always | wanted_locks(req->session);
	*out = (struct fuse_init_out){.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION};
	req->out_len = sizeof(*out);
	if (in->major > FUSE_KERNEL_VERSION) /* the guest asks again with ours */
		return 0;
	if (in->major < FUSE_KERNEL_VERSION || in->minor < 31) /* Linux 5.4, the first with virtio-fs */
		return -EPROTO;
	if (offered & FUSE_INIT_EXT && sizeof(struct fuse_in_header) + sizeof(*in) <= req->header.len)
		offered |= (uint64_t)in->flags2 << 32;
	session__reset(req->session);
	req->session->started = true;
	req->session->submounts = offered & FUSE_SUBMOUNTS;
	req->session->locks.on = offered & wanted & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS);
	out->max_readahead = in->max_readahead;
	out->flags = (uint32_t)(offered & wanted);
	out->flags2 = (uint32_t)((offered & wanted) >> 32);
	out->max_background = 64;
	out->congestion_threshold = 48;
	out->max_write = FS_WRITE_MAX;
	out->max_pages = FS_WRITE_MAX / 4096;
	out->time_gran = 1;
	return 0;
}

static int op__destroy(struct fs_request *req)
{
	session__reset(req->session);
	return 0;
}

/* A request is served before the next is looked at, but for those that wait for a lock. */
static int op__interrupt(struct fs_request *req)
{
	const struct fuse_interrupt_in *in = req->in;
	lock__interrupt(req->session, in->unique);
	return 0;
}

/* Point the request at its parts, which are in s->body now. */
static int parse(struct fs_request *req, const struct op *op, size_t len)
{
	const uint8_t *at = req->session->body + op->fixed, *end = req->session->body + len;
	if (len < op->fixed)
		return -EINVAL;
	req->in = req->session->body;
	for (unsigned i = 0; i < op->names; i++) {
		const uint8_t *nul = memchr(at, 0, (size_t)(end - at));
		if (!nul)
			return -EINVAL;
		req->name[i] = (const char *)at;
		at = nul + 1;
		int err = i < op->components ? valid_component(req->name[i]) : 0;
		if (err)
			return err;
	}
	req->data = at;
	req->data_len = (size_t)(end - at);
	return op->components && at != end ? -EINVAL : 0;
}

/* What the operation is about is to be in the share's layer, if it has one; writing is by a handle that was opened for
 * it. */
static int own(struct fs_request *req, const struct op *op)
{
	return op->flags & MODIFY && !(op->flags & STREAM) ? union__own(req->session, req->inode, false) : 0;
}

/* What the operation would change must not be protected: an entry, or the node itself. Writing is by a handle that was
 * opened for it. */
static int check_protected(struct fs_request *req, const struct op *op)
{
	bool directory = op->fn == op__mkdir || op->fn == op__rmdir;
	if (!(op->flags & MODIFY) || op->flags & STREAM)
		return 0;
	if (op->components)
		return protect__entry(req->session, req->inode, req->name[0], directory);
	return protect__inode(req->session, req->inode);
}

/* A directory grows by its entries. */
static int perform(struct fs_request *req, const struct op *op)
{
	bool counted = op->components && op->flags & MODIFY && req->share && req->share->quota.size;
	uint64_t before = counted ? quota__weigh(req->share, inode__fd(req->session, req->inode)) : 0;
	int err = op->fn(req);
	uint64_t after = before ? quota__weigh(req->share, inode__fd(req->session, req->inode)) : 0;
	if (after)
		quota__changed(req->session, req->inode, before, after);
	return err;
}

static int run(struct fs_request *req, const struct op *op)
{
	struct fs_session *s = req->session;
	size_t len = req->header.len - sizeof(req->header);
	if (op->flags & STREAM && len > op->fixed)
		len = op->fixed;
	if (len > sizeof(s->body) ||
	    iov__read(req->chain->readable, req->chain->readable_count, sizeof(req->header), s->body, len) != len)
		return -EINVAL;
	if (!s->started && op->fn != op__init)
		return -EIO;
	if (!(op->flags & SILENT) && req->out_room < op->reply)
		return -EIO;
	int err = parse(req, op, len);
	if (err)
		return err;
	if (op->flags & NODELESS)
		return op->fn(req);
	req->inode = slots__get(&s->inodes, req->header.nodeid);
	if (!req->inode)
		return -ESTALE;
	req->share = req->inode->share;
	if (req->share && op->flags & MODIFY)
		use__write(s, req->share, req->inode, op->components ? req->name[0] : NULL);
	else if (req->share && !(op->flags & UPKEEP))
		use__look(req->share);
	if (op->flags & MODIFY && (!req->share || req->share->read_only))
		return -EROFS;
	if (!req->share && !(op->flags & TOP))
		return -EOPNOTSUPP;
	if (op->components && req->inode->type != S_IFDIR)
		return -ENOTDIR;
	err = check_protected(req, op);
	if (!err)
		err = own(req, op);
	if (err)
		return err;
	if (!(op->flags & (MODIFY | TOUCH)) || !s->changes.count)
		return perform(req, op);
	req->inode->refs++; /* what it is about stays until it has been told apart */
	changes__read(s, NULL);
	err = perform(req, op);
	changes__read(s, req);
	req->inode->refs--;
	inode__put(s, req->inode);
	return err;
}

/* The header and `len` bytes that lie behind its place in s->reply; `direct` more are in the guest's buffers. */
static uint32_t reply(struct fs_session *s, struct fuse_out_header head, size_t len, size_t direct,
		      const struct virtqueue_chain *chain)
{
	head.len = (uint32_t)(sizeof(head) + len + direct);
	memcpy(s->reply, &head, sizeof(head));
	iov__write(chain->writable, chain->writable_count, 0, s->reply, sizeof(head) + len);
	return head.len;
}

/* The header of a request, and what is asked for, NULL where that is unknown; false where it is none. */
static bool read_header(const struct virtqueue_chain *chain, struct fuse_in_header *header, const struct op **op)
{
	if (iov__read(chain->readable, chain->readable_count, 0, header, sizeof(*header)) != sizeof(*header) ||
	    header->len < sizeof(*header) || header->len > chain->readable_bytes)
		return false;
	*op = header->opcode < sizeof(ops) / sizeof(*ops) ? &ops[header->opcode] : NULL;
	return true;
}

bool session__is_layered(const struct fs_session *s, const struct virtqueue_chain *chain)
{
	struct fuse_in_header header;
	const struct op *op;
	if (!read_header(chain, &header, &op) || !op || op->flags & (NODELESS | SILENT))
		return false;
	const struct fs_inode *inode = slots__get(&s->inodes, header.nodeid);
	return inode && inode->share && inode->share->layer;
}

uint32_t session__handle(struct fs_session *s, const struct virtqueue_chain *chain, struct fs_wait *wait)
{
	struct fs_request req = {.session = s, .chain = chain};
	const struct op *op;
	if (!read_header(chain, &req.header, &op))
		return 0; /* not a request: there is nothing to address a reply to */
	bool silent = op && op->flags & SILENT;
	if (!silent && chain->writable_bytes < sizeof(struct fuse_out_header))
		return 0;
	struct fuse_out_header head = {.unique = req.header.unique};
	s->serial++;
	req.out = s->reply + sizeof(head);
	req.out_room = silent ? 0 : chain->writable_bytes - sizeof(head);
	if (req.out_room > FS_REPLY_MAX)
		req.out_room = FS_REPLY_MAX;
	head.error = op && op->fn ? run(&req, op) : -ENOSYS;
	quota__sweep(s);
	lock__retry(s); /* before whoever gave it up can ask for it again */
	if (silent)
		return 0;
	if (head.error == FS_WAIT) {
		*wait = (struct fs_wait){.unique = req.header.unique, .share = req.share, .waiter = req.waiter};
		return FS_WAITS;
	}
	if (head.error)
		req.out_len = req.direct = 0;
	return reply(s, head, req.out_len, req.direct, chain);
}

bool session__has_changes(struct fs_session *s)
{
	changes__read(s, NULL);
	return s->changes.waiting && (s->changes.stopped || s->changes.start < s->changes.end);
}

uint32_t session__tell_changes(struct fs_session *s, uint64_t unique, const struct virtqueue_chain *chain)
{
	struct fuse_out_header head = {.unique = unique};
	s->changes.waiting = false;
	if (!chain || chain->writable_bytes < sizeof(head) + FS_CHANGE_MAX)
		return 0;
	size_t room = chain->writable_bytes - sizeof(head);
	size_t len = changes__take(&s->changes, s->reply + sizeof(head), room < FS_REPLY_MAX ? room : FS_REPLY_MAX);
	if (!len)
		head.error = -ENOTCONN;
	return reply(s, head, len, 0, chain);
}

uint32_t session__end(struct fs_session *s, uint64_t unique, int error, const struct virtqueue_chain *chain)
{
	struct fuse_out_header head = {.unique = unique, .error = error};
	return chain && chain->writable_bytes >= sizeof(head) ? reply(s, head, 0, 0, chain) : 0;
}
