/* virtio-fs: what others change on the host is told to a guest that watches it, and what the guest changes is not. */
#include <sched.h>
#include <sys/inotify.h>
#include <sys/wait.h>

#include "fs_guest.h"

#define ROOT FUSE_ROOT_ID

/* Operations and the record of capsa's kernel (kernel/patches). */
enum { WATCH = 120, UNWATCH = 121, CHANGES = 122 };
struct change {
	uint64_t nodeid;
	uint32_t mask, cookie, namelen, padding;
};

static uint64_t ask_gpa, told_gpa; /* of the request that waits, and its reply */
static unsigned noticed;
static int noticed_error;

static void notice(void *arg, int error, unsigned count)
{
	(void)arg;
	(void)count;
	noticed_error = error;
	noticed++;
}

static void start_with(struct fs_root with)
{
	static struct fs_root root;
	root = with;
	guest__notice = notice;
	guest__start(&root, 1, true);
	ask_gpa = driver__alloc(&guest.d, 4096);
	told_gpa = driver__alloc(&guest.d, 4096);
}

static void start(enum fs_cache cache)
{
	start_with((struct fs_root){.name = "0", .cache = cache});
}

static int watch(uint64_t node)
{
	return guest__op(WATCH, node, NULL, 0, NULL, NULL);
}

/* Have a request wait for changes; returns its head. */
static uint16_t ask(void)
{
	struct fuse_in_header *in = driver__at(&guest.d, ask_gpa);
	struct driver_buf bufs[2] = {{ask_gpa, sizeof(*in)}, {told_gpa, 4096}};
	*in = (struct fuse_in_header){.len = sizeof(*in), .opcode = CHANGES, .unique = 4711};
	int head = driver_queue__add(&guest.requests, bufs, 1, 1);
	CHECK(head >= 0);
	driver_device__kick(&guest.dd, 1);
	driver_device__sync(&guest.dd);
	return (uint16_t)head;
}

static const char *kind(uint32_t mask)
{
	static const struct {
		uint32_t mask;
		const char *name;
	} kinds[] = {{IN_CREATE, "create"},      {IN_DELETE, "delete"},           {IN_MODIFY, "modify"},
		     {IN_ATTRIB, "attrib"},      {IN_MOVED_FROM, "from"},         {IN_MOVED_TO, "to"},
		     {IN_CLOSE_WRITE, "close"},  {IN_DELETE_SELF, "delete-self"}, {IN_MOVE_SELF, "move-self"},
		     {IN_Q_OVERFLOW, "overflow"}};
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (mask & kinds[i].mask)
			return kinds[i].name;
	return "?";
}

/* The reply that is there or comes: an error, or 0 and "kind name, kind/ name, …" in `told`. */
static char told[8192];
static int answered(void)
{
	struct fuse_out_header *out = driver__at(&guest.d, told_gpa);
	uint32_t used = 0;
	CHECK(driver_queue__wait(&guest.requests, &used, 5000) >= 0);
	CHECK(used >= sizeof(*out) && out->len == used && out->unique == 4711);
	size_t length = 0;
	*told = 0;
	for (size_t at = sizeof(*out); at < used;) {
		struct change change;
		memcpy(&change, (uint8_t *)out + at, sizeof(change));
		const char *name = (const char *)out + at + sizeof(change);
		CHECK_EQ(strlen(name), change.namelen);
		length +=
			(size_t)snprintf(told + length, sizeof(told) - length, "%s%s%s%s%s", length ? ", " : "",
					 kind(change.mask), change.mask & IN_ISDIR ? "/" : "", *name ? " " : "", name);
		at += FUSE_DIRENT_ALIGN(sizeof(change) + change.namelen + 1);
		CHECK(at <= used && length < sizeof(told));
	}
	return out->error;
}

/* What is told until the host makes the directory at `mark`, which it does now. */
static const char *until(const char *mark)
{
	static char all[8192];
	char last[64];
	const char *slash = strrchr(mark, '/');
	snprintf(last, sizeof(last), "create/ %s", slash ? slash + 1 : mark);
	CHECK_EQ(mkdir(host("%s", mark), 0755), 0);
	*all = 0;
	for (;;) {
		CHECK_EQ(answered(), 0);
		char *end = strstr(told, last);
		if (end)
			*end = 0;
		strcat(all, told);
		ask();
		if (end)
			return all;
		strcat(all, ", ");
	}
}

static void what_the_host_changes_is_told(void)
{
	start(FS_CACHE_AUTO);
	host__write(host("old"), "1");
	CHECK_EQ(mkdir(host("dir"), 0755), 0);
	CHECK_EQ(watch(ROOT), 0);
	ask();
	host__write(host("new"), "12");
	CHECK_EQ(chmod(host("old"), 0600), 0);
	CHECK_EQ(rename(host("old"), host("renamed")), 0);
	CHECK_EQ(unlink(host("new")), 0);
	CHECK_EQ(rmdir(host("dir")), 0);
	CHECK_STR(until("mark"),
		  "create new, modify new, close new, attrib old, from old, to renamed, delete new, delete/ dir, ");
	guest__stop();
}

