/* What a VMM leaves behind: its logs go to the archive where they are logs, and the directory goes whatever is in it.
 */
#include "vmm/cleanup.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

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
	cleanup__run(top, NULL);
	CHECK(!there(top));
}

static void logs_are_kept(void)
{
	set_up();
	put(in(runtime, CONSOLE_LOG), "console\n");
	put(in(runtime, EVENTS_LOG), "events\n");
	put(in(runtime, "other"), "x");
	cleanup__run(runtime, archive);
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
	cleanup__run(runtime, archive);
	CHECK(!there(runtime));
	CHECK(!there(in(archive, CONSOLE_LOG)));
	CHECK(!there(in(archive, EVENTS_LOG)));

	CHECK_EQ(mkdir(runtime, 0700), 0);
	CHECK_EQ(link(secret, in(runtime, CONSOLE_LOG)), 0);
	CHECK_EQ(mkdir(in(runtime, EVENTS_LOG), 0700), 0);
	cleanup__run(runtime, archive);
	CHECK(!there(runtime));
	CHECK(!there(in(archive, CONSOLE_LOG)));
	CHECK(!there(in(archive, EVENTS_LOG)));
	CHECK(there(secret));
	tidy();
}

static void links_are_not_followed(void)
{
	set_up();
	CHECK_EQ(symlink(archive, in(runtime, "away")), 0);
	put(in(archive, "stays"), "x");
	cleanup__run(runtime, NULL);
	CHECK(!there(runtime));
	CHECK(there(in(archive, "stays")));
	tidy();
}

int main(void)
{
	CASE(logs_are_kept);
	CASE(planted_things_are_not);
	CASE(links_are_not_followed);
	return check__done();
}
