/* A guest's FUSE client, for tests of virtio-fs: a device over a fresh host directory, and requests through its queues.
 *
 *	struct fs_root root = {.name = "0"};
 *	guest__start(&root, 1, true);       shares `guest.host`, a new directory (one below it per root, when many)
 *	uint64_t node = guest__lookup(FUSE_ROOT_ID, "file");
 *	CHECK_EQ(guest__op(FUSE_UNLINK, FUSE_ROOT_ID, NULL, 0, "file", NULL), 0);
 *	guest__stop();
 */
#ifndef CAPSA_TESTS_FS_GUEST_H
#define CAPSA_TESTS_FS_GUEST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "driver.h"
#include "virtio/fs.h"

#define GUEST_BUFFER ((1U << 20) + 4096)

static struct {
	struct driver d;
	struct driver_queue urgent, requests;
	struct driver_device dd;
	uint64_t request_gpa, reply_gpa, unique;
	uint32_t uid, gid; /* of the process that asks */
	char host[64];     /* what is shared */
	char top[64];      /* the temporary directory that holds it */
	char layer[80];    /* and what takes the changes of a root that is `layered` */
	size_t reply_len;  /* bytes of payload in the last reply */
	struct fuse_init_out init;
} guest;

/* Path below the shared directory, in one of a few static buffers. */
CHECK__UNUSED __attribute__((format(printf, 1, 2))) static const char *host(const char *format, ...)
{
	static char paths[4][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % 4];
	int n = snprintf(path, PATH_MAX, "%s/", guest.host);
	va_list args;
	va_start(args, format);
	vsnprintf(path + n, (size_t)(PATH_MAX - n), format, args);
	va_end(args);
	return path;
}

CHECK__UNUSED static void host__write(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");
	CHECK(f != NULL);
	CHECK(fputs(text, f) >= 0);
	CHECK_EQ(fclose(f), 0);
}

/* The file's text, in a static buffer; NULL when it cannot be read. */
CHECK__UNUSED static const char *host__read(const char *path)
{
	static char text[4096];
	FILE *f = fopen(path, "r");
	if (!f)
		return NULL;
	text[fread(text, 1, sizeof(text) - 1, f)] = 0;
	fclose(f);
	return text;
}

CHECK__UNUSED static struct stat host__stat(const char *path)
{
	struct stat st;
	CHECK_EQ(lstat(path, &st), 0);
	return st;
}

/* Payload of the last reply. */
CHECK__UNUSED static void *guest__reply(void)
{
	return (uint8_t *)driver__at(&guest.d, guest.reply_gpa) + sizeof(struct fuse_out_header);
}

/* Send `len` bytes that lie at request_gpa to a queue and wait for the answer: the bytes used. */
CHECK__UNUSED static uint32_t guest__send(struct driver_queue *q, unsigned index, uint32_t len, uint32_t room)
{
	struct driver_buf bufs[2] = {{guest.request_gpa, len}, {guest.reply_gpa, room}};
	uint32_t used = 0;
	CHECK(driver_queue__add(q, bufs, 1, room ? 1 : 0) >= 0);
	driver_device__kick(&guest.dd, index);
	CHECK(driver_queue__wait(q, &used, 5000) >= 0);
	return used;
}

/* One request of header and body (already at request_gpa + 40) with room for `room` bytes of payload: 0 or -errno. */
CHECK__UNUSED static int guest__request(uint32_t opcode, uint64_t node, size_t body_len, uint32_t room)
{
	struct fuse_in_header *in = driver__at(&guest.d, guest.request_gpa);
	struct fuse_out_header *out = driver__at(&guest.d, guest.reply_gpa);
	*in = (struct fuse_in_header){
		.len = (uint32_t)(sizeof(*in) + body_len),
		.opcode = opcode,
		.unique = ++guest.unique,
		.nodeid = node,
		.uid = guest.uid,
		.gid = guest.gid,
	};
	memset(out, 0xee, sizeof(*out));
	uint32_t used = guest__send(&guest.requests, 1, in->len, room + (uint32_t)sizeof(*out));
	CHECK(used >= sizeof(*out));
	CHECK_EQ(out->len, used);
	CHECK_EQ(out->unique, guest.unique);
	CHECK(out->error <= 0 && out->error > -512);
	guest.reply_len = used - sizeof(*out);
	if (out->error)
		CHECK_EQ(guest.reply_len, 0);
	return out->error;
}