static void what_the_guest_changes_is_not(void)
{
	uint64_t node, fh, dir;
	start(FS_CACHE_AUTO);
	host__write(host("there"), "1");
	CHECK_EQ(watch(ROOT), 0);
	ask();
	CHECK_EQ(guest__mkdir(ROOT, "dir", 0755), 0);
	dir = guest__entry()->nodeid;
	CHECK_EQ(watch(dir), 0);
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(watch(node), 0);
	CHECK_EQ(guest__write(node, fh, 0, "abc", 3, O_RDWR), 3);
	CHECK_EQ(guest__truncate(node, 1), 0);
	CHECK_EQ(guest__chmod(node, 0600), 0);
	CHECK_EQ(guest__link(node, ROOT, "g"), 0);
	CHECK_EQ(guest__release(node, fh, false), 0);
	CHECK_EQ(guest__rename(ROOT, "f", dir, "h", 0), 0);
	CHECK_EQ(guest__symlink(dir, "s", "f"), 0);
	CHECK_EQ(guest__open(guest__lookup(ROOT, "there"), O_WRONLY | O_TRUNC, &fh), 0);
	CHECK_EQ(guest__op(FUSE_UNLINK, dir, NULL, 0, "h", NULL), 0);
	CHECK_EQ(guest__op(FUSE_UNLINK, dir, NULL, 0, "s", NULL), 0);
	CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, "g", NULL), 0);
	CHECK_EQ(guest__op(FUSE_RMDIR, ROOT, NULL, 0, "dir", NULL), 0);
	CHECK_STR(until("mark"), "");
	guest__stop();
}

static void nor_what_nobody_watches(void)
{
	uint64_t dir;
	start(FS_CACHE_AUTO);
	CHECK_EQ(mkdir(host("dir"), 0755), 0);
	dir = guest__lookup(ROOT, "dir");
	CHECK_EQ(watch(ROOT), 0);
	CHECK_EQ(watch(dir), 0);
	CHECK_EQ(watch(dir), 0);
	CHECK_EQ(watch(4711), -ESTALE);
	ask();
	CHECK_EQ(guest__op(UNWATCH, dir, NULL, 0, NULL, NULL), 0);
	host__write(host("dir/file"), "1");
	CHECK_STR(until("mark"), "");
	CHECK_EQ(watch(dir), 0);
	guest__forget(dir, 1);
	host__write(host("dir/other"), "1");
	CHECK_STR(until("another"), "");
	guest__stop();

	start(FS_CACHE_ALWAYS); /* what does not change needs no watching */
	CHECK_EQ(watch(ROOT), 0);
	host__write(host("file"), "1");
	ask();
	CHECK_EQ(guest__op(UNWATCH, 0, NULL, 0, NULL, NULL), 0);
	CHECK_EQ(answered(), -ENOTCONN);
	guest__stop();
}

static void a_file_that_is_watched_with_its_directory_is_told_once(void)
{
	start(FS_CACHE_AUTO);
	host__write(host("file"), "1");
	host__write(host("new"), "2");
	uint64_t file = guest__lookup(ROOT, "file");
	CHECK_EQ(watch(file), 0);
	ask();
	CHECK_EQ(truncate(host("file"), 0), 0);
	CHECK_EQ(answered(), 0);
	CHECK_STR(told, "modify");
	CHECK_EQ(watch(ROOT), 0);
	ask();
	CHECK_EQ(truncate(host("file"), 9), 0);
	CHECK_EQ(rename(host("new"), host("file")), 0); /* as editors do: the file that is watched is no more */
	CHECK_STR(until("mark"), "modify file, from new, to file, delete-self, ");
	guest__stop();
}

static void who_does_not_take_them_is_told_that_some_are_lost(void)
{
	char name[NAME_MAX + 1] = "";
	start(FS_CACHE_AUTO);
	CHECK_EQ(watch(ROOT), 0);
	memset(name, 'n', 200);
	for (int i = 0; i < 1500; i++) {
		snprintf(name + 200, 16, "%d", i);
		CHECK_EQ(mkdir(host("%s", name), 0755), 0);
		if (i % 100 == 0)
			driver_device__sync(&guest.dd);
	}
	for (int i = 0; !strstr(told, "overflow"); i++) {
		CHECK(i < 2000);
		ask();
		CHECK_EQ(answered(), 0);
	}
	CHECK_STR(told, "overflow");
	ask();
	CHECK_STR(until("mark"), "");
	guest__stop();
}

