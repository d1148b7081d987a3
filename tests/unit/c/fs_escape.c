/* virtio-fs, the escape kit: whatever the guest asks and whatever the host's tree does meanwhile, nothing outside the
 * share is read or written. Beside the share lies a secret, and each case checks that it is neither seen nor changed.
 */
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "fs_guest.h"
#include "virtio/fs/internal.h"

#define ROOT FUSE_ROOT_ID

static char outside[PATH_MAX];

static void plant_secret(void)
{
	snprintf(outside, sizeof(outside), "%s/outside", guest.top);
	CHECK_EQ(mkdir(outside, 0777), 0);
	snprintf(outside, sizeof(outside), "%s/outside/secret", guest.top);
	host__write(outside, "secret");
}

static void start(void)
{
	static struct fs_root root;
	root = (struct fs_root){.name = "0"};
	guest__start(&root, 1, true);
	plant_secret();
}

static void stop(void)
{
	char dir[PATH_MAX];
	unsigned count = 0;
	CHECK_STR(host__read(outside), "secret");
	CHECK_EQ(host__stat(outside).st_mode & 07777, 0644);
	CHECK_EQ(host__stat(outside).st_nlink, 1);
	snprintf(dir, sizeof(dir), "%s/outside", guest.top);
	DIR *stream = opendir(dir);
	CHECK(stream != NULL);
	while (readdir(stream))
		count++;
	closedir(stream);
	CHECK_EQ(count, 3); /* ".", "..", "secret" */
	guest__stop();
}

static void names_that_are_paths_are_refused_by_every_operation(void)
{
	start();
	static const char *const bad[] = {"",     ".",  "..", "/",    "../outside", "a/b",
					  "/etc", "a/", "./", "..//", "\x01/../.."};
	uint64_t node, fh;
	host__write(host("f"), "");
	uint64_t f = guest__lookup(ROOT, "f");
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		CHECK_EQ(guest__op(FUSE_LOOKUP, ROOT, NULL, 0, bad[i], NULL), -EINVAL);
		CHECK_EQ(guest__create(ROOT, bad[i], O_RDWR, 0644, &node, &fh), -EINVAL);
		CHECK_EQ(guest__mkdir(ROOT, bad[i], 0755), -EINVAL);
		CHECK_EQ(guest__mknod(ROOT, bad[i], S_IFREG | 0644, 0), -EINVAL);
		CHECK_EQ(guest__symlink(ROOT, bad[i], "x"), -EINVAL);
		CHECK_EQ(guest__link(f, ROOT, bad[i]), -EINVAL);
		CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, bad[i], NULL), -EINVAL);
		CHECK_EQ(guest__op(FUSE_RMDIR, ROOT, NULL, 0, bad[i], NULL), -EINVAL);
		CHECK_EQ(guest__rename(ROOT, bad[i], ROOT, "g", 0), -EINVAL);
		CHECK_EQ(guest__rename(ROOT, "f", ROOT, bad[i], 0), -EINVAL);
	}
	/* a name that hides a second one, and one without an end */
	struct fuse_in_header *in = driver__at(&guest.d, guest.request_gpa);
	memcpy(in + 1, "f\0../x", 7);
	CHECK_EQ(guest__request(FUSE_LOOKUP, ROOT, 7, 4096), -EINVAL);
	memcpy(in + 1, "fff", 3);
	CHECK_EQ(guest__request(FUSE_LOOKUP, ROOT, 3, 4096), -EINVAL);
	CHECK_EQ(guest__request(FUSE_LOOKUP, ROOT, 0, 4096), -EINVAL);
	stop();
}

