/* Fuzzes the seam of vhost-user and virtio-fs: a front end that does as it likes with rings and memory, a guest whose
 * requests lie in them, and a host that changes the share meanwhile.
 *
 * The input is a list of steps, each a byte that says which, and what it takes. The front end has started the device,
 * and the guest its session, before the first. After each step the device does all that there is to do. What must hold:
 * memory that the front end has taken back, or stopped the rings of, is not touched (what is unmapped is told by ASan),
 * all descriptors come back, and what lies beside the share is as it was.
 */
#include "engine/qemu/vhost_user.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "../../unit/c/front_end.h"
#include "engine/qemu/vhost_user_protocol.h"
#include "share.h"
#include "virtio/fs.h"

#define MEMORY (256U << 10)
#define GPA 0x100000U
#define USER 0x100000000ULL
#define RING(i) ((i)*0x4000U) /* in memory: descriptors, and behind them what the driver and the device write */
#define AVAIL 0x1000U
#define USED 0x2000U
#define ENTRIES 64U
#define SLOT(i) (0x10000U + (i) % 32 * 0x1000U) /* of requests: the request, and at REPLY room for its reply */
#define REPLY 0x800U

enum { WATCH = 120, UNWATCH = 121, CHANGES = 122 };

enum step {
	REQUEST,  /* opcode, node, patch, length, body; as tests/fuzz/c/fuse.c has it */
	HOST,     /* what */
	STOP,     /* ring */
	START,    /* ring, base */
	ENABLE,   /* ring and on */
	MEMORY_,  /* which table */
	SCRIBBLE, /* place (2), length, bytes */
	STOPPED,  /* what: all rings are stopped, then the host changes that */
	MESSAGE,  /* request, flags, length, payload; as tests/fuzz/c/vhost_user.c has it */
	STEPS,
	STEPS_MAX = 48, /* of one input */
};

struct front {
	struct loop *loop;
	struct virtio_device *dev;
	struct vhost_user *back;
	int fd, memfd[2]; /* two memories, of which a table may have either */
	uint8_t *memory;  /* of the one that the table has */
	int kick[2], call[2];
	uint16_t avail[2];
	unsigned requests;
	struct seen nodes, handles;
	bool broken;

	struct input in;
	unsigned steps, rounds;       /* done; of the loop, until the device has done all that there is to do */
	void (*then)(struct front *); /* the rest of a step, after that */
	uint8_t what;
	uint64_t asked; /* the request of the step under way */
	const uint8_t *reply;
	uint8_t before[MEMORY];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* The device's syncs are the host's, and slow. */
int syncfs(int fd)
{
	require(fd >= 0);
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	share__set_up();
	return 0;
}

static void on_broken(void *arg, const struct failure *why)
{
	require(why->message[0] != 0);
	((struct front *)arg)->broken = true;
}

static void say(struct front *f, uint32_t request, const void *payload, uint32_t size)
{
	const struct vhost_user_header header = {request, VHOST_USER_VERSION, size};
	(void)!front_end__send(f->fd, &header, payload, size, NULL, 0, MSG_DONTWAIT);
}

static void say_vring(struct front *f, uint32_t request, uint32_t index, uint32_t num)
{
	const struct vhost_user_vring v = {index, num};
	say(f, request, &v, sizeof(v));
}

static void say_fd(struct front *f, uint32_t request, uint64_t index, int fd)
{
	const struct vhost_user_header header = {request, VHOST_USER_VERSION, sizeof(index)};
	(void)!front_end__send(f->fd, &header, &index, sizeof(index), &fd, 1, MSG_DONTWAIT);
}

/* One region, its two halves the other way round, the other memory, or none. */
static void set_memory(struct front *f, uint8_t which)
{
	const uint32_t half = MEMORY / 2;
	bool two = which & 2, none = which & 4;
	struct vhost_user_memory m = {.count = none ? 0 : two ? 2 : 1};
	m.regions[0] = (struct vhost_user_region){.gpa = GPA, .size = two ? half : MEMORY, .user = USER};
	m.regions[1] = (struct vhost_user_region){
		.gpa = GPA + half, .size = half, .user = USER + half, .mmap_offset = which & 8 ? 0 : half};
	const uint32_t size = 8 + m.count * (uint32_t)sizeof(m.regions[0]);
	const struct vhost_user_header header = {VHOST_USER_SET_MEM_TABLE, VHOST_USER_VERSION, size};
	const int fds[] = {f->memfd[which & 1], f->memfd[which & 1]};
	(void)!front_end__send(f->fd, &header, &m, size, fds, m.count, MSG_DONTWAIT);
	munmap(f->memory, MEMORY);
	f->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, f->memfd[which & 1], 0);
	require(f->memory != MAP_FAILED);
}

