/* What the parts of the virtio-fs device share: the session, its shares, inodes, handles and requests. */
#ifndef CAPSA_VIRTIO_FS_INTERNAL_H
#define CAPSA_VIRTIO_FS_INTERNAL_H

#include <limits.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "virtio/fs.h"

/* Newer than the oldest <linux/fuse.h> we build with (7.38). */
#define FS_DIRECT_IO_ALLOW_MMAP (1ULL << 36) /* FUSE_DIRECT_IO_ALLOW_MMAP, protocol 7.39 */

/* Of capsa's own kernel, kernel/patches/0009: no attributes but "user." ones are asked for. */
#define FS_USER_XATTR (1ULL << 60)

/* The same, kernel/patches/0005: which inodes are watched, and what others change in them. */
#define FS_HAS_WATCH (1ULL << 62)
enum { FS_OP_WATCH = 120, FS_OP_UNWATCH = 121, FS_OP_CHANGES = 122 };

/* The same, kernel/patches/0007: it tells of closes where there are locks, and interrupts who waits for one. */
#define FS_HAS_LOCKS (1ULL << 61)
#define FS_OPEN_HOST_LOCKS (1U << 30) /* of open_flags: locks of this file are to be asked for, others stay there */
enum { FS_LK_OFD = 2 };               /* of lk_flags: the owner is an open file, and no process */

enum {
	FS_BODY_MAX = 80 * 1024,     /* a request without its file data: an xattr value of 64 KiB and its name */
	FS_REPLY_MAX = 64 * 1024,    /* a reply without file data */
	FS_WRITE_MAX = 1024 * 1024,  /* bytes of one read or write */
	FS_INODES_MAX = 1024 * 1024, /* inodes the guest may hold, and where it has little memory: */
	FS_INODES_LEAST = 64 * 1024,
	FS_INODE_BYTES = 1024,             /* of a guest's memory that one takes at least, as fuse_inode and dentry */
	FS_INODE_HELD = 576,               /* bytes here that one takes at most, with its name and places */
	FS_OWNER_HELD = 96,                /* the same of a remembered owner */
	FS_DEPTH_MAX = PATH_MAX,           /* directories above one another: each takes a step to reach */
	FS_HANDLES_MAX = 32768,            /* files and directories the guest may have open */
	FS_LISTINGS_MAX = 1024,            /* directories of which what was read ahead is kept */
	FS_MERGED_MAX = 16 << 20,          /* bytes of what was read ahead of directories of two layers */
	FS_OWNERS_MAX = 1024 * 1024,       /* remembered owners */
	FS_WROTE_MAX = 64 * 1024,          /* bytes of names of entries that were written, of all shares */
	FS_CHANGE_MAX = 24 + NAME_MAX + 1, /* bytes of a change with the longest name: a multiple of 8 */
	FS_LOCK_RANGES_MAX = 16 * 1024,    /* ranges of files that the guest has locked */
	FS_INTERRUPTS_KEPT = 64,           /* that came before what they interrupt */
};

/*
 * An inode is known by where it was last seen (parent and name), and holds a descriptor only while that is useful. So
 * a walk of any number of files costs no descriptors, and a lookup is one statx. Each time the place is used the file
 * found there is compared with `key` and `born`; when it is another one the answer is ESTALE, and the guest looks
 * again.
 *
 * Why nothing outside a share is reached: a path is only ever walked one component at a time, by a name without '/'
 * that is not "." or "..", from a descriptor of a directory that was reached the same way from the share's root, and
 * never through a symlink (O_NOFOLLOW). Files are opened for reading or writing by way of an O_PATH descriptor whose
 * type was looked at first, so neither a device nor a fifo is ever opened.
 */
struct fs_key {
	uint64_t dev, ino, mount;
	uint32_t share;
};

