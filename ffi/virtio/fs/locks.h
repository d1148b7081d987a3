/* What the parts of locks share: see lock.c. */
#ifndef CAPSA_VIRTIO_FS_LOCKS_H
#define CAPSA_VIRTIO_FS_LOCKS_H

#include "virtio/fs/internal.h"

struct fs_range {
	uint64_t start, end; /* inclusive */
	bool exclusive;
	struct fs_range *next;
};

/* What one owner has locked of an inode, of one of the two kinds, which do not know each other. */
struct fs_lock {
	bool flock;
	uint64_t owner; /* the guest's number, unless `flock`: then it is the handle */
	uint32_t pid;
	struct fs_handle *handle; /* by which it was taken, and without which it is gone */
	int fd;                   /* what has it on the host; -1: nothing */
	bool opened;              /* for this, and not the handle's */
	struct fs_range *ranges;  /* by place; none touch that are alike; never NULL between requests */
	struct fs_inode *beside;  /* the directory that it was in, where the host knows of it */
	struct fs_lock *next;     /* of the same inode */
};

/* What is asked for, found in the session anew for each try. */
struct fs_wish {
	struct fs_session *session;
	struct fs_inode *inode;
	struct fs_handle *handle;
	const struct fuse_lk_in *in;
	bool flock, exclusive;
};

/* lock_ranges.c */
bool range__overlaps(const struct fs_range *range, uint64_t start, uint64_t end);
void range__free_all(struct fs_session *s, struct fs_lock *lock);
/* Take [start, end] out. *spare, which may be needed where that leaves two parts of one, is NULL then. */
void range__cut(struct fs_session *s, struct fs_lock *lock, uint64_t start, uint64_t end, struct fs_range **spare);
/* Put the range, which overlaps none, where it belongs, and make one of those that it touches; it may be freed. */
void range__put(struct fs_session *s, struct fs_lock *lock, struct fs_range *range);

/* lock_host.c; all return 0 or -errno. */
/* Of a lock of fcntl: -EAGAIN where another has it. F_UNLCK gives up. */
int host_lock__set(int fd, short type, uint64_t start, uint64_t end);
/* A descriptor for the wish's owner: the handle's, unless another owner has that. */
int host_lock__take_fd(const struct fs_wish *wish, struct fs_lock *lock);
/* What is wished for, by the lock's descriptor, or by a better one, which it has then. */
int host_lock__take(const struct fs_wish *wish, struct fs_lock *lock);
/* The descriptor goes, or what is locked by it. */
void host_lock__let_go(struct fs_session *s, struct fs_lock *lock);

/* lock.c */
/* 0, or -EBADF where inode (NULL is allowed) and handle do not belong together. */
int lock__wish(struct fs_session *s, struct fs_inode *inode, const struct fuse_lk_in *in, struct fs_wish *wish);
/* What of another owner's is in the way, after `lock`, or the first where that is NULL; and its range. */
const struct fs_lock *lock__in_the_way(const struct fs_wish *wish, const struct fs_lock *lock,
				       const struct fs_range **range);
/* 0, -EAGAIN, or what goes wrong; *here: whether it is the guest who has what is in the way. */
int lock__try(const struct fs_wish *wish, bool *here);
/* What a process or an open file has locked by it goes with the handle. */
void lock__drop(struct fs_session *s, const struct fs_handle *handle);

/* lock_wait.c */
/* FS_WAIT, or why it is not to wait. */
int lock__await(struct fs_request *req, const struct fs_wish *wish, bool here);

#endif
