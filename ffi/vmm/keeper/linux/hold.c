/* What VMM and QEMU hold of this machine, all together: the keeper puts them into a cgroup where one is to be had. */
#include "vmm/keeper/hold.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/errno_name.h"
#include "common/failure.h"
#include "vmm/keeper/linux/scope.h"

#define ANSWER_MS 5000 /* systemd tells of all that it does, and this may not be among it */
#define END_MS 1000
#define END_STEP_MS 20

static void name_it(char *name, size_t size, pid_t keeper)
{
	snprintf(name, size, CGROUP_PREFIX "%d", (int)keeper);
}

void hold__init(struct hold *hold, const struct cgroup_limits *limits, pid_t keeper)
{
	*hold = (struct hold){.limits = *limits, .group.events = -1, .scope = -1};
	name_it(hold->name, sizeof(hold->name), keeper);
}

/* 0: asked, and no answer yet. */
static void say_of_systemd(struct hold *hold, int err)
{
	int len = snprintf(hold->why, sizeof(hold->why), "this user may make no cgroup (%s), and the user's systemd ",
			   errno_name(hold->denied));
	if (err)
		snprintf(hold->why + len, sizeof(hold->why) - (size_t)len, "makes none (%s)", errno_name(-err));
	else
		snprintf(hold->why + len, sizeof(hold->why) - (size_t)len, "is being asked for one");
}

static void ask_systemd(struct hold *hold)
{
	size_t len = strlen(hold->name);
	snprintf(hold->name + len, sizeof(hold->name) - len, ".scope");
	hold->asked = monotonic_ns();
	hold->scope = scope__ask(NULL, hold->name, &hold->limits, hold->pids, hold->count);
	say_of_systemd(hold, hold->scope < 0 ? hold->scope : 0);
}

void hold__take(struct hold *hold, pid_t vmm, pid_t child)
{
	if (hold->count)
		return;
	hold->pids[0] = vmm;
	hold->pids[1] = child;
	hold->count = child ? 2 : 1;
	int err = cgroup__home(&hold->home);
	if (err) {
		snprintf(hold->why, sizeof(hold->why), "this machine has no cgroups of version 2 at /sys/fs/cgroup");
		return;
	}
	err = cgroup__make(&hold->group, &hold->home, hold->name, &hold->limits, hold->pids, hold->count);
	hold->held = !err;
	if (err == -EDQUOT)
		snprintf(hold->why, sizeof(hold->why), "the cgroup that capsa runs in has a limit, and is not left");
	else if (err) {
		hold->denied = -err;
		ask_systemd(hold);
	}
}

struct pollfd hold__poll(const struct hold *hold)
{
	if (hold->scope >= 0)
		return (struct pollfd){.fd = hold->scope, .events = POLLIN};
	return (struct pollfd){.fd = hold->group.events, .events = POLLPRI};
}

/* `err`: why, where it ends without a hold. */
static void end_asking(struct hold *hold, int err)
{
	close(hold->scope);
	hold->scope = -1;
	if (!hold->held)
		say_of_systemd(hold, err);
}

/* Whether systemd will tell no more, or not in time: 0 or -errno. */
static int listen_to_systemd(struct hold *hold)
{
	char told[4096];
	ssize_t n = read(hold->scope, told, sizeof(told));
	if (n == 0)
		return -ECONNRESET;
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return -errno;
	return monotonic_ns() - hold->asked > ANSWER_MS * 1000000ULL ? -ETIMEDOUT : 0;
}

void hold__look(struct hold *hold)
{
	if (hold->scope < 0) {
		(void)hold__ran_out(hold);
		return;
	}
	int over = listen_to_systemd(hold);
	int err = cgroup__adopt(&hold->group, &hold->home, hold->name, hold->pids, hold->count);
	hold->held = !err;
	if (over || err != -EAGAIN)
		end_asking(hold, err == -EAGAIN ? over : err);
}

bool hold__ran_out(struct hold *hold)
{
	hold->ran_out = hold->ran_out || cgroup__ran_out(&hold->group);
	return hold->ran_out;
}

void hold__end(struct hold *hold)
{
	if (hold->scope >= 0)
		end_asking(hold, -ETIMEDOUT);
	if (hold->group.events >= 0)
		close(hold->group.events);
	hold->group.events = -1;
	if (hold->count)
		(void)cgroup__remove(&hold->home, hold->name);
}

void hold__end_of(pid_t keeper)
{
	struct cgroup_home home;
	char name[64];
	name_it(name, sizeof(name), keeper);
	for (unsigned ms = 0; cgroup__home(&home) == 0 && cgroup__remove(&home, name) == -EBUSY && ms < END_MS;
	     ms += END_STEP_MS)
		usleep(END_STEP_MS * 1000);
}