struct fs_inode {
	uint64_t id; /* node id */
	struct fs_key key;
	int64_t born_sec; /* time of birth, 0 where the file system has none: tells a reused inode number */
	uint32_t born_nsec;
	uint32_t type;           /* S_IFMT part of the mode: never changes */
	uint64_t top_dev;        /* device of the (sub)mount the guest sees this inode in */
	bool submount;           /* announced as a mount of its own */
	bool root;               /* of a share, or the made root: lives as long as the session */
	bool hashed;             /* is found by its key */
	bool doomed;             /* has no name left: what is remembered of it goes with it */
	bool stamped;            /* `stamp` tells what the guest's page cache was filled from */
	bool upper;              /* it is in the layer of its share */
	bool opaque;             /* such a directory, through which nothing shows */
	bool redirected;         /* or one from elsewhere, since it was renamed */
	uint32_t unmarked;       /* what shows through it was looked for since the layer counted that */
	int32_t links;           /* names that it has more, or fewer, than the host counts */
	uint64_t number;         /* shown as its inode number; 0: that of its key */
	struct fs_inode *under;  /* a directory of the layer: that of the shared directory which shows through it */
	struct fs_share *share;  /* NULL: the made root */
	struct fs_inode *parent; /* where it was last seen; NULL: nowhere (unlinked, or a root) */
	char *name;
	int fd;                               /* O_PATH; -1 until needed */
	uint32_t used;                        /* serial of the last request that asked for fd */
	struct fs_inode *lru_prev, *lru_next; /* while fd is open and may be closed */
	int wd;                               /* of inotify; 0: not watched */
	bool astray;                          /* watched, and not where it was last seen */
	struct fs_inode *next_watched;        /* in its bucket of fs_changes */
	uint64_t lookups;                     /* references the guest holds */
	unsigned refs;                        /* children that name it as parent, handles, and locks beside it */
	unsigned locked;                      /* locks that the host knows, of files in it */
	struct fs_handle *handles;
	struct fs_lock *locks; /* each goes with a handle */
	uint64_t charge;       /* bytes that count for it in its share's quota: what the guest added */
	bool kept;             /* by a reference, for that */
	struct fs_inode *next; /* in its hash bucket */
	struct {
		int64_t sec;
		uint32_t nsec;
		uint64_t size;
		int64_t seen_ns; /* wall clock when it was taken */
	} stamp;
};

struct fs_slot {
	void *object; /* NULL: free */
	uint32_t generation;
	uint32_t next_free;
};

/* Numbers for objects: index in the low half, generation in the high one, so that a stale number finds nothing. */
struct fs_slots {
	struct fs_slot *slots;
	uint32_t count, capacity, free, live;
};

struct fs_handle {
	uint64_t id;
	int fd;
	bool directory;
	bool writable;
	bool lent; /* an owner of locks has them by this descriptor */
	struct fs_inode *inode;
	struct fs_handle *next; /* of the same inode */
	struct fs_listing *listing;
	struct fs_merged *merged; /* the same of a directory of two layers */
};

/* Where the changes of a share go (union.c). */
struct fs_layer {
	int fd, work, index; /* O_PATH descriptors: the layer's, and those of what is half made in it, and of origins */
	uint64_t serial;     /* of names in `work` */
	bool indexed;        /* there are origins in `index`, */
	bool strayed;        /* and among them files with one name */
	uint32_t unmarked;   /* how often what shows through its directories may have become another: an apply */
	uint8_t *copied;     /* which numbers copies may have: a bit for many */
	uint64_t looked;     /* when the list of what was applied was looked for: settled.c */
	uint64_t list_ino, list_changed; /* which one was read */
	struct settled *settled;
	char *settled_text;
	size_t settled_count;
	struct timespec since; /* what was born later may have an inode number that another file had before */
};

/* See quota.c. */
struct fs_quota {
	uint64_t size; /* bytes that the guest may add; 0: any number */
	uint64_t used;
	uint64_t look_again; /* for what the host has removed: a time of the monotonic clock */
	bool by_size;        /* blocks tell nothing */
};

