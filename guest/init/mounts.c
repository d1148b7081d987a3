/* The file systems of a sandbox: its root, the kernel's own, and the shares. */
#include "init/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "process/directories.h"

/* The places in the initramfs that exist only while it is at work. */
#define SHARES "/capsa/fs"
#define UPPERS "/capsa/upper"
#define ROOT "/capsa/root"

enum { OPTIONS = 4096, READ_AHEAD_KIB = 1024 };

/* Descriptors of the two mounts that are out of sight in the end; -1 where not needed. */
struct stage {
	int shares, uppers;
};

__attribute__((format(printf, 3, 4))) static int fail(struct mount_failure *failure, int err, const char *format, ...)
{
	err = err < 0 ? -err : err;
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(failure->message, sizeof(failure->message), format, arguments);
	va_end(arguments);
	size_t length = strlen(failure->message);
	snprintf(failure->message + length, sizeof(failure->message) - length, ": %s", strerror(err));
	return -err;
}

/* Mount a file system at a place only init sees, and open it. Returns the descriptor or -errno. */
static int mount_aside(const char *source, const char *type, const char *place, const char *options)
{
	if (mkdir(place, 0700) && errno != EEXIST)
		return -errno;
	if (mount(source, place, type, MS_NOSUID | MS_NODEV, options))
		return -errno;
	int fd = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err = errno;
	return fd < 0 ? -err : fd;
}

/* Directories for the writable side of an overlay, in the uppers' tmpfs. */
static int make_upper(const struct stage *stage, const char *name)
{
	if (mkdirat(stage->uppers, name, 0755))
		return -errno;
	char path[64];
	snprintf(path, sizeof(path), "%s/upper", name);
	if (mkdirat(stage->uppers, path, 0755))
		return -errno;
	snprintf(path, sizeof(path), "%s/work", name);
	return mkdirat(stage->uppers, path, 0755) ? -errno : 0;
}

