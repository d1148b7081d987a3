/* Changes that others make on the host in what the guest watches: found by inotify(7), told in the reply to a request
 * of the guest that waits for them. The guest's own, which come through here, it has told of itself. */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

/* As the kernel's patch has it (kernel/patches). */
struct change {
	uint64_t nodeid;
	uint32_t mask, cookie, namelen, padding; /* the name, a NUL and padding to 8 bytes follow */
};
_Static_assert(FUSE_DIRENT_ALIGN(sizeof(struct change) + NAME_MAX + 1) <= FS_CHANGE_MAX, "any change has room");

enum {
	PENDING_MAX = 256 * 1024, /* bytes of changes that wait for the guest to take them; then they are lost */
	BUCKETS = 1024,
	SHARE = 8,         /* of what the user's programs may watch together, one sandbox takes that part */
	LIMIT = 1024,      /* files watched, where the host does not tell */
	LIMIT_MAX = 65536, /* each takes about 1 KiB of the host's kernel */
	DIRENT = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO,
	SELF = IN_DELETE_SELF | IN_MOVE_SELF,
	CONTENT = IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE,
};

static unsigned long number_in(const char *path)
{
	char text[32] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)!read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	return strtoul(text, NULL, 10);
}

/* What all programs of the user may watch together, here and in the user namespace at hand, is for other sandboxes and
 * the user's own programs as well. */
static unsigned limit_here(void)
{
	unsigned long host = number_in("/proc/sys/fs/inotify/max_user_watches");
	unsigned long here = number_in("/proc/sys/user/max_inotify_watches");
	unsigned long limit = (here && here < host ? here : host) / SHARE;
	if (!host)
		return LIMIT;
	return !limit ? 1 : limit < LIMIT_MAX ? (unsigned)limit : LIMIT_MAX;
}

void changes__init(struct fs_changes *changes)
{
	*changes = (struct fs_changes){.fd = -1, .limit = limit_here()};
}

static struct fs_inode **bucket(struct fs_changes *changes, int wd)
{
	return &changes->watched[(unsigned)wd % BUCKETS];
}

/* --- what is watched --- */

static int begin(struct fs_changes *changes)
{
	if (changes->fd >= 0)
		return 0;
	if (!changes->watched)
		changes->watched = calloc(BUCKETS, sizeof(struct fs_inode *));
	if (!changes->watched)
		return -ENOMEM;
	changes->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	return changes->fd < 0 ? -errno : 0;
}

int changes__watch(struct fs_session *s, struct fs_inode *inode)
{
	char number[16];
	/* what is in a layer the guest changes alone */
	struct fs_inode *hosts = inode->upper ? inode->under : inode;
	if (!hosts)
		return 0;
	if (s->changes.count >= s->changes.limit)
		return -ENOSPC;
	int fd = inode__fd(s, hosts);
	if (fd < 0)
		return fd;
	/* there is no way to name a descriptor but by a path, and no /proc but the one that was kept */
	snprintf(number, sizeof(number), "%d", fd);
	if (fchdir(s->proc))
		return -errno;
	int wd = inotify_add_watch(s->changes.fd, number, DIRENT | SELF | CONTENT | IN_EXCL_UNLINK);
	if (wd < 0)
		return -errno;
	inode->wd = wd;
	inode->next_watched = *bucket(&s->changes, wd);
	*bucket(&s->changes, wd) = inode;
	s->changes.count++;
	return 0;
}

/* Another inode of the guest's, in another share, may be the same file. */
static bool is_watched(struct fs_changes *changes, int wd)
{
	struct fs_inode *at = *bucket(changes, wd);
	while (at && at->wd != wd)
		at = at->next_watched;
	return at != NULL;
}

void changes__unwatch(struct fs_session *s, struct fs_inode *inode)
{
	int wd = inode->wd;
	if (!wd)
		return;
	struct fs_inode **at = bucket(&s->changes, wd);
	while (*at != inode)
		at = &(*at)->next_watched;
	*at = inode->next_watched;
	inode->wd = 0;
	inode->astray = false;
	s->changes.count--;
	if (!is_watched(&s->changes, wd))
		(void)inotify_rm_watch(s->changes.fd, wd); /* refused where the file is gone */
}

void changes__reset(struct fs_session *s)
{
	struct fs_changes *changes = &s->changes;
	for (unsigned i = 0; changes->watched && i < BUCKETS; i++)
		while (changes->watched[i])
			changes__unwatch(s, changes->watched[i]);
	changes->start = changes->end = changes->last = 0;
	changes->lost = false;
	changes->stopped = true;
}