struct fs_share {
	uint32_t index;
	char *name;
	bool read_only;
	bool host_locks;
	struct fs_layer *layer; /* NULL: what the guest changes is changed in the shared directory itself */
	enum fs_cache cache;
	enum fs_ownership ownership;
	struct fs_id_range *uid_map, *gid_map;
	unsigned uid_map_count, gid_map_count;
	struct fs_inode *root;
	struct fs_protected *protected; /* NULL: nothing of it */
	struct fs_quota quota;
	_Atomic bool used, written;    /* by the guest, or it has tried */
	bool unsynced;                 /* written since all of it was synced */
	char wrote[FS_ROOT_WROTE_MAX]; /* names of entries of its root in and below which it wrote, each with its NUL */
	_Atomic size_t wrote_end;
	_Atomic bool wrote_more; /* than there was room for */
};

/* What others change in what the guest watches, until the guest takes it. */
struct fs_changes {
	int fd;                    /* of inotify; -1 until something is watched */
	struct fs_inode **watched; /* by wd */
	unsigned count, limit;     /* of them */
	uint8_t *pending;          /* changes as the guest reads them */
	size_t start, end, capacity, last;
	bool lost;    /* what waits began with saying that there was too much */
	bool refused; /* the host's limit was met, and told */
	bool stopped; /* the guest wants none any more */
	bool waiting; /* a request of the guest waits for them */
};

/* See lock.c. */
struct fs_locks {
	bool on;                     /* the guest leaves its locks to us */
	bool changed;                /* some were given up: who waits may try again */
	struct fs_waiter *first;     /* who waits, in order of arrival */
	unsigned ranges;             /* that are locked */
	unsigned opened, opened_max; /* descriptors, for owners whose handle another owner has */
	uint64_t interrupted[FS_INTERRUPTS_KEPT];
	unsigned interrupts;
};

struct fs_session {
	struct fs_share *shares;
	unsigned share_count;
	bool single;
	bool protects;  /* some share has something protected */
	bool started;   /* INIT was answered */
	bool submounts; /* the guest mounts what is announced */
	int proc;       /* /proc/self/fd, of tree__open */
	uint32_t serial;
	uint64_t written, read; /* bytes of files, by the guest */
	size_t wrote;           /* bytes of all shares' `wrote` */

	struct fs_slots inodes, handles;
	struct fs_inode **buckets;
	uint32_t bucket_count; /* a power of two */
	struct fs_inode *top;  /* node 1 */
	struct fs_inode lru;   /* sentinel; most recent first */
	unsigned lru_count, lru_max, handles_max, inodes_max;
	unsigned listings;     /* that are kept */
	size_t merged_bytes;   /* of all `merged` */
	unsigned pinned_count; /* descriptors of inodes that have no known place; at most lru_max */
	unsigned kept;         /* inodes, for what they count */
	bool loose;            /* some of them are to be let go */

	struct fs_changes changes;
	struct fs_locks locks;
	fs_notice_fn notice;
	void *notice_arg;

	uint64_t sync_debt_until; /* see sync.c; of the monotonic clock */

	struct fs_owner **owners;
	uint32_t owner_buckets, owner_count;

	_Alignas(8) uint8_t body[FS_BODY_MAX];
	_Alignas(8) uint8_t reply[sizeof(struct fuse_out_header) + FS_REPLY_MAX];
	struct iovec iov[VIRTQUEUE_MAX_SIZE];
};

struct fs_request {
	struct fs_session *session;
	const struct virtqueue_chain *chain;
	struct fuse_in_header header;
	const void *in;      /* the operation's fixed part, whole */
	const char *name[2]; /* the names that follow it */
	const uint8_t *data; /* what follows them */
	size_t data_len;
	struct fs_inode *inode; /* of header.nodeid */
	struct fs_share *share; /* of that inode */
	void *out;              /* where the reply's payload is put */
	size_t out_room;        /* bytes the guest has room for there */
	size_t out_len;         /* bytes put there */
	size_t direct;          /* bytes that went straight into the guest's buffers instead */
	/* With FS_WAIT, where it is a lock that is waited for. */
	struct fs_waiter *waiter;
};