/* The usual request: a fixed part, then names. */
CHECK__UNUSED static int guest__op(uint32_t opcode, uint64_t node, const void *in, size_t in_len, const char *name,
				   const char *name2)
{
	uint8_t *body = (uint8_t *)driver__at(&guest.d, guest.request_gpa) + sizeof(struct fuse_in_header);
	size_t len = in_len;
	if (in_len)
		memcpy(body, in, in_len);
	if (name) {
		memcpy(body + len, name, strlen(name) + 1);
		len += strlen(name) + 1;
	}
	if (name2) {
		memcpy(body + len, name2, strlen(name2) + 1);
		len += strlen(name2) + 1;
	}
	return guest__request(opcode, node, len, 65536);
}

CHECK__UNUSED static int guest__init(void)
{
	struct fuse_init_in in = {
		.major = 7, .minor = 41, .max_readahead = 131072, .flags = 0x7bfffffb & ~(uint32_t)FUSE_POSIX_ACL};
	int err = guest__op(FUSE_INIT, 0, &in, sizeof(in), NULL, NULL);
	if (!err)
		memcpy(&guest.init, guest__reply(), sizeof(guest.init));
	return err;
}

/* Of the devices that are started from then on. */
static fs_notice_fn guest__notice;
static uint64_t guest__memory;
static void (*guest__prepare)(void); /* or NULL: of the host's files, before the device is made */

/* A root that is to be a file, with its name in it, not a directory: what its `fd` says before. */
enum { GUEST_FILE = -1 };

