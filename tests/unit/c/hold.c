/* What is told of a hold for which the user's systemd was asked in vain; that one is made up here. */
#include "vmm/keeper/hold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "common/clock.h"

static int systemd; /* its end of the connection */
static struct hold hold;

/* As after the asking. */
static void ask(void)
{
	const struct cgroup_limits limits = {.memory = 64U << 20, .swap = 0, .processes = 16};
	int pair[2];
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	hold__init(&hold, &limits, getpid());
	hold.pids[0] = getpid();
	hold.count = 1;
	hold.denied = EACCES;
	hold.asked = monotonic_ns();
	hold.scope = pair[0];
	systemd = pair[1];
	CHECK_EQ(write(systemd, "OK\r\n", 4), 4);
	hold__look(&hold);
	CHECK_EQ(hold.scope, pair[0]);
	CHECK_STR(hold.why, "");
}

static void is_told(const char *reason)
{
	char words[160];
	snprintf(words, sizeof(words), "this user may make no cgroup (EACCES), and the user's systemd makes none (%s)",
		 reason);
	CHECK_EQ(hold.scope, -1);
	CHECK(!hold.held);
	CHECK_STR(hold.why, words);
}

static void it_hangs_up(void)
{
	ask();
	close(systemd);
	hold__look(&hold);
	is_told("ECONNRESET");
}

static void it_tells_of_other_things_for_too_long(void)
{
	ask();
	hold.asked -= 60000000000;
	CHECK_EQ(write(systemd, "OK\r\n", 4), 4);
	hold__look(&hold);
	is_told("ETIMEDOUT");
	close(systemd);
}

static void all_is_over_before_it_answers(void)
{
	ask();
	hold__end(&hold);
	is_told("ETIMEDOUT");
	close(systemd);
}

int main(void)
{
	CASE(it_hangs_up);
	CASE(it_tells_of_other_things_for_too_long);
	CASE(all_is_over_before_it_answers);
	return check__done();
}
