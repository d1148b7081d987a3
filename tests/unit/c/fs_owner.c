/* virtio-fs: who the guest sees as owner, and what of that reaches the host, for each kind of ownership. */
#include "fs_guest.h"

#define ROOT FUSE_ROOT_ID

static struct fs_root root;

static void start(enum fs_ownership ownership)
{
	root = (struct fs_root){.name = "0", .ownership = ownership};
	guest__start(&root, 1, true);
}

static void need_root(void)
{
	if (geteuid() != 0)
		SKIP("changing owners on the host takes root");
}

static struct fuse_attr attr_of(uint64_t node)
{
	struct fuse_attr attr;
	CHECK_EQ(guest__getattr(node, &attr), 0);
	return attr;
}

static void under_root_every_file_is_roots_until_it_is_given_away(void)
{
	start(FS_OWNER_ROOT);
	host__write(host("f"), "");
	if (geteuid() == 0)
		CHECK_EQ(chown(host("f"), 1234, 5678), 0);
	struct stat before = host__stat(host("f"));
	uint64_t node = guest__lookup(ROOT, "f");
	CHECK_EQ(guest__entry()->attr.uid, 0);
	CHECK_EQ(guest__entry()->attr.gid, 0);
	guest.uid = 1000; /* whoever asks */
	CHECK_EQ(attr_of(node).uid, 0);
	CHECK_EQ(guest__chown(node, 70, 80), 0);
	CHECK_EQ(attr_of(node).uid, 70);
	CHECK_EQ(attr_of(node).gid, 80);
	CHECK_EQ(guest__setattr(node, (struct fuse_setattr_in){.valid = FATTR_GID, .gid = 81}), 0);
	CHECK_EQ(attr_of(node).uid, 70);
	CHECK_EQ(attr_of(node).gid, 81);
	CHECK_EQ(host__stat(host("f")).st_uid, before.st_uid);
	CHECK_EQ(host__stat(host("f")).st_gid, before.st_gid);
	/* remembered by file, not by name, and beyond forgetting and a new mount */
	CHECK_EQ(guest__rename(ROOT, "f", ROOT, "g", 0), 0);
	guest__forget(node, 1000);
	CHECK(guest__lookup(ROOT, "g") != 0);
	CHECK_EQ(guest__entry()->attr.uid, 70);
	CHECK_EQ(guest__op(FUSE_DESTROY, 0, NULL, 0, NULL, NULL), 0);
	CHECK_EQ(guest__init(), 0);
	CHECK(guest__lookup(ROOT, "g") != 0);
	CHECK_EQ(guest__entry()->attr.uid, 70);
	CHECK_EQ(guest__entry()->attr.gid, 81);
	/* not by the next file of that name */
	CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, "g", NULL), 0);
	host__write(host("g"), "");
	CHECK(guest__lookup(ROOT, "g") != 0);
	CHECK_EQ(guest__entry()->attr.uid, 0);
	guest__stop();
}