/* Overlay the lower directories and make that the root. */
static int enter_root(const struct plan *plan, const struct stage *stage, struct mount_failure *failure)
{
	char options[OPTIONS];
	size_t length = (size_t)snprintf(options, sizeof(options),
					 "upperdir=" UPPERS "/root/upper,workdir=" UPPERS "/root/work,lowerdir=");
	int err = make_upper(stage, "root");
	if (err)
		return fail(failure, err, "root file system: the overlay's directories");
	for (size_t i = 0; i < plan->lower.count; i++) {
		const char *name = plan->lower.list[i];
		/* opening it also makes the kernel mount it, if it is a mount of its own on the host side */
		int fd = openat(stage->shares, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return fail(failure, errno, "root file system: layer %s", name);
		close(fd);
		length += (size_t)snprintf(options + length, sizeof(options) - length, "%s" SHARES "/%s", i ? ":" : "",
					   name);
		if (length >= sizeof(options))
			return fail(failure, E2BIG, "root file system: %zu layers", plan->lower.count);
	}
	if ((mkdir(ROOT, 0755) && errno != EEXIST) || mount("overlay", ROOT, "overlay", 0, options))
		return fail(failure, errno, "root file system: overlay of %s", options);
	/* the base's one large file would only take memory from now on */
	unlink("/bin/busybox");
	if (chdir(ROOT) || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		return fail(failure, errno, "root file system: cannot be entered");
	return 0;
}

static const struct kernel_mount {
	const char *type, *target;
	unsigned long flags;
	const char *options;
	bool optional; /* not every kernel has it */
} kernel_mounts[] = {
	{"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, false},
	{"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, true},
	{"devtmpfs", "/dev", MS_NOSUID, "mode=0755", false},
	{"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666", true},
	{"tmpfs", "/dev/shm", MS_NOSUID | MS_NODEV, "mode=1777", false},
	{"tmpfs", "/tmp", MS_NOSUID | MS_NODEV, "mode=1777", false},
	{"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755", false},
	{"cgroup2", "/sys/fs/cgroup", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL, true},
};

static int mount_kernels_own(struct mount_failure *failure)
{
	static const char *const links[][2] = {
		{"/proc/self/fd", "/dev/fd"},       {"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"}, {"/proc/self/fd/2", "/dev/stderr"},
		{"pts/ptmx", "/dev/ptmx"},
	};
	for (size_t i = 0; i < sizeof(kernel_mounts) / sizeof(*kernel_mounts); i++) {
		const struct kernel_mount *it = &kernel_mounts[i];
		int err = mount(it->type, it->target, it->type, it->flags, it->options) ? errno : 0;
		if (err == ENOENT) {
			err = -directories__make(it->target);
			if (!err && mount(it->type, it->target, it->type, it->flags, it->options))
				err = errno;
		}
		if (err && !it->optional)
			return fail(failure, err, "%s at %s", it->type, it->target);
	}
	for (size_t i = 0; i < sizeof(links) / sizeof(*links); i++)
		if (symlink(links[i][0], links[i][1]) && errno != EEXIST)
			return fail(failure, errno, "%s", links[i][1]);
	return 0;
}

/* A place to mount on: a directory for a directory, for a file a file, empty where it is new. */
static int make_target(const struct plan_mount *it, const struct stage *stage)
{
	struct stat source;
	/* what it is came with its name: asking on would count as a use of the share */
	if (fstatat(stage->shares, it->name, &source, AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC))
		return -errno;
	struct stat status;
	if (stat(it->target, &status) == 0)
		return S_ISDIR(status.st_mode) == S_ISDIR(source.st_mode) ? 0
		       : S_ISDIR(status.st_mode)                          ? -EISDIR
									  : -ENOTDIR;
	if (S_ISDIR(source.st_mode))
		return directories__make(it->target);
	int err = directories__make_above(it->target);
	if (err)
		return err;
	int fd = open(it->target, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* Overlays are parts of the system rather than data: programs in them may keep their set-id bits. */
static int mount_overlay(const struct plan_mount *it, size_t index, const struct stage *stage)
{
	char name[32];
	snprintf(name, sizeof(name), "%zu", index);
	int err = make_upper(stage, name);
	if (err)
		return err;
	int lower = openat(stage->shares, it->name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (lower < 0)
		return -errno;
	char options[OPTIONS];
	snprintf(options, sizeof(options),
		 "lowerdir=/proc/self/fd/%d,upperdir=/proc/self/fd/%d/%s/upper,workdir=/proc/self/fd/%d/%s/work", lower,
		 stage->uppers, name, stage->uppers, name);
	err = mount(it->name, it->target, "overlay", MS_NODEV, options) ? -errno : 0;
	close(lower);
	return err;
}

static int mount_share(const struct plan_mount *it, size_t index, const struct stage *stage,
		       struct mount_failure *failure)
{
	unsigned long flags = MS_NOSUID | MS_NODEV | (it->read_only ? MS_RDONLY : 0UL);
	int err = make_target(it, stage);
	if (err)
		return fail(failure, err, "share at %s: the place cannot be made%s", it->target,
			    err == -EROFS ? " (it lies in a read-only share; make it there on the host)" : "");
	if (it->overlay) {
		err = mount_overlay(it, index, stage);
		return err ? fail(failure, err, "share at %s: overlay of %s", it->target, it->name) : 0;
	}
	char source[PATH_MAX];
	snprintf(source, sizeof(source), "/proc/self/fd/%d/%s", stage->shares, it->name);
	if (mount(source, it->target, NULL, MS_BIND, NULL) ||
	    mount(NULL, it->target, NULL, MS_BIND | MS_REMOUNT | flags, NULL))
		return fail(failure, errno, "share at %s: %s", it->target, it->name);
	return 0;
}

/* Take a mount made aside out of every reach; those made of its parts live on. */
static int hide(int fd)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return umount2(path, MNT_DETACH) ? -errno : 0;
}

/* Whoever reads in a row has the kernel ask for so much at once: a request costs much the same whatever its size. A
 * guest without sysfs has the kernel's own 128 KiB. */
static void set_read_ahead(int shares)
{
	struct stat status;
	if (fstat(shares, &status))
		return;
	char path[64];
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(status.st_dev), minor(status.st_dev));
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	dprintf(fd, "%d", READ_AHEAD_KIB);
	close(fd);
}

static bool needs_uppers(const struct plan *plan)
{
	for (size_t i = 0; i < plan->mount_count; i++)
		if (plan->mounts[i].overlay)
			return true;
	return plan->lower.count > 0;
}

int mounts__make(const struct plan *plan, int *shares, struct mount_failure *failure)
{
	struct stage stage = {.shares = -1, .uppers = -1};
	int err = 0;
	if (plan->fs_tag) {
		stage.shares = mount_aside(plan->fs_tag, "virtiofs", SHARES, NULL);
		if (stage.shares < 0)
			return fail(failure, stage.shares, "shares: virtio-fs device \"%s\"", plan->fs_tag);
	}
	if (needs_uppers(plan)) {
		stage.uppers = mount_aside("overlay", "tmpfs", UPPERS, "mode=0755");
		if (stage.uppers < 0)
			return fail(failure, stage.uppers, "tmpfs for overlays");
	}
	if (plan->lower.count)
		err = enter_root(plan, &stage, failure);
	if (!err)
		err = mount_kernels_own(failure);
	if (stage.shares >= 0)
		set_read_ahead(stage.shares);
	for (size_t i = 0; i < plan->mount_count && !err; i++)
		err = mount_share(&plan->mounts[i], i, &stage, failure);
	if (err)
		return err;
	if (stage.uppers >= 0) {
		err = hide(stage.uppers);
		close(stage.uppers);
	}
	if (stage.shares >= 0 && !err)
		err = hide(stage.shares);
	*shares = stage.shares;
	if (err)
		return fail(failure, err, "shares: cannot be taken out of sight");
	if (!plan->lower.count) {
		rmdir(SHARES);
		rmdir(UPPERS);
		rmdir("/capsa");
	}
	return 0;
}

void mounts__undo(const struct plan *plan)
{
	for (size_t i = plan->mount_count; i-- > 0;)
		umount2(plan->mounts[i].target, UMOUNT_NOFOLLOW);
}
