/* Fuzzes the FUSE server of virtio-fs: the input is a list of requests to a share in a fresh directory.
 *
 * A request is: opcode, node, patch, length, then `length` bytes of body. `node` picks one of the node numbers seen so
 * far; `patch` may put a number seen so far at the body's start, where many operations have a handle or a second node.
 * What is no operation of the guest's, HOST_CHANGES, has the host change something, and HOST_LOCKS lock something.
 * What must hold: no reply is longer than its room, all descriptors come back, and what lies beside the share, or is
 * protected in it, is as it was: a file with another name in the share, one in a directory, and one that is not there.
 * Where a layer takes the changes, those are so without protection.
 */
#include <sys/file.h>

#include "share.h"
#include "virtio/fs/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum {
	PATCH_HANDLE = 0x80,
	PATCH_NODE = 0x40,
	HOST_CHANGES = 200,
	HOST_LOCKS = 201,
	REQUESTS = 64, /* of one input */
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	share__set_up();
	return 0;
}

/* Requests that wait for a lock. */
struct waiting {
	struct fs_wait waits[REQUESTS];
	unsigned count;
};

static void end_waiting(struct fs_session *s, struct waiting *waiting)
{
	struct fuse_out_header out;
	struct iovec room = {&out, sizeof(out)};
	struct virtqueue_chain chain = {.writable = &room, .writable_count = 1, .writable_bytes = sizeof(out)};
	unsigned left = 0;
	int error;
	lock__poll(s);
	for (unsigned i = 0; i < waiting->count; i++) {
		const struct fs_wait *wait = &waiting->waits[i];
		if (lock__is_over(wait->waiter, &error)) {
			require(session__end(s, wait->unique, error, &chain) == sizeof(out) && out.error <= 0);
			lock__forget(s, wait->waiter);
		} else {
			waiting->waits[left++] = *wait;
		}
	}
	waiting->count = left;
}

/* The host has one file locked, or none. */
static void host_locks(uint8_t what, int *fd)
{
	char path[80];
	struct flock all = {.l_type = what & 8 ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
	if (*fd >= 0)
		close(*fd);
	path_of(path, sizeof(path), (const char[]){(char)('a' + what % 4), 0});
	*fd = what & 4 ? -1 : open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (*fd >= 0)
		(void)!(what & 16 ? flock(*fd, LOCK_EX | LOCK_NB) : fcntl(*fd, F_OFD_SETLK, &all));
}

/* Send a request in two buffers and check its reply; what it tells of numbers is noted. */
static void send(struct fs_session *s, const struct fuse_in_header *head, const uint8_t *body, size_t room,
		 struct seen *nodes, struct seen *handles, struct waiting *waiting)
{
	size_t len = head->len - sizeof(*head), half = room / 2;
	uint8_t *first = malloc(sizeof(*head)), *second = malloc(len + 1),
		*out[2] = {malloc(half + 1), malloc(room + 1)};
	struct iovec readable[2] = {{first, sizeof(*head)}, {second, len}};
	struct iovec writable[2] = {{out[0], half}, {out[1], room - half}};
	struct virtqueue_chain chain = {
		.readable = readable,
		.readable_count = len ? 2 : 1,
		.writable = writable,
		.writable_count = room ? 2 : 0,
		.readable_bytes = head->len,
		.writable_bytes = room,
	};
	struct {
		struct fuse_out_header head;
		uint8_t payload[144];
	} reply;
	memcpy(first, head, sizeof(*head));
	memcpy(second, body, len);
	struct fs_wait wait;
	uint32_t written = session__handle(s, &chain, &wait);
	if (written == FS_WAITS && wait.waiter) {
		waiting->waits[waiting->count++] = wait;
		written = 0;
	}
	if (written == FS_WAITS)
		written = session__has_changes(s) ? session__tell_changes(s, wait.unique, &chain) : 0;
	require(written <= room);
	if (written) {
		size_t got = iov__read(writable, 2, 0, &reply, written < sizeof(reply) ? written : sizeof(reply));
		require(written >= sizeof(reply.head) && reply.head.len == written && reply.head.error <= 0);
		require(reply.head.unique == head->unique && (!reply.head.error || written == sizeof(reply.head)));
		see_reply(reply.payload, got - sizeof(reply.head), nodes, handles);
	}
	free(first);
	free(second);
	free(out[0]);
	free(out[1]);
}

static void run(struct fs_session *s, const uint8_t *data, size_t len)
{
	struct seen nodes = {0}, handles = {0};
	struct waiting waiting = {.count = 0};
	int locked = -1;
	struct fuse_init_in init = {.major = 7, .minor = 38, .flags = UINT32_MAX};
	struct fuse_in_header head = {.len = sizeof(head) + sizeof(init), .opcode = FUSE_INIT, .unique = 1};
	send(s, &head, (const uint8_t *)&init, 4096, &nodes, &handles, &waiting);
	see(&nodes, FUSE_ROOT_ID);
	for (unsigned i = 0; i < REQUESTS && len >= 4; i++) {
		uint8_t op = data[0], node = data[1], patch = data[2], body[256];
		size_t n = data[3] < len - 4 ? data[3] : len - 4;
		memcpy(body, data + 4, n);
		data += 4 + n;
		len -= 4 + n;
		uint64_t number = pick(patch & PATCH_HANDLE ? &handles : &nodes, patch & 0x3f);
		if (patch & (PATCH_HANDLE | PATCH_NODE) && n >= sizeof(number))
			memcpy(body, &number, sizeof(number));
		if (op == HOST_CHANGES)
			host_changes(node);
		if (op == HOST_LOCKS)
			host_locks(node, &locked);
		if (!quicken(op, body, n))
			continue;
		head = (struct fuse_in_header){
			.len = (uint32_t)(sizeof(head) + n),
			.opcode = op,
			.unique = i,
			.nodeid = node == 0xff ? UINT64_MAX : pick(&nodes, node),
			.uid = node >> 6,
			.gid = node >> 6,
		};
		send(s, &head, body, patch & 0x20 ? patch & 0x1f : 4096, &nodes, &handles, &waiting);
		end_waiting(s, &waiting);
	}
	if (locked >= 0)
		close(locked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fs_session *s;
	if (len < 5)
		return 0;
	bool layered = data[0] & 0x20;
	struct fs_root root = {
		.name = "0",
		.fd = open(share, O_PATH | O_DIRECTORY | O_CLOEXEC),
		.read_only = data[0] & 0x80,
		.host_locks = !layered && data[0] & 0x10,
		.layered = layered,
		.layer = layered ? share__layer() : -1,
		.protect = {protected, layered ? 0 : 3},
		.cache = data[0] % 3,
		.ownership = (data[0] >> 2) % 3,
	};
	struct fs_options options = {.tag = "t", .single = data[0] & 0x40, .roots = {&root, 1}};
	int before = dup(0);
	close(before);
	share__plant();
	require(root.fd >= 0 && !session__new(&options, &s));
	run(s, data + 1, len - 1);
	session__free(s);
	share__check();
	int after = dup(0);
	close(after);
	require(after == root.fd); /* the lowest free number is the one the root had */
	require(before > after);
	return 0;
}
