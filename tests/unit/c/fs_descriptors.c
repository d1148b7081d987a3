/* virtio-fs in a process that may open few files: more directories, links and files than that. */
#include <sys/resource.h>

#include "fs_guest.h"

#define ROOT FUSE_ROOT_ID

enum { LIMIT = 160 };

static void start(void)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0"};
	guest__start(&root, 1, true);
}

static void without_descriptors_it_says_so_and_goes_on(void)
{
	start();
	static uint64_t nodes[200], fhs[200];
	int opened = 0, err = 0;
	for (int i = 0; i < 200 && !err; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%d", i);
		err = guest__create(ROOT, name, O_RDWR, 0644, &nodes[i], &fhs[i]);
		opened += !err;
	}
	CHECK_EQ(err, -ENFILE);
	CHECK(opened >= LIMIT / 4 && opened < LIMIT);
	CHECK_EQ(guest__write(nodes[0], fhs[0], 0, "still here", 10, O_RDWR), 10);
	for (int i = 0; i < opened; i++)
		CHECK_EQ(guest__release(nodes[i], fhs[i], false), 0);
	CHECK_EQ(guest__create(ROOT, "again", O_RDWR, 0644, &nodes[0], &fhs[0]), 0);
	guest__stop();
}

static void more_directories_than_descriptors_are_walked(void)
{
	start();
	enum { DIRS = 500, DEPTH = 300 };
	static uint64_t dirs[DIRS], files[DIRS], fh;
	struct fuse_attr attr;
	for (int i = 0; i < DIRS; i++) {
		char name[16];
		snprintf(name, sizeof(name), "%d", i);
		CHECK_EQ(mkdir(host("%d", i), 0755), 0);
		host__write(host("%d/f", i), "text");
		dirs[i] = guest__lookup(ROOT, name);
		files[i] = guest__lookup(dirs[i], "f");
		CHECK(dirs[i] && files[i]);
	}
	for (int i = 0; i < DIRS; i++) {
		CHECK_EQ(guest__open(files[i], O_RDONLY, &fh), 0);
		CHECK_EQ(guest__read(files[i], fh, 0, 10), 4);
		CHECK_EQ(guest__release(files[i], fh, false), 0);
		CHECK_EQ(guest__chmod(files[i], 0600), 0);
	}
	/* a chain deeper than there are descriptors: each step is opened from the one above it */
	uint64_t at = ROOT;
	for (int i = 0; i < DEPTH; i++) {
		CHECK_EQ(guest__mkdir(at, "d", 0755), 0);
		at = guest__entry()->nodeid;
	}
	for (int i = 0; i < DIRS; i++)
		CHECK_EQ(guest__getattr(files[i], &attr), 0); /* closes what the chain had open */
	CHECK_EQ(guest__mkdir(at, "bottom", 0755), 0);
	CHECK_EQ(guest__getattr(ROOT, &attr), 0);
	CHECK(count_fds() < LIMIT);
	guest__stop();
}

static void unlinked_hard_links_do_not_use_up_the_descriptors(void)
{
	start();
	unsigned before = count_fds();
	uint64_t node, fh;
	for (int i = 0; i < 200; i++) {
		char name[16], other[16];
		snprintf(name, sizeof(name), "a%d", i);
		snprintf(other, sizeof(other), "b%d", i);
		CHECK_EQ(guest__create(ROOT, name, O_RDWR, 0644, &node, &fh), 0);
		CHECK_EQ(guest__release(node, fh, false), 0);
		CHECK_EQ(guest__link(node, ROOT, other), 0);
		CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, other, NULL), 0); /* keeps a descriptor */
	}
	CHECK(count_fds() - before <= LIMIT / 8 * 2 + 1);
	guest__stop();
}

int main(void)
{
	struct rlimit few = {.rlim_cur = LIMIT, .rlim_max = LIMIT}; /* for good: raising it again takes a capability */
	if (setrlimit(RLIMIT_NOFILE, &few))
		return 1;
	CASE(without_descriptors_it_says_so_and_goes_on);
	CASE(more_directories_than_descriptors_are_walked);
	CASE(unlinked_hard_links_do_not_use_up_the_descriptors);
	return check__done();
}
