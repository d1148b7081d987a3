/* virtio-fs: what the guest locks is locked on the host, by each owner; who waits holds up nobody. */
#include "fs_guest.h"

#include <stdlib.h>
#include <sys/file.h>

#define ROOT FUSE_ROOT_ID
#define ALL INT64_MAX

enum { QUEUE = 128, WAITING_MAX = QUEUE / 4, OFD = 2, HOST_LOCKS = 1 << 30 };

static uint64_t file, handle;

/* A share whose locks are the host's, with one file, which is open. */
static void start(void)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0", .host_locks = true};
	guest__start(&root, 1, true);
	CHECK(guest.init.flags & FUSE_POSIX_LOCKS && guest.init.flags & FUSE_FLOCK_LOCKS);
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0644, &file, &handle), 0);
}

static struct fuse_lk_in wish(uint64_t fh, uint64_t owner, int type, uint64_t at, uint64_t end, uint32_t flags)
{
	struct fuse_lk_in in = {.fh = fh, .owner = owner, .lk_flags = flags};
	in.lk = (struct fuse_file_lock){.start = at, .end = end, .type = (uint32_t)type, .pid = (uint32_t)owner};
	return in;
}

static int posix(uint64_t fh, uint64_t owner, int type, uint64_t at, uint64_t end)
{
	struct fuse_lk_in in = wish(fh, owner, type, at, end, 0);
	return guest__op(FUSE_SETLK, file, &in, sizeof(in), NULL, NULL);
}

static int whole(uint64_t fh, int type)
{
	struct fuse_lk_in in = wish(fh, fh, type, 0, ALL, FUSE_LK_FLOCK);
	return guest__op(FUSE_SETLK, file, &in, sizeof(in), NULL, NULL);
}

static struct fuse_file_lock getlk(uint64_t fh, uint64_t owner, int type, uint64_t at, uint64_t end)
{
	struct fuse_lk_in in = wish(fh, owner, type, at, end, 0);
	CHECK_EQ(guest__op(FUSE_GETLK, file, &in, sizeof(in), NULL, NULL), 0);
	return ((struct fuse_lk_out *)guest__reply())->lk;
}

static int flush(uint64_t fh, uint64_t owner)
{
	struct fuse_flush_in in = {.fh = fh, .lock_owner = owner};
	return guest__op(FUSE_FLUSH, file, &in, sizeof(in), NULL, NULL);
}

/* --- the host's side: a descriptor of its own each time it is opened --- */