static void under_root_what_a_user_makes_is_that_users(void)
{
	start(FS_OWNER_ROOT);
	uint64_t node, fh;
	guest.uid = 1000;
	guest.gid = 1001;
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(guest__entry()->attr.uid, 1000);
	CHECK_EQ(guest__entry()->attr.gid, 1001);
	CHECK_EQ(guest__mkdir(ROOT, "d", 0755), 0);
	uint64_t d = guest__entry()->nodeid;
	CHECK_EQ(guest__entry()->attr.uid, 1000);
	CHECK_EQ(guest__symlink(ROOT, "l", "x"), 0);
	CHECK_EQ(guest__entry()->attr.uid, 1000);
	CHECK_EQ(host__stat(host("f")).st_uid, geteuid());
	/* a directory that hands its group down does so */
	CHECK_EQ(guest__chown(d, 0, 42), 0);
	CHECK_EQ(guest__chmod(d, 02775), 0);
	CHECK_EQ(guest__create(d, "inner", O_RDWR, 0664, &node, &fh), 0);
	CHECK_EQ(guest__entry()->attr.uid, 1000);
	CHECK_EQ(guest__entry()->attr.gid, 42);
	CHECK_EQ(guest__mkdir(d, "deeper", 0755), 0);
	CHECK_EQ(guest__entry()->attr.gid, 42);
	CHECK_EQ(guest__entry()->attr.mode, S_IFDIR | 02755);
	guest.uid = guest.gid = 0;
	CHECK_EQ(guest__create(ROOT, "r", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(guest__entry()->attr.uid, 0);
	guest__stop();
}

static void under_root_special_bits_are_the_guests_own(void)
{
	start(FS_OWNER_ROOT);
	uint64_t node, fh;
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0755, &node, &fh), 0);
	CHECK_EQ(guest__chmod(node, 06755), 0);
	CHECK_EQ(attr_of(node).mode & 07777, 06755);
	CHECK_EQ(host__stat(host("f")).st_mode & 07777, 0755);
	/* a write by someone without CAP_FSETID clears them, as it would on any file system */
	struct fuse_write_in in = {.fh = fh, .size = 1, .write_flags = FUSE_WRITE_KILL_SUIDGID, .flags = O_RDWR};
	uint8_t body[sizeof(in) + 1] = {0};
	memcpy(body, &in, sizeof(in));
	CHECK_EQ(guest__op(FUSE_WRITE, node, body, sizeof(body), NULL, NULL), 0);
	CHECK_EQ(attr_of(node).mode & 07777, 0755);
	CHECK_EQ(guest__chmod(node, 06755), 0);
	CHECK_EQ(guest__chown(node, 7, 7), 0);
	CHECK_EQ(attr_of(node).mode & 07777, 0755);
	CHECK_EQ(guest__chmod(node, 04755), 0);
	CHECK_EQ(guest__setattr(node, (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_KILL_SUIDGID}), 0);
	CHECK_EQ(attr_of(node).mode & 07777, 0755);
	/* the sticky bit and a directory's set-group-id are no one's rights: they pass */
	CHECK_EQ(guest__mkdir(ROOT, "d", 03777), 0);
	CHECK_EQ(guest__chmod(guest__entry()->nodeid, 03777), 0);
	CHECK_EQ(host__stat(host("d")).st_mode & 07777, 03777);
	guest__stop();
}

static void under_root_a_users_set_user_id_program_does_not_become_roots(void)
{
	need_root();
	start(FS_OWNER_ROOT);
	host__write(host("users"), "");
	host__write(host("roots"), "");
	CHECK_EQ(chown(host("users"), 1234, 1234), 0);
	CHECK_EQ(chmod(host("users"), 06755), 0);
	CHECK_EQ(chmod(host("roots"), 06755), 0);
	CHECK(guest__lookup(ROOT, "users") != 0);
	CHECK_EQ(guest__entry()->attr.mode & 07777, 0755);
	CHECK(guest__lookup(ROOT, "roots") != 0);
	CHECK_EQ(guest__entry()->attr.mode & 07777, 06755);
	guest__stop();
}

static void under_caller_every_file_is_the_askers(void)
{
	start(FS_OWNER_CALLER);
	uint64_t node, fh;
	host__write(host("f"), "");
	guest.uid = 1000;
	guest.gid = 1001;
	node = guest__lookup(ROOT, "f");
	CHECK_EQ(guest__entry()->attr.uid, 1000);
	guest.uid = 33;
	CHECK_EQ(attr_of(node).uid, 33);
	CHECK_EQ(attr_of(node).gid, 1001);
	CHECK_EQ(guest__chown(node, 5, 5), 0);
	CHECK_EQ(attr_of(node).uid, 33);
	CHECK_EQ(host__stat(host("f")).st_uid, geteuid());
	CHECK_EQ(guest__create(ROOT, "g", O_RDWR, 04755, &node, &fh), 0);
	CHECK_EQ(guest__entry()->attr.mode & 07777, 0755);
	guest__stop();
}

