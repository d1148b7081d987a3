/* What a VMM leaves behind: its logs go to the archive where they are logs, and the directory goes whatever is in it.
 */
#include "vmm/keeper/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define LIMIT 4096 /* of a log, bytes */

static char top[64], runtime[96], archive[96], secret[96];

static const char *in(const char *dir, const char *name)
{
	static char path[4][192];
	static unsigned next;
	char *at = path[next++ % 4];
	snprintf(at, sizeof(path[0]), "%s/%s", dir, name);
	return at;
}

static void put(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");
	CHECK(file != NULL);
	if (!file)
		return;
	fputs(text, file);
	fclose(file);
}

static bool there(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

static void set_up(void)
{
	snprintf(top, sizeof(top), "/tmp/capsa-cleanup-XXXXXX");
	CHECK(mkdtemp(top) != NULL);
	snprintf(runtime, sizeof(runtime), "%s/runtime", top);
	snprintf(archive, sizeof(archive), "%s/archive", top);
	snprintf(secret, sizeof(secret), "%s/secret", top);
	CHECK_EQ(mkdir(runtime, 0700), 0);
	CHECK_EQ(mkdir(archive, 0700), 0);
	put(secret, "of the host\n");
}

static void tidy(void)
{
	cleanup__run(top, NULL, LIMIT);
	CHECK(!there(top));
}

static void logs_are_kept(void)
{
	set_up();
	put(in(runtime, CONSOLE_LOG), "console\n");
	put(in(runtime, EVENTS_LOG), "events\n");
	put(in(runtime, "other"), "x");
	cleanup__run(runtime, archive, LIMIT);
	CHECK(!there(runtime));
	CHECK(there(in(archive, CONSOLE_LOG)));
	CHECK(there(in(archive, EVENTS_LOG)));
	CHECK(!there(in(archive, "other")));
	tidy();
}

static void planted_things_are_not(void)
{
	set_up();
	CHECK_EQ(symlink(secret, in(runtime, CONSOLE_LOG)), 0);
	CHECK_EQ(mkfifo(in(runtime, EVENTS_LOG), 0600), 0);
	cleanup__run(runtime, archive, LIMIT);
	CHECK(!there(runtime));
	CHECK(!there(in(archive, CONSOLE_LOG)));
	CHECK(!there(in(archive, EVENTS_LOG)));

	CHECK_EQ(mkdir(runtime, 0700), 0);
	CHECK_EQ(link(secret, in(runtime, CONSOLE_LOG)), 0);
	CHECK_EQ(mkdir(in(runtime, EVENTS_LOG), 0700), 0);
	cleanup__run(runtime, archive, LIMIT);
	CHECK(!there(runtime));
	CHECK(!there(in(archive, CONSOLE_LOG)));
	CHECK(!there(in(archive, EVENTS_LOG)));
	CHECK(there(secret));
	tidy();
}

/* ---- a VMM that lives, and changes what has the name of a log once that was looked at ---- */

static void (*swap)(const char *log);
static bool apart; /* the archive is on another file system */

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (swap && strcmp(from, CONSOLE_LOG) == 0) {
		CHECK_EQ(unlink(in(runtime, from)), 0);
		swap(in(runtime, from));
		if (apart) {
			errno = EXDEV;
			return -1;
		}
	}
	return (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
}

static void swap_link(const char *log)
{
	CHECK_EQ(symlink(secret, log), 0);
}

static void swap_second_name(const char *log)
{
	CHECK_EQ(link(secret, log), 0);
}

static void swap_fifo(const char *log)
{
	CHECK_EQ(mkfifo(log, 0600), 0);
}

static void swap_directory(const char *log)
{
	CHECK_EQ(mkdir(log, 0700), 0);
	CHECK_EQ(symlink(secret, in(log, "link")), 0);
}

static void what_takes_a_logs_place_in_between_is_not_kept(void)
{
	static void (*const swaps[])(const char *) = {swap_link, swap_second_name, swap_fifo, swap_directory};
	for (unsigned i = 0; i < 2 * sizeof(swaps) / sizeof(swaps[0]); i++) {
		set_up();
		put(in(runtime, CONSOLE_LOG), "console\n");
		put(in(runtime, EVENTS_LOG), "events\n");
		swap = swaps[i / 2];
		apart = i % 2;
		alarm(10); /* nobody writes to the FIFO */
		cleanup__run(runtime, archive, LIMIT);
		alarm(0);
		swap = NULL;
		CHECK(!there(runtime));
		CHECK(!there(in(archive, CONSOLE_LOG)));
		CHECK(there(in(archive, EVENTS_LOG)));
		CHECK(there(secret));
		tidy();
	}
}

static void links_are_not_followed(void)
{
	set_up();
	CHECK_EQ(symlink(archive, in(runtime, "away")), 0);
	put(in(archive, "stays"), "x");
	cleanup__run(runtime, NULL, LIMIT);
	CHECK(!there(runtime));
	CHECK(there(in(archive, "stays")));
	tidy();
}

static void depth_is_no_obstacle(void)
{
	set_up();
	int at = open(runtime, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 1000; i++) { /* deeper than there are descriptors, on many machines */
		CHECK_EQ(mkdirat(at, "d", 0700), 0);
		CHECK_EQ(symlinkat(secret, at, "link"), 0);
		int inner = openat(at, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
		CHECK(inner >= 0);
		close(at);
		at = inner;
	}
	close(at);
	cleanup__run(runtime, NULL, LIMIT);
	CHECK(!there(runtime));
	CHECK(there(secret));
	tidy();
}

/* As an ordinary user: nothing is closed to root. */
static int clean_closed(void)
{
	if (geteuid() == 0 && setuid(65534) < 0)
		return 1;
	char own[] = "/tmp/capsa-cleanup-XXXXXX";
	if (!mkdtemp(own) || mkdir(in(own, "a"), 0700) < 0 || mkdir(in(own, "a/b"), 0700) < 0)
		return 1;
	put(in(own, "a/b/file"), "x");
	if (chmod(in(own, "a/b"), 0) < 0 || chmod(in(own, "a"), 0) < 0)
		return 1;
	cleanup__run(own, NULL, LIMIT);
	return there(own);
}

static void directories_without_permissions_go_as_well(void)
{
	int status = -1;
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		_exit(clean_closed());
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK_EQ(status, 0);
}

static void a_log_that_was_made_longer_than_disks_is_cut(void)
{
	set_up();
	char far[] = "/dev/shm/capsa-cleanup-XXXXXX";
	struct stat here, away, kept;
	if (!mkdtemp(far) || stat(runtime, &here) < 0 || stat(far, &away) < 0 || here.st_dev == away.st_dev) {
		cleanup__run(far, NULL, LIMIT);
		tidy();
		SKIP("/dev/shm is no file system beside that of /tmp");
	}
	put(in(runtime, EVENTS_LOG), "events\n");
	CHECK_EQ(truncate(in(runtime, EVENTS_LOG), 1LL << 40), 0);
	cleanup__run(runtime, far, LIMIT);
	CHECK(!there(runtime));
	CHECK_EQ(stat(in(far, EVENTS_LOG), &kept), 0);
	CHECK_EQ(kept.st_size, LIMIT);
	cleanup__run(far, NULL, LIMIT);
	tidy();
}

int main(void)
{
	CASE(logs_are_kept);
	CASE(planted_things_are_not);
	CASE(what_takes_a_logs_place_in_between_is_not_kept);
	CASE(links_are_not_followed);
	CASE(depth_is_no_obstacle);
	CASE(directories_without_permissions_go_as_well);
	CASE(a_log_that_was_made_longer_than_disks_is_cut);
	return check__done();
}