static void symlinks_to_outside_are_only_read(void)
{
	start();
	static const char *const targets[] = {
		"../outside/secret", "../outside", "/etc/passwd", "/", "/proc/self/root", "..", "."};
	uint64_t node, fh;
	for (unsigned i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
		char name[16], target[PATH_MAX];
		snprintf(name, sizeof(name), "link%u", i);
		CHECK_EQ(guest__symlink(ROOT, name, targets[i]), 0); /* a guest may make any symlink */
		uint64_t link = guest__entry()->nodeid;
		CHECK_EQ(guest__entry()->attr.mode & S_IFMT, S_IFLNK);
		CHECK_EQ(guest__op(FUSE_READLINK, link, NULL, 0, NULL, NULL), 0);
		memcpy(target, guest__reply(), guest.reply_len);
		target[guest.reply_len] = 0;
		CHECK_STR(target, targets[i]);
		/* but nothing goes through it */
		CHECK_EQ(guest__open(link, O_RDONLY, &fh), -ELOOP);
		CHECK_EQ(guest__open(link, O_RDWR | O_TRUNC, &fh), -ELOOP);
		CHECK_EQ(guest__opendir(link, &fh), -ENOTDIR);
		CHECK_EQ(guest__op(FUSE_LOOKUP, link, NULL, 0, "secret", NULL), -ENOTDIR);
		CHECK_EQ(guest__create(link, "made", O_RDWR, 0644, &node, &fh), -ENOTDIR);
		CHECK_EQ(guest__op(FUSE_UNLINK, link, NULL, 0, "secret", NULL), -ENOTDIR);
		CHECK_EQ(guest__mkdir(link, "made", 0755), -ENOTDIR);
		CHECK_EQ(guest__rename(ROOT, name, link, "secret", 0), -ENOTDIR);
		CHECK_EQ(guest__chmod(link, 0777), -EOPNOTSUPP);
		CHECK(guest__truncate(link, 0) < 0);
		CHECK_EQ(guest__create(ROOT, name, O_RDWR, 0644, &node, &fh), -ESTALE);
		CHECK_EQ(guest__create(ROOT, name, O_RDWR | O_TRUNC, 0644, &node, &fh), -ESTALE);
		CHECK_EQ(guest__create(ROOT, name, O_RDWR | O_EXCL, 0644, &node, &fh), -EEXIST);
		CHECK_EQ(guest__setattr(link, (struct fuse_setattr_in){.valid = FATTR_MTIME, .mtime = 1}), 0);
		CHECK_EQ(host__stat(host("%s", name)).st_mtime, 1); /* the symlink's own time */
		CHECK_EQ(guest__chown(link, 5, 5), 0);
		uint8_t xattr[32] = {1};
		memcpy(xattr + 8, "user.x\0v", 8);
		CHECK_EQ(guest__op(FUSE_SETXATTR, link, xattr, 16, NULL, NULL), -EOPNOTSUPP);
	}
	CHECK(host__stat("/etc/passwd").st_mtime != 1);
	stop();
}

static void a_directory_swapped_for_a_symlink_is_stale(void)
{
	start();
	uint64_t node, fh;
	CHECK_EQ(mkdir(host("d"), 0755), 0);
	host__write(host("d/secret"), "ours");
	uint64_t d = guest__lookup(ROOT, "d");
	CHECK_EQ(rename(host("d"), host("gone")), 0);
	CHECK_EQ(symlink("../outside", host("d")), 0);
	CHECK_EQ(guest__op(FUSE_LOOKUP, d, NULL, 0, "secret", NULL), -ESTALE);
	CHECK_EQ(guest__create(d, "made", O_RDWR, 0644, &node, &fh), -ESTALE);
	CHECK_EQ(guest__op(FUSE_UNLINK, d, NULL, 0, "secret", NULL), -ESTALE);
	CHECK_EQ(guest__opendir(d, &fh), -ESTALE);
	CHECK_EQ(guest__lookup(ROOT, "d") != d, 1);
	CHECK_EQ(guest__entry()->attr.mode & S_IFMT, S_IFLNK);
	stop();
}

/* The host swaps `d`, a directory, and a symlink to outside, as fast as it can. */
static void *swap(void *arg)
{
	volatile bool *end = arg;
	while (!*end) {
		if (renameat2(AT_FDCWD, host("d"), AT_FDCWD, host("e"), 2 /* RENAME_EXCHANGE */))
			break;
	}
	return NULL;
}