void changes__end(struct fs_changes *changes)
{
	if (changes->fd >= 0)
		close(changes->fd);
	free(changes->watched);
	free(changes->pending);
}

/* --- what is to be told --- */

static size_t size_of(const struct change *change)
{
	return FUSE_DIRENT_ALIGN(sizeof(*change) + change->namelen + 1);
}

/* Whether it is what was told last, and still waits. */
static bool is_told(const struct fs_changes *changes, const struct change *change, const char *name)
{
	if (changes->last < changes->start || changes->end - changes->last != size_of(change) || !changes->end)
		return false;
	const uint8_t *last = changes->pending + changes->last;
	return !memcmp(last, change, sizeof(*change)) && !strcmp((const char *)last + sizeof(*change), name);
}

static void tell(struct fs_changes *changes, const struct fs_inode *inode, uint32_t mask, uint32_t cookie,
		 const char *name)
{
	struct change change = {.nodeid = inode->id, .mask = mask, .cookie = cookie, .namelen = (uint32_t)strlen(name)};
	size_t size = size_of(&change);
	if (change.namelen > NAME_MAX || is_told(changes, &change, name)) /* a guest has no longer names */
		return;
	if (changes->end + size > changes->capacity) {
		size_t capacity = changes->capacity ? changes->capacity * 2 : 4096;
		uint8_t *grown = realloc(changes->pending, capacity);
		if (!grown)
			return;
		changes->pending = grown;
		changes->capacity = capacity;
	}
	changes->last = changes->end;
	memset(changes->pending + changes->end, 0, size);
	memcpy(changes->pending + changes->end, &change, sizeof(change));
	memcpy(changes->pending + changes->end + sizeof(change), name, change.namelen);
	changes->end += size;
}

/* Whether what waits says of all that is watched that changes were lost: one more is lost with them. */
static bool says_lost(const struct fs_changes *changes)
{
	return changes->lost && !changes->start;
}

/* In place of all that waits: each who watches something is told that it has missed changes. */
static void lose(struct fs_changes *changes)
{
	if (says_lost(changes))
		return;
	changes->lost = true;
	changes->start = changes->end = changes->last = 0;
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct fs_inode *inode = changes->watched[i]; inode; inode = inode->next_watched)
			tell(changes, inode, IN_Q_OVERFLOW, 0, "");
}

size_t changes__take(struct fs_changes *changes, void *to, size_t room)
{
	size_t taken = 0;
	while (changes->start < changes->end) {
		size_t size = size_of((const void *)(changes->pending + changes->start));
		if (size > room - taken)
			break;
		memcpy((uint8_t *)to + taken, changes->pending + changes->start, size);
		changes->start += size;
		taken += size;
	}
	if (changes->start == changes->end) {
		changes->start = changes->end = changes->last = 0;
		changes->lost = false;
	}
	return taken;
}

/* --- events --- */

/* The file whose contents or attributes the request is about. */
static const struct fs_inode *subject(const struct fs_request *req)
{
	const struct fuse_copy_file_range_in *copy = req->in;
	return req->header.opcode == FUSE_COPY_FILE_RANGE ? slots__get(&req->session->inodes, copy->nodeid_out)
							  : req->inode;
}

/* Whether the event is of what the request, which has just been served, has done. */
static bool is_own(const struct fs_request *req, struct fs_inode *inode, const struct inotify_event *event,
		   const char *name)
{
	const struct fs_inode *about = subject(req);
	struct statx stx;
	if (inode->share->layer) /* what it has done, it has done there */
		return false;
	if (!*name)
		return inode == about || (req->name[0] && event->mask & (SELF | IN_ATTRIB));
	if (req->name[0] && inode == req->inode && !strcmp(name, req->name[0]))
		return true;
	if (req->name[1] && !strcmp(name, req->name[1])) /* of a rename; in which directory is a short time's luck */
		return true;
	if (!about || !about->share || !(event->mask & CONTENT))
		return false;
	/* by this name, or another one of the same file */
	return (about->parent == inode && !strcmp(name, about->name)) ||
	       (!stat__at(inode__fd(req->session, inode), name, &stx) && inode__is(about, &stx));
}