static int host_open(void)
{
	int fd = open(host("f"), O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static int host_lock(int fd, int type, off_t at, off_t len)
{
	struct flock range = {.l_type = (short)type, .l_whence = SEEK_SET, .l_start = at, .l_len = len};
	return fcntl(fd, F_OFD_SETLK, &range) ? -errno : 0;
}

/* What kind of lock others have on that byte. */
static int host_sees(int fd, off_t at)
{
	struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
	CHECK_EQ(fcntl(fd, F_OFD_GETLK, &range), 0);
	return range.l_type;
}

/* --- requests that wait --- */

struct asked {
	uint64_t gpa, unique;
};

static struct asked ask(struct fuse_lk_in in)
{
	struct asked asked = {driver__alloc(&guest.d, 256), 1000000 + ++guest.unique};
	struct fuse_in_header *head = driver__at(&guest.d, asked.gpa);
	struct driver_buf bufs[2] = {{asked.gpa, sizeof(*head) + sizeof(in)}, {asked.gpa + 128, 64}};
	*head = (struct fuse_in_header){
		.len = bufs[0].len, .opcode = FUSE_SETLKW, .unique = asked.unique, .nodeid = file};
	memcpy(head + 1, &in, sizeof(in));
	CHECK(driver_queue__add(&guest.requests, bufs, 1, 1) >= 0);
	driver_device__kick(&guest.dd, 1);
	driver_device__sync(&guest.dd);
	return asked;
}

static void still_waits(void)
{
	uint32_t used;
	driver_device__sync(&guest.dd);
	CHECK_EQ(driver_queue__used(&guest.requests, &used), -1);
}

static int answer(struct asked asked)
{
	const struct fuse_out_header *out = driver__at(&guest.d, asked.gpa + 128);
	uint32_t used = 0;
	CHECK(driver_queue__wait(&guest.requests, &used, 20000) >= 0);
	CHECK_EQ(used, sizeof(*out));
	CHECK(out->unique == asked.unique);
	return out->error;
}

static void interrupt(uint64_t unique)
{
	struct {
		struct fuse_in_header header;
		struct fuse_interrupt_in in;
	} *request = driver__at(&guest.d, guest.request_gpa);
	request->header = (struct fuse_in_header){.len = sizeof(*request), .opcode = FUSE_INTERRUPT};
	request->in.unique = unique;
	CHECK_EQ(guest__send(&guest.urgent, 0, sizeof(*request), 0), 0);
}

/* --- cases --- */

static void guest_and_host_exclude_each_other(void)
{
	start();
	int fd = host_open();
	CHECK_EQ(whole(handle, F_RDLCK), 0);
	CHECK_EQ(flock(fd, LOCK_SH | LOCK_NB), 0);
	CHECK_EQ(whole(handle, F_WRLCK), -EAGAIN); /* and what was shared is lost, as on the host */
	CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
	CHECK_EQ(whole(handle, F_RDLCK), -EAGAIN);
	CHECK_EQ(flock(fd, LOCK_UN), 0);
	CHECK_EQ(whole(handle, F_WRLCK), 0);
	CHECK(flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK);
	CHECK_EQ(whole(handle, F_UNLCK), 0);
	CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
	/* the other kind does not know of it */
	CHECK_EQ(posix(handle, 1, F_WRLCK, 10, 19), 0);
	CHECK_EQ(host_lock(fd, F_RDLCK, 19, 1), -EAGAIN);
	CHECK_EQ(host_lock(fd, F_WRLCK, 0, 10), 0);
	CHECK_EQ(posix(handle, 1, F_RDLCK, 9, 9), -EAGAIN);
	CHECK_EQ(posix(handle, 1, F_UNLCK, 15, ALL), 0);
	CHECK_EQ(host_sees(fd, 14), F_WRLCK);
	CHECK_EQ(host_sees(fd, 15), F_UNLCK);
	CHECK_EQ(posix(handle, 1, F_RDLCK, 10, ALL), 0);
	CHECK_EQ(host_lock(fd, F_RDLCK, 0, 0), 0);
	CHECK_EQ(posix(handle, 1, F_WRLCK, 30, 30), -EAGAIN);
	/* of the process, too, on the host: the kinds of fcntl are one */
	struct flock process = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 12, .l_len = 1};
	CHECK(fcntl(fd, F_SETLK, &process) && errno == EAGAIN);
	close(fd);
	guest__stop();
}

static void each_owner_has_its_own(void)
{
	uint64_t second, reading;
	start();
	CHECK_EQ(guest__open(file, O_RDWR, &second), 0);
	CHECK_EQ(guest__open(file, O_RDONLY, &reading), 0);
	unsigned before = count_fds();
	CHECK_EQ(posix(handle, 1, F_WRLCK, 0, 9), 0);
	CHECK_EQ(posix(handle, 2, F_WRLCK, 9, 9), -EAGAIN); /* as a child that has the same open file */
	CHECK_EQ(posix(handle, 2, F_WRLCK, 10, 19), 0);
	CHECK_EQ(posix(second, 1, F_WRLCK, 5, 9), 0); /* the process's, by whichever handle */
	CHECK_EQ(posix(second, 3, F_RDLCK, 19, 19), -EAGAIN);
	struct fuse_file_lock lock = getlk(second, 3, F_RDLCK, 12, ALL);
	CHECK(lock.type == F_WRLCK && lock.pid == 2 && lock.start == 10 && lock.end == 19);
	CHECK_EQ(getlk(second, 3, F_WRLCK, 20, ALL).type, F_UNLCK);
	int fd = host_open();
	CHECK_EQ(host_lock(fd, F_RDLCK, 100, 0), 0);
	lock = getlk(second, 3, F_WRLCK, 20, 200);
	CHECK(lock.type == F_RDLCK && !lock.pid && lock.start == 100 && lock.end == ALL);
	CHECK_EQ(getlk(handle, 1, F_WRLCK, 0, 9).type, F_UNLCK);
	CHECK_EQ(flush(second, 2), 0); /* one of the two closes */
	CHECK_EQ(host_sees(fd, 10), F_UNLCK);
	CHECK_EQ(host_sees(fd, 9), F_WRLCK);
	/* what it shares by a handle for reading it may want alone by another: it is never without meanwhile */
	CHECK_EQ(flush(handle, 1), 0);
	CHECK_EQ(posix(reading, 1, F_RDLCK, 0, 9), 0);
	CHECK_EQ(posix(reading, 1, F_WRLCK, 0, 0), -EBADF);
	CHECK_EQ(posix(handle, 1, F_WRLCK, 5, 5), 0);
	CHECK_EQ(host_sees(fd, 4), F_RDLCK);
	CHECK_EQ(host_sees(fd, 5), F_WRLCK);
	CHECK_EQ(posix(reading, 4, F_RDLCK, 0, 4), 0);
	CHECK_EQ(guest__release(file, handle, false), 0); /* no lock outlives what it was taken by */
	CHECK_EQ(host_sees(fd, 5), F_UNLCK);
	CHECK_EQ(host_sees(fd, 4), F_RDLCK);
	CHECK_EQ(guest__release(file, reading, false), 0);
	CHECK_EQ(host_sees(fd, 4), F_UNLCK);
	CHECK_EQ(guest__release(file, second, false), 0);
	close(fd);
	CHECK_EQ(count_fds() + 3, before);
	guest__stop();
}

/* What owners have, byte by byte, is what the host sees; and the host's byte is in nobody's way but where it is. */
static void ranges_are_what_the_host_has(void)
{
	enum { BYTES = 24, OWNERS = 3, TRIES = 4000 };
	int has[OWNERS][BYTES];
	start();
	int fd = host_open();
	for (unsigned i = 0; i < OWNERS * BYTES; i++)
		has[i / BYTES][i % BYTES] = F_UNLCK;
	srand(1);
	for (unsigned i = 0; i < TRIES; i++) {
		unsigned owner = (unsigned)rand() % OWNERS, at = (unsigned)rand() % BYTES;
		unsigned end = at + (unsigned)rand() % (BYTES - at);
		int type = (const int[]){F_RDLCK, F_WRLCK, F_UNLCK}[rand() % 3];
		bool free_of_others = true;
		for (unsigned other = 0; other < OWNERS; other++)
			for (unsigned byte = at; byte <= end && other != owner && type != F_UNLCK; byte++)
				if (has[other][byte] == F_WRLCK || (has[other][byte] == F_RDLCK && type == F_WRLCK))
					free_of_others = false;
		CHECK_EQ(posix(handle, owner + 1, type, at, end), free_of_others ? 0 : -EAGAIN);
		for (unsigned byte = at; byte <= end && free_of_others; byte++)
			has[owner][byte] = type;
		for (unsigned byte = 0; byte < BYTES; byte++) {
			int want = F_UNLCK;
			for (unsigned other = 0; other < OWNERS; other++)
				if (has[other][byte] != F_UNLCK)
					want = has[other][byte];
			CHECK_EQ(host_sees(fd, byte), want);
		}
	}
	close(fd);
	guest__stop();
}

static void who_waits_gets_it_when_it_is_given_up(void)
{
	uint64_t second;
	start();
	CHECK_EQ(guest__open(file, O_RDWR, &second), 0);
	/* by the guest */
	CHECK_EQ(posix(handle, 1, F_WRLCK, 0, 9), 0);
	struct asked first = ask(wish(second, 2, F_WRLCK, 5, 5, 0));
	struct asked next = ask(wish(second, 3, F_WRLCK, 5, 5, 0));
	CHECK_EQ(guest__write(file, handle, 0, "x", 1, O_RDWR), 1); /* all else goes on */
	still_waits();
	CHECK_EQ(posix(handle, 1, F_UNLCK, 0, 9), 0);
	CHECK_EQ(posix(handle, 1, F_WRLCK, 5, 5), -EAGAIN); /* before who gave it up */
	CHECK_EQ(answer(first), 0);
	CHECK_EQ(flush(second, 2), 0);
	CHECK_EQ(answer(next), 0);
	CHECK_EQ(flush(second, 3), 0);
	CHECK_EQ(posix(handle, 1, F_WRLCK, 0, 9), 0); /* and when it becomes shared */
	first = ask(wish(second, 2, F_RDLCK, 0, 0, 0));
	CHECK_EQ(posix(handle, 1, F_RDLCK, 0, 9), 0);
	CHECK_EQ(answer(first), 0);
	CHECK_EQ(whole(second, F_WRLCK), 0);
	first = ask(wish(handle, handle, F_RDLCK, 0, ALL, FUSE_LK_FLOCK));
	CHECK_EQ(guest__release(file, second, false), 0);
	CHECK_EQ(answer(first), 0);
	/* two who share it, and both want it alone, do not wait for each other */
	CHECK_EQ(guest__open(file, O_RDWR, &second), 0);
	CHECK_EQ(whole(second, F_RDLCK), 0);
	first = ask(wish(handle, handle, F_WRLCK, 0, ALL, FUSE_LK_FLOCK));
	next = ask(wish(second, second, F_WRLCK, 0, ALL, FUSE_LK_FLOCK));
	CHECK_EQ(answer(next), 0);
	CHECK_EQ(whole(second, F_UNLCK), 0);
	CHECK_EQ(answer(first), 0);
	CHECK_EQ(guest__release(file, handle, false), 0);
	/* by the host */
	int fd = host_open();
	CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
	CHECK_EQ(host_lock(fd, F_WRLCK, 7, 1), 0);
	first = ask(wish(second, second, F_RDLCK, 0, ALL, FUSE_LK_FLOCK));
	still_waits();
	CHECK_EQ(flock(fd, LOCK_UN), 0);
	CHECK_EQ(answer(first), 0);
	next = ask(wish(second, 2, F_WRLCK, 0, ALL, 0));
	still_waits();
	close(fd);
	CHECK_EQ(answer(next), 0);
	guest__stop();
}

static void who_waits_can_be_interrupted(void)
{
	uint64_t second;
	start();
	CHECK_EQ(guest__open(file, O_RDWR, &second), 0);
	CHECK_EQ(posix(handle, 1, F_WRLCK, 0, ALL), 0);
	struct asked one = ask(wish(second, 2, F_WRLCK, 0, 0, 0)), other = ask(wish(second, 3, F_WRLCK, 0, 0, 0));
	interrupt(other.unique);
	CHECK_EQ(answer(other), -EINTR);
	still_waits();
	interrupt(one.unique);
	CHECK_EQ(answer(one), -EINTR);
	interrupt(one.unique);                 /* which is over */
	interrupt(1000000 + guest.unique + 1); /* before it is there */
	CHECK_EQ(answer(ask(wish(second, 2, F_WRLCK, 0, 0, 0))), -EINTR);
	/* the file it waits for is closed, and forgotten */
	one = ask(wish(second, 2, F_WRLCK, 0, 0, 0));
	CHECK_EQ(guest__release(file, second, false), 0);
	CHECK_EQ(answer(one), -EBADF);
	/* the whole connection begins anew */
	one = ask(wish(handle, 2, F_WRLCK, 0, 0, 0));
	CHECK_EQ(guest__init(), 0);
	CHECK_EQ(answer(one), -ENOTCONN);
	file = guest__lookup(ROOT, "f");
	CHECK_EQ(guest__open(file, O_RDWR, &handle), 0);
	CHECK_EQ(posix(handle, 1, F_WRLCK, 0, ALL), 0);
	/* what is found at its place by then is no request with room for an answer */
	one = ask(wish(handle, 2, F_WRLCK, 0, 0, 0));
	uint32_t used = 1;
	for (unsigned i = 0; i < QUEUE; i++)
		if (guest.requests.desc[i].addr && guest.requests.desc[i].flags & 4)
			guest.requests.desc[i].len = 7;
	CHECK_EQ(flush(handle, 1), 0);
	CHECK(driver_queue__wait(&guest.requests, &used, 20000) >= 0);
	CHECK_EQ(used, 0);
	/* it has it, whether told or not */
	CHECK_EQ(posix(handle, 3, F_WRLCK, 0, 0), -EAGAIN);
	one = ask(wish(handle, 3, F_WRLCK, 0, 0, 0));
	driver_device__reset(&guest.dd);
	int fd = host_open();
	CHECK_EQ(host_sees(fd, 0), F_UNLCK);
	close(fd);
	guest__stop();
}

static void processes_in_a_circle_are_told(void)
{
	start();
	for (uint64_t owner = 1; owner <= 4; owner++)
		CHECK_EQ(posix(handle, owner, F_WRLCK, owner, owner), 0);
	struct asked first = ask(wish(handle, 1, F_WRLCK, 2, 2, 0));
	struct asked second = ask(wish(handle, 2, F_WRLCK, 3, 3, 0));
	struct asked third = ask(wish(handle, 3, F_WRLCK, 4, 4, 0));
	still_waits();
	CHECK_EQ(answer(ask(wish(handle, 4, F_RDLCK, 1, 1, 0))), -EDEADLK);
	/* of open files any thread may give up the locks */
	struct asked ofd = ask(wish(handle, 4, F_RDLCK, 1, 1, OFD));
	still_waits();
	CHECK_EQ(flush(handle, 4), 0);
	CHECK_EQ(answer(third), 0);
	CHECK_EQ(flush(handle, 3), 0);
	CHECK_EQ(answer(second), 0);
	CHECK_EQ(flush(handle, 2), 0);
	CHECK_EQ(answer(first), 0);
	CHECK_EQ(flush(handle, 1), 0);
	CHECK_EQ(answer(ofd), 0);
	/* two who share a range and both want it alone */
	CHECK_EQ(posix(handle, 1, F_RDLCK, 50, 50), 0);
	CHECK_EQ(posix(handle, 2, F_RDLCK, 50, 50), 0);
	first = ask(wish(handle, 1, F_WRLCK, 50, 50, 0));
	CHECK_EQ(answer(ask(wish(handle, 2, F_WRLCK, 50, 50, 0))), -EDEADLK);
	CHECK_EQ(flush(handle, 2), 0);
	CHECK_EQ(answer(first), 0);
	guest__stop();
}

static void a_guest_may_hold_so_much_and_no_more(void)
{
	enum { OWNERS = 20000, RANGES = 16 * 1024 };
	struct asked waiting[WAITING_MAX];
	uint64_t owner = 0;
	int err = 0;
	start();
	int fd = host_open();
	unsigned before = count_fds();
	for (; !err && owner < OWNERS; owner++)
		err = posix(handle, owner, F_RDLCK, owner, owner);
	CHECK_EQ(err, -ENOLCK);
	CHECK(owner > 16);
	CHECK_EQ(guest__release(file, handle, false), 0);
	CHECK_EQ(count_fds() + 1, before);
	CHECK_EQ(host_sees(fd, 1), F_UNLCK);
	CHECK_EQ(guest__open(file, O_RDWR, &handle), 0);
	unsigned count = 0;
	for (uint64_t at; at = 2 * (RANGES - count), !(err = posix(handle, 1, F_RDLCK, at, at)); count++)
		CHECK(count < RANGES);
	CHECK_EQ(err, -ENOLCK);
	CHECK(count >= RANGES - 2);
	CHECK_EQ(posix(handle, 1, F_UNLCK, 0, ALL), 0);
	CHECK_EQ(posix(handle, 1, F_WRLCK, 0, ALL), 0);
	for (unsigned i = 0; i < WAITING_MAX; i++)
		waiting[i] = ask(wish(handle, 2 + i, F_WRLCK, 0, 0, OFD));
	CHECK_EQ(answer(ask(wish(handle, 1000, F_WRLCK, 0, 0, OFD))), -ENOLCK);
	CHECK_EQ(flush(handle, 1), 0);
	for (unsigned i = 0; i < WAITING_MAX; i++) {
		CHECK_EQ(answer(waiting[i]), 0);
		CHECK_EQ(posix(handle, 2 + i, F_UNLCK, 0, ALL), 0);
	}
	CHECK_EQ(host_sees(fd, 0), F_UNLCK);
	close(fd);
	guest__stop();
}

static void what_is_no_lock_is_refused(void)
{
	uint64_t directory;
	start();
	struct fuse_lk_in in = wish(handle, 1, F_WRLCK, 5, 4, 0);
	CHECK_EQ(guest__op(FUSE_SETLK, file, &in, sizeof(in), NULL, NULL), -EINVAL);
	in = wish(handle, 1, F_WRLCK, 0, UINT64_MAX, 0);
	CHECK_EQ(guest__op(FUSE_SETLKW, file, &in, sizeof(in), NULL, NULL), -EINVAL);
	in = wish(handle, 1, 7, 0, ALL, 0);
	CHECK_EQ(guest__op(FUSE_SETLK, file, &in, sizeof(in), NULL, NULL), -EINVAL);
	in = wish(handle, 1, F_WRLCK, 0, ALL, 8);
	CHECK_EQ(guest__op(FUSE_SETLK, file, &in, sizeof(in), NULL, NULL), -EINVAL);
	in = wish(handle, 1, F_WRLCK, 1, 2, FUSE_LK_FLOCK);
	CHECK_EQ(guest__op(FUSE_SETLK, file, &in, sizeof(in), NULL, NULL), -EINVAL);
	in = wish(handle, 1, F_WRLCK, 0, ALL, FUSE_LK_FLOCK);
	CHECK_EQ(guest__op(FUSE_GETLK, file, &in, sizeof(in), NULL, NULL), -EINVAL);
	in = wish(handle + 1, 1, F_WRLCK, 0, ALL, 0);
	CHECK_EQ(guest__op(FUSE_SETLK, file, &in, sizeof(in), NULL, NULL), -EBADF);
	in = wish(handle, 1, F_WRLCK, 0, ALL, 0);
	CHECK_EQ(guest__op(FUSE_SETLK, ROOT, &in, sizeof(in), NULL, NULL), -EBADF);
	CHECK_EQ(posix(handle, 9, F_UNLCK, 0, ALL), 0); /* never locked */
	CHECK_EQ(flush(handle, 9), 0);
	/* of a directory there is flock only */
	CHECK_EQ(guest__opendir(ROOT, &directory), 0);
	in = wish(directory, 1, F_RDLCK, 0, ALL, 0);
	CHECK_EQ(guest__op(FUSE_SETLK, ROOT, &in, sizeof(in), NULL, NULL), -EBADF);
	in = wish(directory, 1, F_WRLCK, 0, ALL, FUSE_LK_FLOCK);
	CHECK_EQ(guest__op(FUSE_SETLK, ROOT, &in, sizeof(in), NULL, NULL), 0);
	int fd = open(guest.host, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK);
	CHECK_EQ(guest__release(ROOT, directory, true), 0);
	CHECK_EQ(flock(fd, LOCK_SH | LOCK_NB), 0);
	close(fd);
	guest__stop();
}

static void a_share_may_keep_locks_to_the_guest(void)
{
	struct fs_root roots[] = {{.name = "0", .host_locks = true}, {.name = "1"}}, alone = {.name = "0"};
	guest__start(roots, 2, false);
	uint64_t second, dir = guest__lookup(ROOT, "1");
	/* whose they are is said at each open */
	CHECK_EQ(guest__create(guest__lookup(ROOT, "0"), "f", O_RDWR, 0644, &file, &handle), 0);
	CHECK(((struct fuse_open_out *)(guest__entry() + 1))->open_flags & HOST_LOCKS);
	CHECK_EQ(guest__opendir(dir, &second), 0);
	CHECK(!(((struct fuse_open_out *)guest__reply())->open_flags & HOST_LOCKS));
	/* and who does not go by that is told all the same */
	CHECK_EQ(guest__create(dir, "f", O_RDWR, 0644, &file, &handle), 0);
	CHECK(!(((struct fuse_open_out *)(guest__entry() + 1))->open_flags & HOST_LOCKS));
	CHECK_EQ(guest__open(file, O_RDWR, &second), 0);
	int fd = open(host("1/f"), O_RDWR | O_CLOEXEC);
	CHECK_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
	CHECK_EQ(host_lock(fd, F_WRLCK, 0, 0), 0);
	CHECK_EQ(whole(handle, F_WRLCK), 0);
	CHECK_EQ(whole(second, F_RDLCK), -EAGAIN);
	CHECK_EQ(posix(handle, 1, F_WRLCK, 0, 9), 0);
	CHECK_EQ(posix(handle, 2, F_RDLCK, 9, 9), -EAGAIN);
	CHECK_EQ(getlk(second, 2, F_RDLCK, 0, 0).pid, 1);
	CHECK_EQ(getlk(second, 2, F_RDLCK, 10, ALL).type, F_UNLCK);
	struct asked waits = ask(wish(second, 2, F_WRLCK, 0, 0, 0));
	CHECK_EQ(flush(handle, 1), 0);
	CHECK_EQ(answer(waits), 0);
	close(fd);
	guest__stop();
	/* where all do, the guest's kernel keeps them, and asks nothing */
	guest__start(&alone, 1, true);
	CHECK(!(guest.init.flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS)));
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0644, &file, &handle), 0);
	CHECK_EQ(flush(handle, 1), -ENOSYS);
	CHECK_EQ(posix(handle, 1, F_WRLCK, 0, 0), -ENOSYS);
	guest__stop();
}

