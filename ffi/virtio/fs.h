/* virtio-fs device (virtio 1.2, section 5.11): a FUSE server over one or many shared host directories. */
#ifndef CAPSA_VIRTIO_FS_H
#define CAPSA_VIRTIO_FS_H

#include <stdbool.h>
#include <stdint.h>

#include "confine/identity.h"
#include "virtio/kind.h"

/* Who the guest sees as owner of the files of a share. */
enum fs_ownership {
	FS_OWNER_ROOT,        /* every file is root's; chown succeeds and is remembered for the device's life, and so is
			       * the owner of a file that a process other than root's made */
	FS_OWNER_CALLER,      /* every file is the asking process's; chown succeeds and changes nothing */
	FS_OWNER_PASSTHROUGH, /* host ids as they are, chown reaches the host */
	FS_OWNER_MAP,         /* ranges of guest ids are ranges of host ids; an id outside shows as 65534 */
};

struct fs_id_range {
	uint32_t guest, host, count;
};

/* How long the guest may trust what it has cached of a share. */
enum fs_cache {
	FS_CACHE_AUTO,   /* 1 s: changes made on the host show within a second */
	FS_CACHE_ALWAYS, /* for the device's life: the host side does not change */
	FS_CACHE_NEVER,  /* asked each time */
};

struct fs_root {
	const char *name; /* entry in the device's root directory, "0", "1", …; ignored when `single` */
	const char *path; /* what `fd` is opened from, if it is `identity` */
	struct file_identity identity;
	int fd;         /* O_PATH descriptor of what is shared, a directory or one regular file (then without a name:
			 * whatever becomes of its names, it is that file); the device takes it over */
	bool read_only; /* refused here with EROFS, whatever the guest does */
	/* What the guest changes of the directory at `fd` goes into another one (a transaction), which has two empty
	 * directories, "upper" and "work": see fs/union.c. Then what the host has mounted below is shown as part of it.
	 */
	bool layered;
	int layer; /* where `layered`: O_PATH descriptor of that one; the device takes it over */
	const char *layer_path;
	/* Paths below a directory, such as "a/b", which need not exist. The guest gets EROFS for whatever would change
	 * what is there or below, or make it, by any name. What it has open, or has seen, when the host moves it there
	 * goes on as before. */
	CBOR_LIST_OF(const char *const) protect;
	uint64_t size;   /* bytes that the guest may add, as fs/quota.c counts them; 0: any number */
	bool host_locks; /* what the guest locks is locked on the host, too */
	enum fs_cache cache;
	enum fs_ownership ownership;
	CBOR_LIST_OF(const struct fs_id_range) uid_map, gid_map; /* FS_OWNER_MAP only */
};

/* The host watches no more than `count` files: -ENOSPC or -EMFILE. Called once, on the worker. */
typedef void (*fs_notice_fn)(void *arg, int error, unsigned count);

struct fs_options {
	const char *tag; /* mount tag, at most 36 bytes */
	/* single: the one root, a directory, is the file system's root. Else the root is a made, read-only directory in
	 * which each directory is a sub-mount with its own device number (FUSE_ATTR_SUBMOUNT), and each file is a file.
	 */
	bool single;
	CBOR_LIST_OF(struct fs_root) roots; /* copied, with all that they point to */
	uint64_t memory;     /* bytes that the guest has, which bound how many files it may hold; 0: any number */
	fs_notice_fn notice; /* or NULL */
	void *notice_arg;
};

/*
 * What the guest watches (inotify) is watched here too, in shares that the host may change: a guest with capsa's kernel
 * sees the host's changes. The process's working directory is then the kept /proc/self/fd.
 *
 * Set-user-id and set-group-id bits of files reach the host only under FS_OWNER_PASSTHROUGH and FS_OWNER_MAP. The limit
 * of open files is raised as far as the process may. Needs /proc at this moment: it keeps a descriptor of
 * /proc/self/fd. Where mounting is permitted (see tree__open) that is a mount of its own, from which no ".." leads to
 * the rest of /proc; elsewhere Landlock alone keeps whoever has taken over the process from going there.
 * 0, -EINVAL (tag, root names, protected paths), -ENOTDIR (a root is neither a directory nor, but for `single` and with
 * protected paths, a regular file), -ENOMEM, or what opening /proc says. The request queue should have 1024 entries:
 * then reads and writes of 1 MiB go in one request.
 *
 * The caller owns *out until it hands it to a transport; `ops->destroy` ends it. On failure no fd is taken. */
__attribute__((warn_unused_result)) int virtio_fs__new(const struct fs_options *options, struct virtio_device **out);

/* Whether a protected path is one: names with '/' between them, none empty, "." or "..". */
bool protect__valid(const char *path);
/* Bytes that a device may come to hold for a guest with so much memory: its files and their owners. */
uint64_t virtio_fs__bound(uint64_t memory);

/* What the guest has done with a root since the device was made, or has tried to. */
enum { FS_ROOT_WROTE_MAX = 1024 };
struct fs_use {
	const char *name; /* the root's; this and `wrote` live as long as the device */
	bool used;        /* looked at, read or written; looking it up by its name, to mount it, is no use */
	bool written; /* made, changed or removed something in it, or opened a file for that; refused where read_only */
	/* Names of the root's entries in and below which that was, each with its NUL: the first FS_ROOT_WROTE_MAX bytes
	 * of them, 64 KiB of all roots together. */
	const char *wrote;
	size_t wrote_end; /* bytes there */
	bool wrote_more;  /* there were others */
};

/* Of one root, in the order of the options; from any thread. False where there is none of that index. */
bool virtio_fs__use(const struct virtio_device *dev, unsigned index, struct fs_use *use);

/* Whether one of the roots is `layered`; from any thread. */
bool virtio_fs__is_layered(const struct virtio_device *dev);
/* From now on serve no more requests for roots that are `layered`, or serve them again: from any thread. The one at
 * hand is ended: it has been when the worker next does something else. Those that came meanwhile are served by
 * virtio_fs__look, on the worker. */
void virtio_fs__stand(struct virtio_device *dev, bool stands);
void virtio_fs__look(struct virtio_device *dev);

/* As of struct device_kind: the roots, and their layers. */
unsigned virtio_fs__shares(const struct virtio_device *dev, struct confine_share *shares, bool *foreign_owners);

extern const struct device_kind device_fs;

#endif
