/* Landlock: file system rights for the shares and the runtime directory, or for a program's own files, none anywhere
 * else, and no TCP where the guest has no network. */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine/linux/internal.h"

/* Newer than the oldest <linux/landlock.h> we build with. */
#define ACCESS_FS_TRUNCATE (1ULL << 14)  /* ABI 3 */
#define ACCESS_FS_IOCTL_DEV (1ULL << 15) /* ABI 5 */
#define ACCESS_NET_TCP 3ULL              /* ABI 4: bind, connect */
#define SCOPE_ABSTRACT_SOCKETS 1ULL      /* ABI 6 */
#define SCOPE_SIGNALS 2ULL               /* ABI 6 */

struct ruleset {
	uint64_t handled_fs, handled_net, scoped;
};

/* What there is to allow of a file; of more than that Landlock wants a directory. */
#define OF_FILES                                                                                                       \
	(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_READ_FILE |                   \
	 ACCESS_FS_TRUNCATE | ACCESS_FS_IOCTL_DEV)
#define READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ABI_1 ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)

static struct ruleset ruleset__for(int abi, bool network, bool program)
{
	struct ruleset rules = {.handled_fs = ABI_1};
	if (abi >= 2)
		rules.handled_fs |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		rules.handled_fs |= ACCESS_FS_TRUNCATE;
	if (abi >= 4 && !network)
		rules.handled_net = ACCESS_NET_TCP;
	if (abi >= 5)
		rules.handled_fs |= ACCESS_FS_IOCTL_DEV;
	if (abi >= 6) /* the VMM sends signals to QEMU, which is in no room of the VMM's */
		rules.scoped = program ? SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS : SCOPE_ABSTRACT_SOCKETS;
	return rules;
}

static int ruleset__allow_fd(int ruleset, int fd, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
	struct stat status;
	if (!fstat(fd, &status) && !S_ISDIR(status.st_mode))
		rule.allowed_access &= OF_FILES;
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

static int ruleset__allow(int ruleset, const char *path, uint64_t access)
{
	int fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	int error = ruleset__allow_fd(ruleset, fd, access);
	close(fd);
	return error;
}

static int allow_part(void *arg, const char *path, bool executable)
{
	return ruleset__allow(*(const int *)arg, path, executable ? READ | LANDLOCK_ACCESS_FS_EXECUTE : READ);
}

static int ruleset__fill_for_program(int ruleset, const struct confine_program *program)
{
	int error = program__each_file(program, allow_part, &ruleset);
	for (unsigned i = 0; i < program->file_count && !error; i++)
		error = ruleset__allow_fd(ruleset, program->files[i], LANDLOCK_ACCESS_FS_READ_FILE);
	return error;
}

/* Device nodes are made by nobody, and nothing is executed. Where whiteouts are made, which to Landlock are character
 * devices, the kernel itself refuses all others: there is no CAP_MKNOD. */
static int ruleset__fill(int ruleset, uint64_t handled, const struct confine_request *request)
{
	const uint64_t write = handled & ~(uint64_t)(LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
						     LANDLOCK_ACCESS_FS_MAKE_BLOCK | ACCESS_FS_IOCTL_DEV);
	int error = ruleset__allow(ruleset, request->runtime_dir, write);
	for (unsigned i = 0; i < request->share_count && !error; i++)
		error = ruleset__allow_fd(ruleset, request->shares[i].fd,
					  request->shares[i].read_only   ? READ
					  : request->shares[i].whiteouts ? write | LANDLOCK_ACCESS_FS_MAKE_CHAR
									 : write);
	return error;
}

void files__prepare(struct confine_work *work)
{
	int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	work->landlock = abi < 0 ? 0 : abi;
	work->ruleset = abi < 0 ? -errno : -ENOSYS;
	if (abi < 2) /* the first version forbids renames between directories altogether: shares would break */
		return;
	const struct confine_program *program = work->request->program;
	struct ruleset rules = ruleset__for(abi, work->request->network, program);
	int fd = (int)syscall(SYS_landlock_create_ruleset, &rules, abi < 4 ? 8 : abi < 6 ? 16 : 24, 0);
	int error = fd < 0    ? -errno
		    : program ? ruleset__fill_for_program(fd, program)
			      : ruleset__fill(fd, rules.handled_fs, work->request);
	if (error && fd >= 0)
		close(fd);
	work->ruleset = error ? error : fd;
}

int layer__files(struct confine_work *work, struct confine_detail detail)
{
	if (work->ruleset < 0 && work->landlock < 2) {
		detail__say(detail, "this kernel has %s",
			    work->landlock ? "only version 1 of Landlock" : "no Landlock");
		return work->ruleset;
	}
	int error = work->ruleset;
	if (work->ruleset >= 0) {
		error = syscall(SYS_landlock_restrict_self, work->ruleset, 0) < 0 ? -errno : 0;
		close(work->ruleset);
	}
	if (error)
		detail__say(detail, "Landlock: %s", strerror(-error));
	else
		detail__say(detail, "Landlock version %d: %s only", work->landlock,
			    work->request->program ? "its own files" : "shares and its sockets' directory");
	return error;
}