/* SQLite's journal is such a name: whether it is there says what is to become of the locked file. */
static void names_beside_what_is_locked_are_looked_up_each_time(void)
{
	start();
	int fd = open(host("g"), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	close(fd);
	CHECK(guest__lookup(ROOT, "g") && guest__entry()->entry_valid > 0);
	CHECK_EQ(posix(handle, 1, F_WRLCK, 0, 0), 0);
	CHECK(guest__lookup(ROOT, "g") && !guest__entry()->entry_valid && !guest__entry()->attr_valid);
	CHECK(!guest__lookup(ROOT, "none") && !guest__entry()->entry_valid);
	CHECK_EQ(posix(handle, 1, F_UNLCK, 0, 0), 0);
	CHECK(guest__lookup(ROOT, "g") && guest__entry()->entry_valid > 0);
	guest__stop();
}

int main(void)
{
	CASE(guest_and_host_exclude_each_other);
	CASE(each_owner_has_its_own);
	CASE(ranges_are_what_the_host_has);
	CASE(who_waits_gets_it_when_it_is_given_up);
	CASE(who_waits_can_be_interrupted);
	CASE(processes_in_a_circle_are_told);
	CASE(a_guest_may_hold_so_much_and_no_more);
	CASE(what_is_no_lock_is_refused);
	CASE(a_share_may_keep_locks_to_the_guest);
	CASE(names_beside_what_is_locked_are_looked_up_each_time);
	return check__done();
}