static void start_ring(struct front *f, unsigned i, uint16_t base)
{
	uint64_t at = USER + RING(i);
	const struct vhost_user_vring_addr addr = {.index = i, .desc = at, .avail = at + AVAIL, .used = at + USED};
	say_vring(f, VHOST_USER_SET_VRING_NUM, i, ENTRIES);
	say_vring(f, VHOST_USER_SET_VRING_BASE, i, base);
	say(f, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr));
	say_fd(f, VHOST_USER_SET_VRING_KICK, i, f->kick[i]);
	say_fd(f, VHOST_USER_SET_VRING_CALL, i, f->call[i]);
}

/* In two buffers that follow one another in memory, of a chain of two descriptors. */
static void submit(struct front *f, const struct fuse_in_header *head, const void *body, size_t n, uint32_t room)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} desc[2];
	uint8_t *ring = f->memory + RING(1), *slot = f->memory + SLOT(f->requests);
	uint16_t first = (uint16_t)(f->requests % (ENTRIES / 2) * 2);
	memcpy(slot, head, sizeof(*head));
	memcpy(slot + sizeof(*head), body, n);
	memset(slot + REPLY, 0, 256);
	desc[0].addr = GPA + SLOT(f->requests);
	desc[0].len = (uint32_t)(sizeof(*head) + n);
	desc[0].flags = room ? 1 : 0;
	desc[0].next = (uint16_t)(first + 1);
	desc[1].addr = GPA + SLOT(f->requests) + REPLY;
	desc[1].len = room;
	desc[1].flags = 2;
	desc[1].next = 0;
	memcpy(ring + first * sizeof(desc[0]), desc, sizeof(desc));
	memcpy(ring + AVAIL + 4 + f->avail[1] % ENTRIES * 2, &first, sizeof(first));
	f->avail[1]++;
	memcpy(ring + AVAIL + 2, &f->avail[1], sizeof(f->avail[1]));
	f->requests++;
	(void)!eventfd_write(f->kick[1], 1);
}

static void see_answer(struct front *f)
{
	struct fuse_out_header out;
	memcpy(&out, f->reply, sizeof(out));
	if (!out.error && out.unique == f->asked && out.len > sizeof(out) && out.len <= 1024)
		see_reply(f->reply + sizeof(out), out.len - sizeof(out), &f->nodes, &f->handles);
}

static void request(struct front *f, uint8_t op, uint8_t node, uint8_t patch, uint8_t *body, size_t n)
{
	uint64_t number = pick(patch & 0x80 ? &f->handles : &f->nodes, patch & 0x3f);
	if (patch & 0xc0 && n >= sizeof(number))
		memcpy(body, &number, sizeof(number));
	if (op != FUSE_SYNCFS && !quicken(op, body, n))
		return;
	const struct fuse_in_header head = {
		.len = (uint32_t)(sizeof(head) + n),
		.opcode = op,
		.unique = f->requests,
		.nodeid = node == 0xff ? UINT64_MAX : pick(&f->nodes, node),
		.uid = node >> 6,
		.gid = node >> 6,
	};
	f->reply = f->memory + SLOT(f->requests) + REPLY;
	f->asked = head.unique;
	f->then = see_answer;
	submit(f, &head, body, n, patch & 0x20 ? patch & 0x1f : 1024);
}

static void compare(struct front *f)
{
	require(!memcmp(f->before, f->memory, MEMORY));
}

static void change_meanwhile(struct front *f)
{
	memcpy(f->before, f->memory, MEMORY);
	host_changes(f->what);
	f->then = compare;
}

/* While no ring runs, what the host changes is nothing that guest memory shows. */
static void stop_all(struct front *f, uint8_t what)
{
	for (uint32_t i = 0; i < 2; i++)
		say_vring(f, VHOST_USER_GET_VRING_BASE, i, 0);
	f->what = what;
	f->then = change_meanwhile;
}

static void message(struct front *f, struct input *in)
{
	uint8_t what = next8(in), flags = next8(in);
	size_t len;
	uint8_t *payload = next_frame(in, &len);
	int fds[16];
	unsigned count = flags >> 4;
	if (len > 4096)
		len = 4096;
	for (unsigned i = 0; i < count; i++)
		fds[i] = flags & 4 ? f->memfd[i & 1] : f->kick[i & 1];
	struct vhost_user_header header = {what & 31, VHOST_USER_VERSION | (flags & VHOST_USER_NEED_REPLY),
					   (uint32_t)len};
	(void)!front_end__send(f->fd, &header, payload, len, fds, count, MSG_DONTWAIT);
	free(payload);
}