/* session.c */
/* The caller owns *out. 0 or -errno; on failure no fd is taken. */
int session__new(const struct fs_options *options, struct fs_session **out);
void session__free(struct fs_session *s);
/* Forget all the guest holds; remembered owners stay. */
void session__reset(struct fs_session *s);
/* What an operation returns in place of an error: the request is answered later. */
enum { FS_WAIT = 1 };
/* Bytes written to the chain (0: no reply), or this: the chain is kept, and ended by one of the two below. */
#define FS_WAITS UINT32_MAX
/* What waits: the request's number, and for what, of which one is not NULL; for changes where both are. */
struct fs_wait {
	uint64_t unique;
	struct fs_share *share;   /* it is to be synced */
	struct fs_waiter *waiter; /* for a lock */
};
uint32_t session__handle(struct fs_session *s, const struct virtqueue_chain *chain, struct fs_wait *wait);
/* Whether the request is about a file in a share of two layers, and wants an answer. */
bool session__is_layered(const struct fs_session *s, const struct virtqueue_chain *chain);

/* Whether there is something to tell the request that waits for changes. */
bool session__has_changes(struct fs_session *s);
/* The reply to a request that waits: bytes written; 0 where its chain, which the guest may have changed since, has no
 * room for one. NULL: it is no chain any more. */
uint32_t session__tell_changes(struct fs_session *s, uint64_t unique, const struct virtqueue_chain *chain);
uint32_t session__end(struct fs_session *s, uint64_t unique, int error, const struct virtqueue_chain *chain);

/* sync.c */
/* How long the next one is to wait, so that they stay seldom. */
uint64_t sync__wait_ms(const struct fs_session *s);
int sync__share(struct fs_session *s, struct fs_share *share);

/* lock.c */
/* The handle is about to be closed, and what was locked by it is not any more. */
void lock__closed(struct fs_session *s, const struct fs_handle *handle);
/* What the reply to an open says of locks. */
uint32_t lock__open_flags(const struct fs_request *req);
/* Have who waits try again, if locks were given up. */
void lock__retry(struct fs_session *s);
/* Ask the host, where it is time to. Returns the ms until it is again; 0: nobody waits for the host. */
uint64_t lock__poll(struct fs_session *s);
/* Who waits for a lock is to be told: 0 where it has it, or -errno. */
bool lock__is_over(const struct fs_waiter *waiter, int *error);
/* The request waits no more; `waiter` is freed. */
void lock__forget(struct fs_session *s, struct fs_waiter *waiter);
/* The request of that number, be it one that waits or that comes yet. */
void lock__interrupt(struct fs_session *s, uint64_t unique);
/* Nothing is locked any more: those who wait are to be told so. */
void lock__reset(struct fs_session *s);
/* Free what waits, of which nobody is told any more. */
void lock__end(struct fs_session *s);

/* changes.c */
void changes__init(struct fs_changes *changes);
/* Take what inotify has; `own` (NULL: none) is a request that was served since that was done last. */
void changes__read(struct fs_session *s, const struct fs_request *own);
/* Move whole changes to `to`; returns their bytes. */
size_t changes__take(struct fs_changes *changes, void *to, size_t room);
/* 0 where there is nothing that the host may change. */
int changes__watch(struct fs_session *s, struct fs_inode *inode);
void changes__unwatch(struct fs_session *s, struct fs_inode *inode);
/* Watch nothing, and have no request wait. */
void changes__reset(struct fs_session *s);
void changes__end(struct fs_changes *changes);

/* use.c: attempts count, whatever comes of them: without the share, or the right to write there, they would end in
 * another way. */
void use__look(struct fs_share *share);
/* `dir`, an inode of the share, is to be changed, or its entry `name` where that is not NULL. */
void use__write(struct fs_session *s, struct fs_share *share, const struct fs_inode *dir, const char *name);
/* Of one share, from any thread; false where there is none of that index. */
bool use__get(const struct fs_session *s, unsigned index, struct fs_use *use);