/* The layer of the one root that has one; its user attributes need a file system that has some. */
CHECK__UNUSED static int guest__make_layer(void)
{
	char path[100];
	snprintf(guest.layer, sizeof(guest.layer), "%s/layer", guest.top);
	CHECK_EQ(mkdir(guest.layer, 0700), 0);
	snprintf(path, sizeof(path), "%s/upper", guest.layer);
	CHECK_EQ(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/work", guest.layer);
	CHECK_EQ(mkdir(path, 0700), 0);
	return open(guest.layer, O_PATH | O_CLOEXEC);
}

/* Path below its upper directory, in one of a few static buffers. */
CHECK__UNUSED __attribute__((format(printf, 1, 2))) static const char *layer(const char *format, ...)
{
	static char paths[4][PATH_MAX];
	static unsigned next;
	char *path = paths[next++ % 4];
	int n = snprintf(path, PATH_MAX, "%s/upper/", guest.layer);
	va_list args;
	va_start(args, format);
	vsnprintf(path + n, (size_t)(PATH_MAX - n), format, args);
	va_end(args);
	return path;
}

/* Roots get their descriptors here; with `single` the one is guest.host, else host/<name> each. */
CHECK__UNUSED static void guest__start(struct fs_root *roots, unsigned count, bool single)
{
	struct virtio_device *dev;
	memset(&guest, 0, sizeof(guest));
	snprintf(guest.top, sizeof(guest.top), "%s/capsa-fs-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	CHECK(mkdtemp(guest.top) != NULL);
	snprintf(guest.host, sizeof(guest.host), "%.50s/share", guest.top);
	CHECK_EQ(mkdir(guest.host, 0755), 0);
	for (unsigned i = 0; i < count; i++) {
		if (roots[i].fd == GUEST_FILE)
			host__write(host("%s", roots[i].name), roots[i].name);
		else if (!single)
			CHECK_EQ(mkdir(host("%s", roots[i].name), 0755), 0);
		roots[i].fd = open(single ? guest.host : host("%s", roots[i].name), O_PATH | O_CLOEXEC);
		CHECK(roots[i].fd >= 0);
		if (roots[i].layered)
			roots[i].layer = guest__make_layer();
	}
	if (guest__prepare)
		guest__prepare();
	struct fs_options options = {.tag = "capsa",
				     .single = single,
				     .roots = {roots, count},
				     .memory = guest__memory,
				     .notice = guest__notice};
	CHECK_EQ(virtio_fs__new(&options, &dev), 0);
	driver__init(&guest.d, 16 << 20);
	driver_device__start(&guest.dd, dev);
	driver_queue__init(&guest.urgent, &guest.d, &dev->queues[0], 16, 0);
	driver_queue__init(&guest.requests, &guest.d, &dev->queues[1], 128, DRIVER_INDIRECT | DRIVER_EVENT_IDX);
	guest.request_gpa = driver__alloc(&guest.d, GUEST_BUFFER);
	guest.reply_gpa = driver__alloc(&guest.d, GUEST_BUFFER);
	driver_device__activate(&guest.dd);
	CHECK_EQ(guest__init(), 0);
}

CHECK__UNUSED static int guest__unlink_each(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)at;
	return type == FTW_DP ? rmdir(path) : unlink(path);
}

CHECK__UNUSED static void guest__stop(void)
{
	driver_device__stop(&guest.dd);
	driver_queue__free(&guest.urgent);
	driver_queue__free(&guest.requests);
	driver__free(&guest.d);
	CHECK_EQ(nftw(guest.top, guest__unlink_each, 32, FTW_DEPTH | FTW_PHYS), 0);
}

/* --- short forms of the operations; a node is never 0, so 0 is "no such file" --- */

CHECK__UNUSED static const struct fuse_entry_out *guest__entry(void)
{
	return guest__reply();
}

/* The node of a name: 0 when there is none, which is told as node 0 or as ENOENT. */
CHECK__UNUSED static uint64_t guest__lookup(uint64_t dir, const char *name)
{
	int err = guest__op(FUSE_LOOKUP, dir, NULL, 0, name, NULL);
	if (err == -ENOENT)
		return 0;
	CHECK_EQ(err, 0);
	return guest__entry()->nodeid;
}

CHECK__UNUSED static int guest__getattr(uint64_t node, struct fuse_attr *attr)
{
	struct fuse_getattr_in in = {0};
	int err = guest__op(FUSE_GETATTR, node, &in, sizeof(in), NULL, NULL);
	if (!err)
		*attr = ((struct fuse_attr_out *)guest__reply())->attr;
	return err;
}

CHECK__UNUSED static int guest__mkdir(uint64_t dir, const char *name, uint32_t mode)
{
	struct fuse_mkdir_in in = {.mode = mode};
	return guest__op(FUSE_MKDIR, dir, &in, sizeof(in), name, NULL);
}

CHECK__UNUSED static int guest__mknod(uint64_t dir, const char *name, uint32_t mode, uint32_t rdev)
{
	struct fuse_mknod_in in = {.mode = mode, .rdev = rdev};
	return guest__op(FUSE_MKNOD, dir, &in, sizeof(in), name, NULL);
}

CHECK__UNUSED static int guest__symlink(uint64_t dir, const char *name, const char *target)
{
	return guest__op(FUSE_SYMLINK, dir, NULL, 0, name, target);
}

CHECK__UNUSED static int guest__link(uint64_t node, uint64_t dir, const char *name)
{
	struct fuse_link_in in = {.oldnodeid = node};
	return guest__op(FUSE_LINK, dir, &in, sizeof(in), name, NULL);
}

CHECK__UNUSED static int guest__rename(uint64_t dir, const char *name, uint64_t newdir, const char *newname,
				       uint32_t flags)
{
	struct fuse_rename2_in in = {.newdir = newdir, .flags = flags};
	return guest__op(FUSE_RENAME2, dir, &in, sizeof(in), name, newname);
}

CHECK__UNUSED static int guest__create(uint64_t dir, const char *name, uint32_t flags, uint32_t mode, uint64_t *node,
				       uint64_t *fh)
{
	struct fuse_create_in in = {.flags = flags | O_CREAT, .mode = S_IFREG | mode};
	int err = guest__op(FUSE_CREATE, dir, &in, sizeof(in), name, NULL);
	if (!err) {
		*node = guest__entry()->nodeid;
		*fh = ((struct fuse_open_out *)(guest__entry() + 1))->fh;
	}
	return err;
}

CHECK__UNUSED static int guest__open(uint64_t node, uint32_t flags, uint64_t *fh)
{
	struct fuse_open_in in = {.flags = flags};
	int err = guest__op(FUSE_OPEN, node, &in, sizeof(in), NULL, NULL);
	if (!err)
		*fh = ((struct fuse_open_out *)guest__reply())->fh;
	return err;
}

CHECK__UNUSED static int guest__opendir(uint64_t node, uint64_t *fh)
{
	struct fuse_open_in in = {0};
	int err = guest__op(FUSE_OPENDIR, node, &in, sizeof(in), NULL, NULL);
	if (!err)
		*fh = ((struct fuse_open_out *)guest__reply())->fh;
	return err;
}

CHECK__UNUSED static int guest__release(uint64_t node, uint64_t fh, bool directory)
{
	struct fuse_release_in in = {.fh = fh};
	return guest__op(directory ? FUSE_RELEASEDIR : FUSE_RELEASE, node, &in, sizeof(in), NULL, NULL);
}

/* Bytes read (they are at guest__reply()), or -errno. */
CHECK__UNUSED static long guest__read(uint64_t node, uint64_t fh, uint64_t offset, uint32_t size)
{
	struct fuse_read_in in = {.fh = fh, .offset = offset, .size = size};
	memcpy((uint8_t *)driver__at(&guest.d, guest.request_gpa) + sizeof(struct fuse_in_header), &in, sizeof(in));
	int err = guest__request(FUSE_READ, node, sizeof(in), size);
	return err ? err : (long)guest.reply_len;
}

/* Bytes written, or -errno. */
CHECK__UNUSED static long guest__write(uint64_t node, uint64_t fh, uint64_t offset, const void *data, uint32_t size,
				       uint32_t flags)
{
	struct fuse_write_in in = {.fh = fh, .offset = offset, .size = size, .flags = flags};
	uint8_t *body = (uint8_t *)driver__at(&guest.d, guest.request_gpa) + sizeof(struct fuse_in_header);
	memcpy(body, &in, sizeof(in));
	memcpy(body + sizeof(in), data, size);
	int err = guest__request(FUSE_WRITE, node, sizeof(in) + size, sizeof(struct fuse_write_out));
	return err ? err : (long)((struct fuse_write_out *)guest__reply())->size;
}

CHECK__UNUSED static int guest__setattr(uint64_t node, struct fuse_setattr_in in)
{
	return guest__op(FUSE_SETATTR, node, &in, sizeof(in), NULL, NULL);
}

CHECK__UNUSED static int guest__chown(uint64_t node, uint32_t uid, uint32_t gid)
{
	return guest__setattr(node, (struct fuse_setattr_in){.valid = FATTR_UID | FATTR_GID, .uid = uid, .gid = gid});
}

CHECK__UNUSED static int guest__chmod(uint64_t node, uint32_t mode)
{
	return guest__setattr(node, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = mode});
}