static void renames_racing_every_operation_reach_nothing_outside(void)
{
	start();
	static volatile bool end;
	unsigned seen = 0, stale = 0;
	pthread_t thread;
	end = false;
	CHECK_EQ(mkdir(host("d"), 0755), 0);
	host__write(host("d/secret"), "inside");
	CHECK_EQ(symlink("../outside", host("e")), 0);
	CHECK_EQ(pthread_create(&thread, NULL, swap, (void *)&end), 0);
	for (int i = 0; i < 5000; i++) {
		uint64_t fh, node = 0;
		if (guest__op(FUSE_LOOKUP, ROOT, NULL, 0, "d", NULL))
			continue;
		uint64_t d = guest__entry()->nodeid;
		bool dir = S_ISDIR(guest__entry()->attr.mode);
		int err = guest__op(FUSE_LOOKUP, d, NULL, 0, "secret", NULL);
		CHECK(err == 0 || err == -ESTALE || err == -ENOTDIR);
		stale += err == -ESTALE;
		if (!err) {
			node = guest__entry()->nodeid;
			CHECK(dir && node);
			err = guest__open(node, O_RDWR, &fh);
			CHECK(err == 0 || err == -ESTALE);
			if (!err) {
				seen++;
				CHECK_EQ(guest__read(node, fh, 0, 6), 6);
				CHECK_EQ(memcmp(guest__reply(), "inside", 6), 0);
				CHECK_EQ(guest__write(node, fh, 0, "inside", 6, O_RDWR), 6);
				CHECK_EQ(guest__release(node, fh, false), 0);
			}
			guest__chmod(node, 0600 | (unsigned)(i & 077));
			guest__forget(node, 1 << 20);
		}
		if (!guest__create(d, "made", O_RDWR, 0644, &node, &fh)) {
			CHECK_EQ(guest__release(node, fh, false), 0);
			guest__forget(node, 1);
		}
		if (!guest__mkdir(d, "dir", 0755))
			guest__forget(guest__entry()->nodeid, 1);
		guest__op(FUSE_UNLINK, d, NULL, 0, "made", NULL);
		guest__op(FUSE_RMDIR, d, NULL, 0, "dir", NULL);
		guest__forget(d, 1 << 20); /* the next one walks there again */
	}
	end = true;
	pthread_join(thread, NULL);
	CHECK(seen > 0 && stale > 0);
	printf("# %u times inside, %u times stale\n", seen, stale);
	stop();
}

static void a_hard_link_to_outside_cannot_be_made(void)
{
	start();
	/* node numbers are the guest's only way to name what to link: none leads outside */
	for (uint64_t node = 2; node < 1000; node++)
		CHECK_EQ(guest__link(node, ROOT, "linked"), -ESTALE);
	CHECK_EQ(guest__link(0, ROOT, "linked"), -ESTALE);
	CHECK_EQ(guest__link(UINT64_MAX, ROOT, "linked"), -ESTALE);
	stop();
}

static void a_directory_moved_out_by_the_host_leads_no_further_up(void)
{
	start();
	CHECK_EQ(mkdir(host("d"), 0755), 0);
	uint64_t d = guest__lookup(ROOT, "d");
	CHECK_EQ(guest__op(FUSE_LOOKUP, d, NULL, 0, "..", NULL), -EINVAL);
	uint64_t fh;
	struct guest_dirent entries[8];
	CHECK_EQ(guest__opendir(ROOT, &fh), 0);
	CHECK_EQ(guest__list(ROOT, true, 4096, entries, 8), 3);
	for (int i = 0; i < 3; i++) /* not even the number of what lies above */
		CHECK(entries[i].ino != host__stat(guest.top).st_ino);
	stop();
}