/* quota.c: nothing of it does anything in a share that has no size. */
enum {
	QUOTA_LEAST = 4096, /* bytes that anything takes */
	QUOTA_NAME = 1024,  /* and another name, or an attribute besides its value */
};
/* The share, with its layer if it has one, is opened: count what that holds already. */
int quota__begin(struct fs_session *s, struct fs_share *share, uint64_t size);
/* Bytes that a file counts for; of an open one: 0 where nothing is counted. */
uint64_t quota__weight(const struct fs_share *share, const struct statx *stx);
uint64_t quota__weigh(const struct fs_share *share, int fd);
/* 0, or -ENOSPC where there is no room for so much more. */
int quota__admit(struct fs_session *s, struct fs_share *share, uint64_t bytes);
/* The same of a range of an open file that is to be written, as far as it has no blocks; without `all`, *len may become
 * less. */
int quota__admit_range(struct fs_session *s, struct fs_share *share, int fd, uint64_t offset, size_t *len, bool all);
/* The guest has changed what the inode, or a directory, counts for. */
void quota__changed(struct fs_session *s, struct fs_inode *inode, uint64_t before, uint64_t after);
/* A file that goes on has a name more, or fewer. */
void quota__named(struct fs_session *s, struct fs_inode *inode, bool more);
/* ftruncate() of an open file of the inode, and all of the above. */
int quota__resize(struct fs_session *s, struct fs_inode *inode, int fd, uint64_t size);
/* What was `stx` has lost a name, its last one maybe; `inode` is NULL where it is not known. */
void quota__removed(struct fs_session *s, struct fs_share *share, struct fs_inode *inode, const struct statx *stx);
/* `fd`, of a handle that it has no more, is about to be closed. */
void quota__closed(struct fs_session *s, const struct fs_inode *inode, int fd);
/* It is about to be freed. */
void quota__forgotten(struct fs_session *s, const struct fs_inode *inode);
/* A request has ended: let go of inodes that were known for what they counted for, and count for nothing. */
void quota__sweep(struct fs_session *s);
/* What the guest is told of the share's room. */
void quota__show(struct fs_session *s, struct fs_share *share, struct fuse_kstatfs *st);

/* protect.c */
/* The caller owns *out, NULL without paths. 0, -EINVAL (a path is not as fs_root has them), -ENOMEM. */
int protect__new(const char *const *paths, unsigned count, struct fs_protected **out);
/* NULL is allowed. */
void protect__free(struct fs_protected *node);
/* 0 if the inode's contents and attributes may be changed, or it given another name; -EROFS where it is protected;
 * -ESTALE (of a directory) where nobody knows, and what looking says. */
int protect__inode(struct fs_session *s, struct fs_inode *inode);
/* The same of making, replacing, moving or removing an entry of `dir`; `directory`: what is made or removed is one. */
int protect__entry(struct fs_session *s, struct fs_inode *dir, const char *name, bool directory);

/* slots.c: find by number; NULL for a number that names nothing. */
void *slots__get(const struct fs_slots *slots, uint64_t id);
/* 0 or -ENOMEM, -ENFILE (more than `max` live ones). */
int slots__add(struct fs_slots *slots, void *object, uint32_t max, uint64_t *id);
void slots__remove(struct fs_slots *slots, uint64_t id);
void slots__free(struct fs_slots *slots);

/* union.c: a shared directory seen through the layer above it. What is said of one layer holds of a share that has no
 * other. */

/* Where an entry of a directory is. */
struct fs_found {
	bool upper;
	struct statx stx;
};
/* Takes over `fd` of the layer's directory, unless it fails; the share's root is that of its `upper` afterwards. */
int union__open(struct fs_session *s, struct fs_share *share, int fd);
void union__close(struct fs_layer *layer);
/* What the guest sees at the name; -ENOENT if nothing. */
int union__find(struct fs_session *s, struct fs_inode *dir, const char *name, struct fs_found *found);
/* inode__intern of what was found. */
int union__intern(struct fs_session *s, struct fs_inode *dir, const char *name, const struct fs_found *found,
		  struct fs_inode **out);