CHECK__UNUSED static int guest__truncate(uint64_t node, uint64_t size)
{
	return guest__setattr(node, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = size});
}

CHECK__UNUSED static void guest__forget(uint64_t node, uint64_t count)
{
	struct {
		struct fuse_in_header header;
		struct fuse_forget_in in;
	} *request = driver__at(&guest.d, guest.request_gpa);
	request->header = (struct fuse_in_header){.len = sizeof(*request), .opcode = FUSE_FORGET, .nodeid = node};
	request->in.nlookup = count;
	CHECK_EQ(guest__send(&guest.urgent, 0, sizeof(*request), 0), 0);
}

/* Names and node ids of a directory, in order of the reply; returns how many. */
struct guest_dirent {
	char name[NAME_MAX + 1];
	uint64_t node, ino, offset;
	uint32_t type;
};

CHECK__UNUSED static unsigned guest__list(uint64_t node, bool plus, uint32_t size, struct guest_dirent *to,
					  unsigned max)
{
	uint64_t fh, offset = 0;
	unsigned count = 0;
	CHECK_EQ(guest__opendir(node, &fh), 0);
	for (;;) {
		struct fuse_read_in in = {.fh = fh, .offset = offset, .size = size};
		CHECK_EQ(guest__op(plus ? FUSE_READDIRPLUS : FUSE_READDIR, node, &in, sizeof(in), NULL, NULL), 0);
		CHECK(guest.reply_len <= size);
		if (!guest.reply_len)
			break;
		const uint8_t *at = guest__reply(), *end = at + guest.reply_len;
		while (at < end) {
			CHECK(count < max);
			struct guest_dirent *d = &to[count++];
			const struct fuse_entry_out *entry = plus ? (const void *)at : NULL;
			const struct fuse_dirent *dirent = (const void *)(at + (plus ? sizeof(*entry) : 0));
			*d = (struct guest_dirent){
				.node = entry ? entry->nodeid : 0,
				.ino = dirent->ino,
				.offset = dirent->off,
				.type = dirent->type,
			};
			memcpy(d->name, dirent->name, dirent->namelen);
			offset = dirent->off;
			at += FUSE_DIRENT_ALIGN((plus ? sizeof(*entry) : 0) + sizeof(*dirent) + dirent->namelen);
		}
		CHECK(at == end);
	}
	CHECK_EQ(guest__release(node, fh, true), 0);
	return count;
}

/* Descriptors this process has open. */
CHECK__UNUSED static unsigned count_fds(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");
	CHECK(dir != NULL);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

#endif