static void step(struct front *f, struct input *in)
{
	uint8_t kind = next8(in), a = next8(in), body[256];
	switch ((enum step)(kind % STEPS)) {
	case REQUEST: {
		uint8_t node = next8(in), patch = next8(in);
		size_t n = next8(in), have = n < in->len ? n : in->len;
		memset(body, 0, sizeof(body));
		for (size_t i = 0; i < have; i++)
			body[i] = next8(in);
		request(f, a, node, patch, body, n);
		break;
	}
	case HOST:
		host_changes(a);
		break;
	case STOP:
		say_vring(f, VHOST_USER_GET_VRING_BASE, a & 1, 0);
		break;
	case START: {
		uint8_t base = next8(in);
		start_ring(f, a & 1, base == 0xff ? f->avail[a & 1] : base);
		break;
	}
	case ENABLE:
		say_vring(f, VHOST_USER_SET_VRING_ENABLE, a & 1, a >> 1 & 1);
		break;
	case MEMORY_:
		set_memory(f, a);
		break;
	case SCRIBBLE: {
		uint32_t at = ((uint32_t)a << 10 | (uint32_t)next8(in) << 2) % MEMORY;
		for (unsigned n = next8(in) & 31; n && in->len; n--)
			f->memory[at++ % MEMORY] = next8(in);
		(void)!eventfd_write(f->kick[a & 1], 1);
		break;
	}
	case STOPPED:
		stop_all(f, a);
		break;
	case MESSAGE:
		message(f, in);
		break;
	case STEPS:
	case STEPS_MAX:
		break;
	}
}

static void start_session(struct front *f)
{
	const struct fuse_init_in init = {.major = 7, .minor = 38, .flags = UINT32_MAX};
	const struct fuse_in_header head = {.len = sizeof(head) + sizeof(init), .opcode = FUSE_INIT};
	submit(f, &head, &init, sizeof(init), 1024);
	see(&f->nodes, FUSE_ROOT_ID);
}

static void begin(struct front *f)
{
	uint64_t features = VHOST_USER_F_PROTOCOL_FEATURES | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_INDIRECT_DESC;
	say(f, VHOST_USER_SET_FEATURES, &features, sizeof(features));
	set_memory(f, 0);
	for (unsigned i = 0; i < 2; i++)
		start_ring(f, i, 0);
	for (uint32_t i = 0; i < 2; i++)
		say_vring(f, VHOST_USER_SET_VRING_ENABLE, i, 1);
	f->then = start_session;
}

/* The next step, or the rest of one, once the device has done all that there is to do. */
static void turn(void *arg)
{
	struct front *f = arg;
	uint8_t answer[512];
	void (*then)(struct front *) = f->then;
	if (f->rounds++ < 3) {
		require(loop__post(f->loop, turn, f) == 0);
		return;
	}
	while (recv(f->fd, answer, sizeof(answer), MSG_DONTWAIT) > 0)
		;
	f->rounds = 0;
	f->then = NULL;
	if (then)
		then(f);
	else if (f->steps++ < STEPS_MAX && f->in.len && !f->broken)
		step(f, &f->in);
	else
		loop__stop(f->loop);
	(void)!loop__post(f->loop, turn, f); /* refused once it is stopped */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct front f;
	int pair[2], before = dup(0);
	close(before);
	if (len < 2)
		return 0;
	memset(&f, 0, offsetof(struct front, before));
	f.in = (struct input){data, len};
	uint8_t how = next8(&f.in);
	struct fs_root root = {
		.name = "0",
		.fd = open(share, O_PATH | O_DIRECTORY | O_CLOEXEC),
		.host_locks = how & 0x20,
		.cache = how % 3,
		.ownership = (how >> 2) % 3,
	};
	struct fs_options fs = {.tag = "t", .single = !(how & 0x40), .roots = {&root, 1}};
	require(root.fd >= 0 && virtio_fs__new(&fs, &f.dev) == 0 && loop__new(&f.loop) == 0);
	f.dev->loop = f.loop;
	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	f.fd = pair[0];
	for (unsigned i = 0; i < 2; i++) {
		f.memfd[i] = memfd_create("fuzz", MFD_CLOEXEC);
		f.kick[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		f.call[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		require(f.memfd[i] >= 0 && ftruncate(f.memfd[i], MEMORY) == 0 && f.kick[i] >= 0 && f.call[i] >= 0);
	}
	f.memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, f.memfd[0], 0);
	struct vhost_user_options options = {.fd = pair[1], .config = true, .broken = on_broken, .arg = &f};
	require(vhost_user__new(f.dev, &options, &f.back) == 0);
	begin(&f);
	require(loop__post(f.loop, turn, &f) == 0);
	require(loop__run(f.loop) == 0);
	vhost_user__free(f.back);
	f.dev->ops->destroy(f.dev);
	loop__free(f.loop);
	munmap(f.memory, MEMORY);
	close(f.fd);
	for (unsigned i = 0; i < 2; i++) {
		close(f.memfd[i]);
		close(f.kick[i]);
		close(f.call[i]);
	}
	share__check();
	int after = dup(0);
	close(after);
	require(after == before);
	return 0;
}