static void a_request_that_waits_is_given_back(void)
{
	start(FS_CACHE_AUTO);
	CHECK_EQ(watch(ROOT), 0);
	ask();
	CHECK_EQ(guest__request(CHANGES, 0, 0, 4096), -EBUSY); /* one is enough */
	CHECK_EQ(guest__request(CHANGES, 0, 0, 8), -EBUSY);
	CHECK_EQ(guest__op(UNWATCH, 0, NULL, 0, NULL, NULL), 0);
	CHECK_EQ(answered(), -ENOTCONN);
	CHECK_EQ(guest__request(CHANGES, 0, 0, 4096), -ENOTCONN);
	CHECK_EQ(watch(ROOT), 0);
	CHECK_EQ(guest__request(CHANGES, 0, 0, 8), -EINVAL);
	ask();
	CHECK_EQ(guest__op(FUSE_DESTROY, 0, NULL, 0, NULL, NULL), 0);
	CHECK_EQ(answered(), -ENOTCONN);
	CHECK_EQ(guest__init(), 0);
	CHECK_EQ(watch(ROOT), 0);
	ask();
	driver_device__reset(&guest.dd);
	host__write(host("file"), "1"); /* nobody is there to be told */
	driver_device__sync(&guest.dd);
	guest__stop();
}

static void stop_queues(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 2; i++)
		virtqueue__disable(&guest.dd.dev->queues[i]);
}

/* Guest memory is mapped anew, at another place; where it was, nothing is. */
static void start_queues_elsewhere(void *arg)
{
	struct driver *d = &guest.d;
	struct driver_queue *queues[] = {&guest.urgent, &guest.requests};
	uint8_t *old = d->ram;
	(void)arg;
	d->ram = mmap(NULL, d->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (d->ram == MAP_FAILED)
		abort();
	memcpy(d->ram, old, d->size);
	mprotect(old, d->size, PROT_NONE);
	d->mem.regions[0].host = d->ram;
	for (unsigned i = 0; i < 2; i++) {
		struct driver_queue *q = queues[i];
		q->desc = driver__at(d, q->desc_gpa);
		q->avail = driver__at(d, q->avail_gpa);
		q->used = driver__at(d, q->used_gpa);
		guest.dd.result = virtqueue__enable(q->vq, q->desc, q->avail, q->used);
	}
}

static void what_changes_while_the_machine_is_paused_is_told_after_that(void)
{
	start(FS_CACHE_AUTO);
	CHECK_EQ(watch(ROOT), 0);
	ask();
	CHECK_EQ(loop__call(guest.dd.loop, stop_queues, NULL), 0);
	memset(driver__at(&guest.d, told_gpa), 0xcc, 64);
	CHECK_EQ(mkdir(host("during"), 0755), 0);
	driver_device__sync(&guest.dd);
	for (unsigned i = 0; i < 64; i++) /* memory of a device that is stopped is the guest's alone */
		CHECK_EQ(((uint8_t *)driver__at(&guest.d, told_gpa))[i], 0xcc);
	CHECK_EQ(loop__call(guest.dd.loop, start_queues_elsewhere, NULL), 0);
	CHECK_EQ(guest.dd.result, 0);
	driver_device__kick(&guest.dd, 1); /* as a transport does */
	CHECK_STR(until("after"), "create/ during, ");
	guest__stop();
}

static void a_request_that_the_guest_changes_while_it_waits_gets_no_more_than_it_has_room_for(void)
{
	static const struct driver_buf now[] = {{0, 4096}, {DRIVER_BASE, 16}, {DRIVER_BASE, 0}, {UINT64_MAX, 4096}};
	start(FS_CACHE_AUTO);
	CHECK_EQ(watch(ROOT), 0);
	for (unsigned i = 0; i < sizeof(now) / sizeof(*now); i++) {
		uint32_t used = UINT32_MAX;
		struct driver_desc *table = driver__at(&guest.d, guest.requests.indirect[ask()]);
		table[1].addr = now[i].gpa;
		table[1].len = now[i].len;
		CHECK_EQ(mkdir(host("lost"), 0755), 0);
		CHECK(driver_queue__wait(&guest.requests, &used, 5000) >= 0);
		CHECK_EQ(used, 0);
		ask(); /* nothing is lost by it */
		CHECK_EQ(answered(), 0);
		CHECK_STR(told, "create/ lost");
		CHECK_EQ(rmdir(host("lost")), 0);
		ask();
		CHECK_EQ(answered(), 0);
	}
	guest__stop();
}

/* What the user's programs may watch together, in a user namespace; exits where there is none to be had. */
static void limit_watches(const char *count)
{
	int fd = unshare(CLONE_NEWUSER) ? -1 : open("/proc/sys/user/max_inotify_watches", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, count, strlen(count)) < 0) {
		printf("# no user namespace with limits of its own here\n");
		exit(0);
	}
	close(fd);
}