/* The inode, of a layer, has just been made. */
void union__made(struct fs_inode *inode, const struct statx *stx);
/* What the shared directory has at that name of a directory, whatever the guest sees there; -ENOENT if nothing. */
int union__below(struct fs_session *s, struct fs_inode *dir, const char *name, struct statx *stx);
/* What shows through a directory of the layer, by now, though none above it was looked at since an apply; NULL:
 * nothing. */
struct fs_inode *union__under(struct fs_session *s, struct fs_inode *dir);
/* The host has applied changes: what shows through, and what counts as applied, is looked for again. */
void union__applied(struct fs_layer *layer);
/* Whether the guest has changed, made or removed it itself. */
bool union__is_changed(struct fs_session *s, struct fs_inode *dir, const char *name);
bool union__is_whiteout(const struct statx *stx);
/* Attributes of that name are the layer's own. */
bool union__is_own(const char *attribute);

/* entries.c: where something new is to be made; it gets its name by spot__fill. */
struct fs_spot {
	int dir;
	const char *name;
	bool covers; /* a whiteout, so it is made aside */
	char aside[80];
};
/* -EEXIST where there is something. The directory is to be changed already. */
int spot__find(struct fs_session *s, struct fs_inode *dir, const char *name, struct fs_spot *spot);
int spot__fill(struct fs_session *s, struct fs_inode *dir, const char *name, struct fs_spot *spot, bool directory);
/* What is seen at the name, which is `found`, goes. Of a directory, only if nothing is seen in it. */
int union__remove(struct fs_session *s, struct fs_inode *dir, const char *name, const struct fs_found *found);
/* What has just been made there, in a share of one layer or two, goes again. */
void union__unmake(struct fs_session *s, struct fs_inode *dir, const char *name, bool directory);
/* As renameat2(2), of what is found at one name or, with RENAME_EXCHANGE, both, to be changed already; `target` is NULL
 * where nothing is seen there, and may not be where flags say so. */
int union__rename(struct fs_session *s, struct fs_inode *from, const char *name, struct fs_inode *moved,
		  struct fs_inode *to, const char *new_name, struct fs_inode *target, unsigned flags);
/* Whether nothing is seen in the directory. */
int union__empty(struct fs_session *s, struct fs_inode *dir);

/* copy_up.c: have the inode in the layer of its share, with all directories above it; nothing where it is. `empty`: its
 * bytes are not needed. -ESTALE where it is not where it was. */
int union__own(struct fs_session *s, struct fs_inode *inode, bool empty);

/* merged.c: the entries of a directory of two layers, each with a number that is the name's own: it leads on from there
 * whatever the directory has become. */
struct fs_merged_entry {
	const char *name;
	uint64_t offset;
	uint64_t ino; /* the host's */
	bool upper;
	uint32_t type; /* DT_ */
};
enum { MERGED_DOTS = 2 }; /* offset behind "." and ".." */
/* The number that it shows, which is that of its inode. */
uint64_t merged__number(struct fs_session *s, struct fs_inode *dir, const struct fs_merged_entry *entry);
/* The first entry behind `offset`: 1; 0 after the last; or -errno. */
int merged__next(struct fs_session *s, struct fs_handle *handle, uint64_t offset, struct fs_merged_entry *entry);
void merged__free(struct fs_session *s, struct fs_handle *handle);

/* inode.c */
int stat__at(int dir, const char *name, struct statx *stx);
uint64_t stat__dev(const struct statx *stx);
/* The inode of the file seen as `name` in `parent` (NULL: it has no name), made if it is new. No reference is taken:
 * whoever then fails calls inode__put. */
int inode__intern(struct fs_session *s, struct fs_inode *parent, const char *name, const struct statx *stx,
		  struct fs_inode **out);