static void under_passthrough_ids_are_the_hosts(void)
{
	need_root();
	start(FS_OWNER_PASSTHROUGH);
	uint64_t node, fh;
	host__write(host("f"), "");
	CHECK_EQ(chown(host("f"), 1234, 5678), 0);
	node = guest__lookup(ROOT, "f");
	CHECK_EQ(guest__entry()->attr.uid, 1234);
	CHECK_EQ(guest__entry()->attr.gid, 5678);
	CHECK_EQ(guest__chown(node, 70, 80), 0);
	CHECK_EQ(host__stat(host("f")).st_uid, 70);
	CHECK_EQ(host__stat(host("f")).st_gid, 80);
	guest.uid = 1000;
	guest.gid = 1001;
	CHECK_EQ(guest__create(ROOT, "g", O_RDWR, 06755, &node, &fh), 0);
	CHECK_EQ(host__stat(host("g")).st_uid, 1000);
	CHECK_EQ(host__stat(host("g")).st_gid, 1001);
	CHECK_EQ(host__stat(host("g")).st_mode & 07777, 06755);
	CHECK_EQ(guest__mkdir(ROOT, "d", 0700), 0);
	CHECK_EQ(host__stat(host("d")).st_uid, 1000);
	CHECK_EQ(guest__symlink(ROOT, "l", "x"), 0);
	CHECK_EQ(host__stat(host("l")).st_uid, 1000);
	CHECK_EQ(guest__mknod(ROOT, "p", S_IFIFO | 0600, 0), 0);
	CHECK_EQ(host__stat(host("p")).st_uid, 1000);
	CHECK_EQ(mkdir(host("s"), 0755), 0);
	CHECK_EQ(chown(host("s"), 0, 42), 0);
	CHECK_EQ(chmod(host("s"), 02777), 0);
	uint64_t s = guest__lookup(ROOT, "s");
	CHECK_EQ(guest__create(s, "inner", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(host__stat(host("s/inner")).st_uid, 1000);
	CHECK_EQ(host__stat(host("s/inner")).st_gid, 42);
	guest__stop();
}

static void under_map_ranges_are_shifted_and_the_rest_is_nobodys(void)
{
	static const struct fs_id_range uids[] = {{0, 100000, 1000}, {1000, 5000, 1}};
	static const struct fs_id_range gids[] = {{0, 200000, 1000}};
	root = (struct fs_root){
		.name = "0",
		.ownership = FS_OWNER_MAP,
		.uid_map = {uids, 2},
		.gid_map = {gids, 1},
	};
	need_root();
	guest__start(&root, 1, true);
	uint64_t node, fh;
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(guest__entry()->attr.uid, 0);
	CHECK_EQ(host__stat(host("f")).st_uid, 100000);
	CHECK_EQ(host__stat(host("f")).st_gid, 200000);
	CHECK_EQ(guest__chown(node, 1000, 999), 0);
	CHECK_EQ(host__stat(host("f")).st_uid, 5000);
	CHECK_EQ(host__stat(host("f")).st_gid, 200999);
	CHECK_EQ(guest__chown(node, 1001, 0), -EINVAL);
	CHECK_EQ(guest__chown(node, 0, 1000), -EINVAL);
	CHECK_EQ(guest__chown(node, 100000, 0), -EINVAL);
	host__write(host("alien"), "");
	CHECK(guest__lookup(ROOT, "alien") != 0);
	CHECK_EQ(guest__entry()->attr.uid, 65534);
	CHECK_EQ(guest__entry()->attr.gid, 65534);
	guest.uid = 4000; /* a process the map does not know makes nothing */
	CHECK_EQ(guest__create(ROOT, "g", O_RDWR, 0644, &node, &fh), -EOVERFLOW);
	CHECK_EQ(access(host("g"), F_OK), -1);
	CHECK_EQ(guest__mkdir(ROOT, "d", 0755), -EOVERFLOW);
	CHECK_EQ(access(host("d"), F_OK), -1);
	guest__stop();
}

int main(void)
{
	CASE(under_root_every_file_is_roots_until_it_is_given_away);
	CASE(under_root_what_a_user_makes_is_that_users);
	CASE(under_root_special_bits_are_the_guests_own);
	CASE(under_root_a_users_set_user_id_program_does_not_become_roots);
	CASE(under_caller_every_file_is_the_askers);
	CASE(under_passthrough_ids_are_the_hosts);
	CASE(under_map_ranges_are_shifted_and_the_rest_is_nobodys);
	return check__done();
}