/* Directories that are watched beside the share, until it is refused. */
static unsigned watch_on(void)
{
	unsigned count = 0;
	int err = 0;
	CHECK_EQ(watch(ROOT), 0);
	for (; !err; count++) {
		CHECK_EQ(mkdir(host("%u", count), 0755), 0);
		err = watch(guest__lookup(ROOT, strrchr(host("%u", count), '/') + 1));
	}
	CHECK_EQ(err, -ENOSPC);
	CHECK_EQ(noticed_error, -ENOSPC);
	CHECK_EQ(watch(guest__lookup(ROOT, "0")), count > 1 ? 0 : -ENOSPC); /* it is watched, or is not, as before */
	CHECK_EQ(noticed, 1);                                               /* not for each */
	return count - 1;
}

/* Others have left two of 32 watches: less than a sandbox's part. */
static void limited_by_the_rest(void)
{
	char names[30][32];
	limit_watches("32");
	int others = inotify_init1(IN_CLOEXEC);
	for (unsigned i = 0; i < 30; i++) {
		strcpy(names[i], "/tmp/capsa-watched-XXXXXX");
		CHECK(mkdtemp(names[i]) && inotify_add_watch(others, names[i], IN_CREATE) > 0);
	}
	start(FS_CACHE_AUTO);
	CHECK_EQ(watch_on(), 1);
	guest__stop();
	for (unsigned i = 0; i < 30; i++)
		rmdir(names[i]);
	exit(0);
}

static void limited_to_a_part(void)
{
	limit_watches("40");
	start(FS_CACHE_AUTO);
	CHECK_EQ(watch_on(), 4);
	guest__stop();
	exit(0);
}

static void in_a_child(void (*test)(void))
{
	int status = -1;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		test();
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
}

static void the_hosts_limit_is_no_end(void)
{
	in_a_child(limited_by_the_rest);
}

static void most_of_what_may_be_watched_is_left_to_others(void)
{
	in_a_child(limited_to_a_part);
}

static void below_a_layer_the_host_is_heard_where_the_guest_has_changed_nothing(void)
{
	start_with((struct fs_root){.name = "0", .layered = true});
	host__write(host("mine"), "1");
	host__write(host("theirs"), "1");
	CHECK_EQ(watch(ROOT), 0);
	ask();
	uint64_t mine = guest__lookup(ROOT, "mine"), node, fh;
	CHECK_EQ(watch(mine), 0);
	CHECK_EQ(guest__open(mine, O_WRONLY, &fh), 0);
	CHECK_EQ(guest__write(mine, fh, 0, "2", 1, 0), 1);
	CHECK_EQ(guest__create(ROOT, "new", O_WRONLY, 0644, &node, &fh), 0);
	host__write(host("mine"), "3");
	host__write(host("new"), "3");
	CHECK_EQ(unlink(host("mine")), 0);
	CHECK_EQ(unlink(host("theirs")), 0);
	CHECK_STR(until("mark"), "delete theirs, ");
	guest__stop();
}

static void a_directory_is_watched_on_when_it_is_copied_and_when_the_host_replaces_it(void)
{
	start_with((struct fs_root){.name = "0", .layered = true});
	CHECK_EQ(mkdir(host("d"), 0755), 0);
	uint64_t dir = guest__lookup(ROOT, "d"), node, fh;
	CHECK_EQ(watch(dir), 0);
	ask();
	CHECK_EQ(guest__create(dir, "own", O_WRONLY, 0644, &node, &fh), 0);
	CHECK_STR(until("d/mark"), "");
	CHECK_EQ(rename(host("d"), host("old")), 0);
	CHECK_EQ(mkdir(host("d"), 0755), 0);
	CHECK_EQ(guest__lookup(ROOT, "d"), dir);
	CHECK_STR(until("d/mark"), "");
	guest__stop();
}

int main(void)
{
	CASE(the_hosts_limit_is_no_end);
	CASE(most_of_what_may_be_watched_is_left_to_others);
	CASE(what_the_host_changes_is_told);
	CASE(what_the_guest_changes_is_not);
	CASE(nor_what_nobody_watches);
	CASE(a_file_that_is_watched_with_its_directory_is_told_once);
	CASE(who_does_not_take_them_is_told_that_some_are_lost);
	CASE(a_request_that_waits_is_given_back);
	CASE(what_changes_while_the_machine_is_paused_is_told_after_that);
	CASE(a_request_that_the_guest_changes_while_it_waits_gets_no_more_than_it_has_room_for);
	CASE(below_a_layer_the_host_is_heard_where_the_guest_has_changed_nothing);
	CASE(a_directory_is_watched_on_when_it_is_copied_and_when_the_host_replaces_it);
	return check__done();
}