/* One that is known to be in the directory's file system by that number; NULL if none. */
const struct fs_inode *inode__numbered(struct fs_session *s, const struct fs_inode *dir, uint64_t ino);
/* Those of one file, as each share knows it: the first (`last` is NULL), and the one after `last`. */
struct fs_inode *inode__of_file(struct fs_session *s, const struct fs_inode *of, const struct fs_inode *last);
struct fs_inode *inode__find(struct fs_session *s, const struct fs_share *share, const struct statx *stx);
/* A root: takes fd over unless it fails. share NULL: the made root, without fd. */
int inode__new_root(struct fs_session *s, struct fs_share *share, int fd, struct fs_inode **out);
/* The share's root is that of its layer from now on, which takes fd over unless it fails; what it was shows through. */
int inode__cover_root(struct fs_session *s, struct fs_share *share, int fd);
/* What is there of a directory in the shared directory, where it has one in the layer, too: it shows through. `stx`
 * NULL: nothing does. */
int inode__set_under(struct fs_session *s, struct fs_inode *inode, struct fs_inode *parent, const char *name,
		     const struct statx *stx);
/* One that no number leads to, since the guest does not know it: the caller's by a reference. */
int inode__new_under(struct fs_session *s, struct fs_share *share, struct fs_inode *parent, const char *name,
		     const struct statx *stx, struct fs_inode **out);
/* It is another file from now on, in its share's layer: a directory keeps what it was as what shows through. */
int inode__raise(struct fs_session *s, struct fs_inode *inode, const struct statx *stx);
/* The directory in which it is found by its name, in its own layer; NULL where that is not known. */
struct fs_inode *inode__above(const struct fs_inode *inode);
/* It is about to lose the name `name` in `parent`: keep a way to it if it has others. */
void inode__pin(struct fs_session *s, struct fs_inode *inode, const struct statx *stx);
void inode__unlinked(struct fs_session *s, struct fs_inode *inode, const struct fs_inode *parent, const char *name);
void inode__moved(struct fs_session *s, struct fs_inode *inode, struct fs_inode *parent, const char *name);
void inode__forget(struct fs_session *s, struct fs_inode *inode, uint64_t lookups);
/* Free it if nothing holds it any more. */
void inode__put(struct fs_session *s, struct fs_inode *inode);
void inode__free_all(struct fs_session *s, bool roots);
bool inode__is(const struct fs_inode *inode, const struct statx *stx);

/* reach.c */
/* A descriptor of it (O_PATH or better), good until the request ends. -ESTALE when it is not where it was. */
int inode__fd(struct fs_session *s, struct fs_inode *inode);
int inode__stat(struct fs_session *s, struct fs_inode *inode, struct statx *stx);
/* Open it anew, a regular file or a directory only; `flags` without O_CREAT. The caller owns the descriptor. */
int inode__open(struct fs_session *s, struct fs_inode *inode, int flags);
/* openat for every new descriptor: closes idle ones and tries once more when the process has run out. */
int fd__open(struct fs_session *s, int dir, const char *name, int flags, mode_t mode);
void fd__close(struct fs_session *s, struct fs_inode *inode);
/* The guest's kernel has looked at permissions. In a layer, which nobody else uses, those of the host's files stand in
 * nobody's way: where the host's user has none, it lends itself all of them. */
int fd__lend(struct fs_session *s, int fd, mode_t *mode);
void fd__take_back(struct fs_session *s, int fd, mode_t mode);
/* The inode has lost its place: the descriptor, by which alone it is reached now, is kept while there is room. */
void fd__displaced(struct fs_session *s, struct fs_inode *inode);
/* The inode has a place again. */
void fd__placed(struct fs_session *s, struct fs_inode *inode);

/* handle.c: takes fd over unless it fails. */
int handle__new(struct fs_session *s, struct fs_inode *inode, int fd, bool directory, bool writable,
		struct fs_handle **out);
struct fs_handle *handle__get(const struct fs_request *req, uint64_t id, bool directory);
void handle__free(struct fs_session *s, struct fs_handle *handle);
void handle__free_all(struct fs_session *s);

