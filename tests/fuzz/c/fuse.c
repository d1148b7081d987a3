/* Fuzzes the FUSE server of virtio-fs: the input is a list of requests to a share in a fresh directory.
 *
 * A request is: opcode, node, patch, length, then `length` bytes of body. `node` picks one of the node numbers seen so
 * far; `patch` may put a number seen so far at the body's start, where many operations have a handle or a second node.
 * What is no operation of the guest's, HOST_CHANGES, has the host change something.
 * What must hold: no reply is longer than its room, all descriptors come back, and what lies beside the share is as it
 * was.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "input.h"
#include "virtio/fs/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum {
	PATCH_HANDLE = 0x80,
	PATCH_NODE = 0x40,
	HOST_CHANGES = 200,
	SEEN = 32,
	REQUESTS = 64,      /* of one input */
	FILE_MAX = 1 << 20, /* bytes a file of the share may have */
};

static char top[] = "fuse-XXXXXX", secret[64], share[64];
static int home; /* the working directory, from which a session that watches goes away */
static const char words[] = "not to be changed";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	require(!S_ISBLK(st->st_mode) && (!S_ISCHR(st->st_mode) || !st->st_rdev)); /* whiteouts alone */
	if (type == FTW_DNR || type == FTW_DP)
		chmod(path, 0700);
	return at->level == 0 ? 0 : type == FTW_DP || type == FTW_DNR ? rmdir(path) : unlink(path);
}

static void empty(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void clean_up(void)
{
	empty(top);
	rmdir(top);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct rlimit limit = {.rlim_cur = FILE_MAX, .rlim_max = RLIM_INFINITY};
	(void)argc;
	(void)argv;
	home = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	require(home >= 0 && mkdtemp(top) != NULL);
	atexit(clean_up);
	snprintf(secret, sizeof(secret), "%s/secret", top);
	snprintf(share, sizeof(share), "%s/share", top);
	FILE *f = fopen(secret, "w");
	require(f && fputs(words, f) >= 0 && !fclose(f) && !mkdir(share, 0700));
	sigset_t too_large; /* blocked, not ignored: libFuzzer sets handlers of its own */
	sigemptyset(&too_large);
	sigaddset(&too_large, SIGXFSZ);
	require(!sigprocmask(SIG_BLOCK, &too_large, NULL));
	require(!setrlimit(RLIMIT_FSIZE, &limit));
	return 0;
}

struct seen {
	uint64_t numbers[SEEN];
	unsigned count;
};

static void see(struct seen *seen, uint64_t number)
{
	seen->numbers[seen->count++ % SEEN] = number;
}

static uint64_t pick(const struct seen *seen, uint8_t which)
{
	unsigned count = seen->count < SEEN ? seen->count : SEEN;
	return count ? seen->numbers[which % count] : which;
}

/* Send a request in two buffers and check its reply; what it tells of numbers is noted. */
static void send(struct fs_session *s, const struct fuse_in_header *head, const uint8_t *body, size_t room,
		 struct seen *nodes, struct seen *handles)
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
	if (written == FS_WAITS)
		written = session__has_changes(s) ? session__tell_changes(s, wait.unique, &chain) : 0;
	require(written <= room);
	if (written) {
		size_t got = iov__read(writable, 2, 0, &reply, written < sizeof(reply) ? written : sizeof(reply));
		require(written >= sizeof(reply.head) && reply.head.len == written && reply.head.error <= 0);
		require(reply.head.unique == head->unique && (!reply.head.error || written == sizeof(reply.head)));
		uint64_t number;
		memcpy(&number, reply.payload, sizeof(number));
		bool entry = got >= sizeof(reply.head) + sizeof(struct fuse_entry_out);
		if (got >= sizeof(reply.head) + sizeof(number))
			see(entry ? nodes : handles, number);
		if (got == sizeof(reply)) { /* an entry and a handle */
			memcpy(&number, reply.payload + sizeof(struct fuse_entry_out), sizeof(number));
			see(handles, number);
		}
	}
	free(first);
	free(second);
	free(out[0]);
	free(out[1]);
}

static void host_changes(uint8_t what)
{
	char path[80], other[80];
	require(!fchdir(home));
	snprintf(path, sizeof(path), "%s/%c", share, 'a' + what % 4);
	snprintf(other, sizeof(other), "%s/%c", share, 'a' + (what >> 2) % 4);
	switch (what >> 4 & 3) {
	case 0:
		(void)!mkdir(path, 0700);
		break;
	case 1:
		(void)!remove(path);
		break;
	case 2:
		(void)!rename(path, other);
		break;
	default:
		close(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
	}
}

static void run(struct fs_session *s, const uint8_t *data, size_t len)
{
	struct seen nodes = {0}, handles = {0};
	struct fuse_init_in init = {.major = 7, .minor = 38, .flags = UINT32_MAX};
	struct fuse_in_header head = {.len = sizeof(head) + sizeof(init), .opcode = FUSE_INIT, .unique = 1};
	send(s, &head, (const uint8_t *)&init, 4096, &nodes, &handles);
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
		if (op == FUSE_SYNCFS || op == FUSE_FSYNC || op == FUSE_FSYNCDIR) /* slow, and nothing to find */
			continue;
		if ((op == FUSE_OPEN || op == FUSE_CREATE || op == FUSE_TMPFILE) && n >= 4) { /* O_SYNC: slow, too */
			body[1] &= (uint8_t)~0x10;
			body[2] &= (uint8_t)~0x10;
		}
		if (op == FUSE_FALLOCATE && n >= sizeof(struct fuse_fallocate_in)) {
			struct fuse_fallocate_in in; /* blocks past the end are not bounded by the limit of sizes */
			memcpy(&in, body, sizeof(in));
			in.offset %= FILE_MAX;
			in.length %= FILE_MAX;
			memcpy(body, &in, sizeof(in));
		}
		head = (struct fuse_in_header){
			.len = (uint32_t)(sizeof(head) + n),
			.opcode = op,
			.unique = i,
			.nodeid = node == 0xff ? UINT64_MAX : pick(&nodes, node),
			.uid = node >> 6,
			.gid = node >> 6,
		};
		send(s, &head, body, patch & 0x20 ? patch & 0x1f : 4096, &nodes, &handles);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char text[64] = {0};
	struct fs_session *s;
	if (len < 5)
		return 0;
	struct fs_root root = {
		.name = "0",
		.fd = open(share, O_PATH | O_DIRECTORY | O_CLOEXEC),
		.read_only = data[0] & 0x80,
		.whiteouts = data[0] & 0x20,
		.cache = data[0] % 3,
		.ownership = (data[0] >> 2) % 3,
	};
	struct fs_options options = {.tag = "t", .single = data[0] & 0x40, .roots = &root, .root_count = 1};
	int before = dup(0);
	close(before);
	require(root.fd >= 0 && !session__new(&options, &s));
	run(s, data + 1, len - 1);
	session__free(s);
	require(!fchdir(home));
	int after = dup(0);
	close(after);
	require(after == root.fd); /* the lowest free number is the one the root had */

	FILE *f = fopen(secret, "r");
	require(f && fread(text, 1, sizeof(text), f) == sizeof(words) - 1 && !strcmp(text, words));
	fclose(f);
	empty(share);
	chmod(share, 0700);
	require(before > after);
	return 0;
}