static void device_nodes_fifos_and_sockets_of_the_host_are_never_opened(void)
{
	start();
	uint64_t fh, node;
	CHECK_EQ(mkfifo(host("fifo"), 0666), 0);
	int sock = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	snprintf(address.sun_path, sizeof(address.sun_path), "%.90s/sock", guest.host);
	CHECK_EQ(bind(sock, (struct sockaddr *)&address, sizeof(address)), 0);
	close(sock);
	bool device = mknod(host("device"), S_IFCHR | 0666, makedev(1, 5)) == 0; /* /dev/zero */
	static const char *const names[] = {"fifo", "sock", "device"};
	for (int i = 0; i < (device ? 3 : 2); i++) {
		node = guest__lookup(ROOT, names[i]);
		CHECK(node != 0);
		static const uint32_t flags[] = {O_RDONLY, O_WRONLY, O_RDWR, O_RDWR | O_TRUNC, O_RDONLY | O_NONBLOCK};
		for (unsigned j = 0; j < sizeof(flags) / sizeof(*flags); j++)
			CHECK_EQ(guest__open(node, flags[j], &fh), -ENXIO); /* and does not wait for a peer */
		CHECK_EQ(guest__create(ROOT, names[i], O_RDWR, 0644, &node, &fh), -ESTALE);
		CHECK(guest__truncate(guest__lookup(ROOT, names[i]), 0) < 0);
	}
	/* a file swapped for a fifo behind a node's back */
	host__write(host("f"), "");
	node = guest__lookup(ROOT, "f");
	CHECK_EQ(rename(host("fifo"), host("f")), 0);
	CHECK_EQ(guest__open(node, O_RDONLY, &fh), -ESTALE);
	stop();
}

static void a_mount_below_the_share_has_its_own_identity(void)
{
	start();
	CHECK_EQ(mkdir(host("a"), 0755), 0);
	CHECK_EQ(mkdir(host("b"), 0755), 0);
	host__write(host("a/f"), "A");
	if (mount(host("a"), host("b"), NULL, MS_BIND, NULL)) {
		guest__stop();
		SKIP("mounting is not permitted here");
	}
	uint64_t a = guest__lookup(ROOT, "a"), b = guest__lookup(ROOT, "b");
	bool announced = guest__entry()->attr.flags & FUSE_ATTR_SUBMOUNT;
	uint64_t fa = guest__lookup(a, "f"), fb = guest__lookup(b, "f");
	umount2(host("b"), MNT_DETACH);
	CHECK(announced);
	CHECK(a != b); /* one directory, two places: to the guest they are two */
	CHECK(fa != fb);
	stop();
}

static void a_mount_over_the_share_changes_nothing(void)
{
	start();
	char dir[PATH_MAX];
	uint64_t f, fh;
	host__write(host("f"), "ours");
	snprintf(dir, sizeof(dir), "%s/outside", guest.top);
	if (mount(dir, guest.host, NULL, MS_BIND, NULL)) {
		guest__stop();
		SKIP("mounting is not permitted here");
	}
	f = guest__lookup(ROOT, "f");
	uint64_t secret = guest__lookup(ROOT, "secret");
	int err = f ? guest__open(f, O_RDONLY, &fh) : -ENOENT;
	umount2(guest.host, MNT_DETACH);
	CHECK_EQ(err, 0); /* the share is the directory that was given, whatever its path leads to now */
	CHECK_EQ(secret, 0);
	stop();
}