/* dir.c: what was read of a directory and not yet given out, if anything. */
void listing__free(struct fs_session *s, struct fs_handle *handle);

/* attr.c: what the guest is shown of a file. */
void attr__fill(const struct fs_request *req, const struct fs_inode *inode, const struct statx *stx,
		struct fuse_attr *attr);
/* Count one more lookup and fill in the entry. */
void attr__entry(const struct fs_request *req, struct fs_inode *inode, const struct statx *stx,
		 struct fuse_entry_out *entry);
/* The made root's. */
void attr__fill_top(const struct fs_session *s, struct fuse_attr *attr);
void attr__timeout(const struct fs_share *share, uint64_t *sec);

/* owner.c: who owns what, per share. `fd` is any descriptor of the inode. */
void owner__show(const struct fs_request *req, const struct fs_inode *inode, const struct statx *stx,
		 struct fuse_attr *attr);
/* Make the new inode its creator's, with exactly `mode`; *stx is brought up to date. */
int owner__created(const struct fs_request *req, struct fs_inode *inode, int fd, mode_t mode, struct statx *stx);
int owner__chown(const struct fs_request *req, struct fs_inode *inode, const struct fuse_setattr_in *in);
int owner__chmod(const struct fs_request *req, struct fs_inode *inode, mode_t mode);
/* Clear set-user-id, and set-group-id where it means execution, as the kernel does after a write or chown. */
int owner__kill_suidgid(const struct fs_request *req, struct fs_inode *inode);
void owner__forget(struct fs_session *s, const struct fs_inode *inode);
/* What is remembered of it, taken out; NULL if nothing. It is the inode's again, whose key has changed, by the other.
 */
struct fs_owner *owner__take(struct fs_session *s, const struct fs_inode *inode);
void owner__give(struct fs_session *s, const struct fs_inode *inode, struct fs_owner *owner);
/* Owner, mode and times of the inode, which are `stx`, for the file of `fd`, which is to be it. */
int owner__copy(struct fs_session *s, const struct fs_inode *inode, int fd, const struct statx *stx);
void owner__free_all(struct fs_session *s);

/* The operations; each returns 0 or -errno. */
int op__access(struct fs_request *req);
int op__batch_forget(struct fs_request *req);
int op__changes(struct fs_request *req);
int op__copy_file_range(struct fs_request *req);
int op__create(struct fs_request *req);
int op__fallocate(struct fs_request *req);
int op__flush(struct fs_request *req);
int op__forget(struct fs_request *req);
int op__fsync(struct fs_request *req);
int op__fsyncdir(struct fs_request *req);
int op__getattr(struct fs_request *req);
int op__getlk(struct fs_request *req);
int op__getxattr(struct fs_request *req);
int op__link(struct fs_request *req);
int op__listxattr(struct fs_request *req);
int op__lookup(struct fs_request *req);
int op__lseek(struct fs_request *req);
int op__mkdir(struct fs_request *req);
int op__mknod(struct fs_request *req);
int op__open(struct fs_request *req);
int op__opendir(struct fs_request *req);
int op__read(struct fs_request *req);
int op__readdir(struct fs_request *req);
int op__readdirplus(struct fs_request *req);
int op__readlink(struct fs_request *req);
int op__release(struct fs_request *req);
int op__releasedir(struct fs_request *req);
int op__removexattr(struct fs_request *req);
int op__rename(struct fs_request *req);
int op__rename2(struct fs_request *req);
int op__rmdir(struct fs_request *req);
int op__setattr(struct fs_request *req);
int op__setlk(struct fs_request *req);
int op__setlkw(struct fs_request *req);
int op__setxattr(struct fs_request *req);
int op__statfs(struct fs_request *req);
int op__symlink(struct fs_request *req);
int op__syncfs(struct fs_request *req);
int op__tmpfile(struct fs_request *req);
int op__unlink(struct fs_request *req);
int op__unwatch(struct fs_request *req);
int op__watch(struct fs_request *req);
int op__write(struct fs_request *req);

#endif