/* The directory that had this name is to go altogether, which it does not while it is open here. */
static void let_go(struct fs_session *s, const struct fs_inode *dir, const char *name)
{
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct fs_inode *at = s->changes.watched[i]; at; at = at->next_watched)
			if (at->parent == dir && !strcmp(at->name, name)) {
				struct fs_inode *hosts = at->upper ? at->under : at;
				if (hosts && hosts->lru_next)
					fd__close(s, hosts);
			}
}

static void handle(struct fs_session *s, struct fs_inode *inode, const struct inotify_event *event, const char *name)
{
	uint32_t mask = event->mask & (DIRENT | SELF | CONTENT | IN_ISDIR);
	struct statx stx;
	if (inode->upper && (!*name || union__is_changed(s, inode, name)))
		return; /* the guest sees its own there */
	if (*name) {
		if (mask & IN_DELETE && mask & IN_ISDIR)
			let_go(s, inode, name);
		tell(&s->changes, inode, mask, event->cookie, name);
		return;
	}
	int err = mask & IN_ATTRIB && inode->type != S_IFDIR ? inode__stat(s, inode, &stx) : -EINVAL;
	if (err == -ESTALE || (!err && !stx.stx_nlink)) {
		tell(&s->changes, inode, IN_DELETE_SELF, 0, ""); /* while it is open here the host does not say so */
		changes__unwatch(s, inode);
		return;
	}
	if (mask & IN_MOVE_SELF)
		inode->astray = true;
	/* of what is watched by its directory too, that has told */
	if (mask & SELF || inode->astray || !inode->parent || !inode->parent->wd)
		tell(&s->changes, inode, mask, 0, "");
}

/* Each inode of the guest's that is this file. */
static void deliver(struct fs_session *s, const struct inotify_event *event, const struct fs_request *own)
{
	const char *name = event->len ? event->name : "";
	struct fs_inode *next;
	for (struct fs_inode *inode = *bucket(&s->changes, event->wd); inode; inode = next) {
		next = inode->next_watched;
		if (inode->wd != event->wd)
			continue;
		if (event->mask & (IN_IGNORED | IN_UNMOUNT))
			changes__unwatch(s, inode);
		else if (!own || !is_own(own, inode, event, name))
			handle(s, inode, event, name);
	}
}

void changes__read(struct fs_session *s, const struct fs_request *own)
{
	struct fs_changes *changes = &s->changes;
	_Alignas(struct inotify_event) char events[4096];
	ssize_t n;
	if (changes->fd < 0)
		return;
	while ((n = read(changes->fd, events, sizeof(events))) > 0) {
		const struct inotify_event *event;
		for (ssize_t at = 0; at < n; at += (ssize_t)(sizeof(*event) + event->len)) {
			event = (const void *)(events + at);
			if (event->mask & IN_Q_OVERFLOW)
				lose(changes);
			else if (!says_lost(changes))
				deliver(s, event, own);
		}
		if (changes->end > PENDING_MAX)
			lose(changes);
	}
}

/* --- the guest's requests --- */

/* Of a share that the host does not change there is nothing to tell. */
int op__watch(struct fs_request *req)
{
	struct fs_session *s = req->session;
	s->changes.stopped = false;
	if (!req->share || req->share->cache == FS_CACHE_ALWAYS || req->inode->wd)
		return 0;
	int err = begin(&s->changes);
	if (!err)
		err = changes__watch(s, req->inode);
	if ((err == -ENOSPC || err == -EMFILE) && !s->changes.refused) {
		s->changes.refused = true;
		if (s->notice)
			s->notice(s->notice_arg, err, s->changes.count);
	}
	return err;
}

/* Of one node, or with node 0 of all: then no request is left waiting. */
int op__unwatch(struct fs_request *req)
{
	struct fs_session *s = req->session;
	if (!req->header.nodeid) {
		s->changes.stopped = true;
		return 0;
	}
	struct fs_inode *inode = slots__get(&s->inodes, req->header.nodeid);
	if (!inode)
		return -ESTALE;
	changes__unwatch(s, inode);
	return 0;
}

int op__changes(struct fs_request *req)
{
	struct fs_changes *changes = &req->session->changes;
	if (changes->stopped)
		return -ENOTCONN;
	if (changes->waiting)
		return -EBUSY;
	if (req->out_room < FS_CHANGE_MAX)
		return -EINVAL;
	req->out_len = changes__take(changes, req->out, req->out_room);
	changes->waiting = !req->out_len;
	return req->out_len ? 0 : FS_WAIT;
}