static void names_of_any_bytes_and_up_to_255_of_them_are_good(void)
{
	start();
	char longest[256 + 1], odd[] = "\xff\xfe\x80 \n\t\"'\\$\x01", bytes[256];
	uint64_t node, fh;
	memset(longest, 'n', sizeof(longest));
	longest[256] = 0;
	CHECK_EQ(guest__create(ROOT, longest, O_RDWR, 0644, &node, &fh), -ENAMETOOLONG);
	CHECK_EQ(guest__op(FUSE_LOOKUP, ROOT, NULL, 0, longest, NULL), -ENAMETOOLONG);
	longest[255] = 0;
	CHECK_EQ(guest__create(ROOT, longest, O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(guest__lookup(ROOT, longest), node);
	CHECK_EQ(host__stat(host("%s", longest)).st_size, 0);
	CHECK_EQ(guest__create(ROOT, odd, O_RDWR, 0644, &node, &fh), 0);
	CHECK_EQ(guest__lookup(ROOT, odd), node);
	CHECK_EQ(host__stat(host("%s", odd)).st_size, 0);
	unsigned n = 0;
	for (int c = 1; c < 256; c++)
		if (c != '/')
			bytes[n++] = (char)c;
	bytes[n] = 0;
	CHECK_EQ(guest__create(ROOT, bytes, O_RDWR, 0644, &node, &fh), 0);
	struct guest_dirent entries[8];
	CHECK_EQ(guest__list(ROOT, true, 4096, entries, 8), 5);
	unsigned found = 0;
	for (int i = 0; i < 5; i++)
		found += !strcmp(entries[i].name, bytes) || !strcmp(entries[i].name, odd) ||
			 !strcmp(entries[i].name, longest);
	CHECK_EQ(found, 3);
	stop();
}

static void special_bits_do_not_reach_the_host(void)
{
	start();
	uint64_t node, fh;
	CHECK_EQ(guest__create(ROOT, "f", O_RDWR, 06755, &node, &fh), 0);
	CHECK_EQ(host__stat(host("f")).st_mode & 07777, 0755);
	CHECK_EQ(guest__chmod(node, 04755), 0);
	CHECK_EQ(host__stat(host("f")).st_mode & 07777, 0755);
	CHECK_EQ(guest__mknod(ROOT, "g", S_IFREG | 04755, 0), 0);
	CHECK_EQ(host__stat(host("g")).st_mode & 07777, 0755);
	stop();
}

static void a_file_alone_leads_to_nothing_beside_it(void)
{
	static struct fs_root roots[3];
	roots[0] = (struct fs_root){.name = "alone", .fd = GUEST_FILE};
	roots[1] = (struct fs_root){.name = "kept", .fd = GUEST_FILE, .read_only = true};
	roots[2] = (struct fs_root){.name = "dir"};
	guest__start(roots, 3, false);
	plant_secret();
	uint64_t node, fh, made;
	uint64_t alone = guest__lookup(ROOT, "alone"), kept = guest__lookup(ROOT, "kept"),
		 dir = guest__lookup(ROOT, "dir");
	CHECK(alone && kept && dir);
	struct fuse_attr attr;
	CHECK_EQ(guest__getattr(alone, &attr), 0);
	CHECK_EQ(attr.mode & S_IFMT, S_IFREG);
	CHECK_EQ(attr.flags & FUSE_ATTR_SUBMOUNT, 0);
	struct guest_dirent entries[8];
	CHECK_EQ(guest__list(ROOT, true, 4096, entries, 8), 5);
	CHECK_EQ(entries[2].type, DT_REG);
	CHECK_EQ(entries[4].type, DT_DIR);

	static const char *const names[] = {"..", ".", "kept", "dir"};
	for (unsigned i = 0; i < 4; i++) { /* it is no directory, whoever asks */
		CHECK(guest__op(FUSE_LOOKUP, alone, NULL, 0, names[i], NULL) != 0);
		CHECK(guest__create(alone, names[i], O_RDWR, 0644, &node, &fh) != 0);
		CHECK(guest__mkdir(alone, names[i], 0755) != 0);
		CHECK(guest__symlink(alone, names[i], "x") != 0);
		CHECK(guest__op(FUSE_UNLINK, alone, NULL, 0, names[i], NULL) != 0);
		CHECK(guest__rename(alone, names[i], dir, "x", 0) != 0);
		CHECK(guest__link(kept, alone, names[i]) != 0);
	}
	CHECK_EQ(guest__opendir(alone, &fh), -ENOTDIR);
	struct fuse_create_in tmp = {.flags = O_RDWR, .mode = S_IFREG | 0644};
	CHECK(guest__op(FUSE_TMPFILE, alone, &tmp, sizeof(tmp), "x", NULL) != 0);
	CHECK_EQ(guest__link(alone, dir, "x"), -EXDEV);
	CHECK_EQ(guest__rename(ROOT, "alone", dir, "x", 0), -EROFS);
	CHECK_EQ(guest__op(FUSE_UNLINK, ROOT, NULL, 0, "alone", NULL), -EROFS);

	CHECK_EQ(guest__open(kept, O_RDWR, &fh), -EROFS);
	CHECK_EQ(guest__truncate(kept, 0), -EROFS);
	CHECK_EQ(guest__chmod(kept, 0), -EROFS);
	CHECK_EQ(guest__open(kept, O_RDONLY, &fh), 0);
	CHECK_EQ(guest__read(kept, fh, 0, 100), 4);
	CHECK_EQ(guest__write(kept, fh, 0, "X", 1, O_RDWR), -EROFS);
	CHECK_EQ(guest__open(alone, O_RDWR, &fh), 0);
	CHECK_EQ(guest__write(alone, fh, 0, "A", 1, O_RDWR), 1);
	CHECK_STR(host__read(host("alone")), "Alone");
	CHECK_EQ(guest__release(alone, fh, false), 0);

	/* another file of its name, a link to the secret too, is not what is shared */
	CHECK_EQ(unlink(host("alone")), 0);
	CHECK_EQ(symlink("../outside/secret", host("alone")), 0);
	CHECK_EQ(guest__lookup(ROOT, "alone"), alone);
	CHECK_EQ(guest__open(alone, O_RDWR, &fh), 0);
	CHECK_EQ(guest__read(alone, fh, 0, 100), 5);
	CHECK_EQ(guest__create(dir, "made", O_RDWR, 0644, &made, &fh), 0);
	stop();
}

/* A process that was taken over has the session's descriptors, too. */
static void the_kept_way_to_descriptors_leads_nowhere_else(void)
{
	struct fs_session *s;
	struct statx here, up;
	int probe = (int)syscall(SYS_open_tree, AT_FDCWD, "/proc/self/fd", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (probe < 0)
		SKIP("mounting is not permitted here");
	close(probe);
	struct fs_root root = {.name = "0", .fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC)};
	struct fs_options options = {.tag = "t", .roots = {&root, 1}};
	CHECK_EQ(session__new(&options, &s), 0);
	CHECK_EQ(openat(s->proc, "../status", O_RDONLY), -1);
	CHECK_EQ(openat(s->proc, "../../version", O_RDONLY), -1);
	CHECK_EQ(openat(s->proc, "../../sys/kernel/core_pattern", O_WRONLY), -1);
	CHECK_EQ(openat(s->proc, "../../1/root", O_PATH), -1);
	CHECK_EQ(stat__at(s->proc, "", &here), 0);
	CHECK_EQ(stat__at(s->proc, "../../..", &up), 0);
	CHECK(here.stx_ino == up.stx_ino && here.stx_mnt_id == up.stx_mnt_id);
	session__free(s);
}

int main(void)
{
	CASE(names_that_are_paths_are_refused_by_every_operation);
	CASE(symlinks_to_outside_are_only_read);
	CASE(a_directory_swapped_for_a_symlink_is_stale);
	CASE(renames_racing_every_operation_reach_nothing_outside);
	CASE(a_hard_link_to_outside_cannot_be_made);
	CASE(a_directory_moved_out_by_the_host_leads_no_further_up);
	CASE(device_nodes_fifos_and_sockets_of_the_host_are_never_opened);
	CASE(a_mount_below_the_share_has_its_own_identity);
	CASE(a_mount_over_the_share_changes_nothing);
	CASE(names_of_any_bytes_and_up_to_255_of_them_are_good);
	CASE(special_bits_do_not_reach_the_host);
	CASE(a_file_alone_leads_to_nothing_beside_it);
	CASE(the_kept_way_to_descriptors_leads_nowhere_else);
	return check__done();
}
