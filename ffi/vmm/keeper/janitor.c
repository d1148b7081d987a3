/* The janitor: a last process that waits for keeper and VMM to be dead, and removes what they could not; until then it
 * opens the doors of the VMM. Where the keeper is dead it ends a VMM that does not end by itself. */
#include "vmm/keeper/janitor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

#include "common/clock.h"
#include "os/process.h"
#include "vmm/build/doors.h"
#include "vmm/keeper/cleanup.h"
#include "vmm/keeper/hold.h"
#include "vmm/keeper/link.h"

/* What is asked of it counts once the keeper is dead: until then that is whom the VMM asks, and who sees to its end. */
static void watch(const struct vmm_config *config, int vmm, int pidfd, int keeper, int doors)
{
	enum { LINK, PROCESS, KEEPER, DOORS, COUNT };
	struct pollfd fds[COUNT] = {[LINK] = {.fd = vmm, .events = POLLIN},
				    [PROCESS] = {.fd = pidfd, .events = POLLIN},
				    [KEEPER] = {.fd = keeper, .events = POLLIN},
				    [DOORS] = {.fd = doors, .events = POLLIN}};
	bool asked = false, cleaned = false;
	int64_t kill_at = INT64_MAX;
	while (fds[LINK].fd >= 0 || fds[PROCESS].fd >= 0 || fds[KEEPER].fd >= 0) {
		int64_t left = kill_at == INT64_MAX ? -1 : kill_at > monotonic_ms() ? kill_at - monotonic_ms() : 0;
		if (poll(fds, COUNT, (int)left) < 0 && errno != EINTR)
			break;
		if (fds[DOORS].revents && !doors__serve(doors, config)) {
			close(doors);
			fds[DOORS].fd = -1;
		}
		if (fds[KEEPER].revents) {
			fds[KEEPER].fd = -1;
			kill_at = monotonic_ms() + LINK_DELIVER_MS;
		}
		if (monotonic_ms() >= kill_at) {
			(void)process__signal(pidfd, SIGKILL);
			kill_at = INT64_MAX;
		}
		enum link_message message = fds[LINK].revents ? link__take(vmm, NULL) : LINK_NOTHING;
		asked = asked || message == LINK_CLEAN;
		if (message == LINK_CLOSED)
			fds[LINK].fd = -1;
		if (fds[PROCESS].revents) /* its link may be open still: somewhere else, on its way */
			fds[LINK].fd = fds[PROCESS].fd = -1;
		if (asked && !cleaned && fds[KEEPER].fd < 0) {
			cleanup__after(config);
			cleaned = true;
			link__tell(vmm, LINK_CLEANED);
		}
	}
	cleanup__after(config);
}

/* What janitor__start needs besides: all or none of it. The VMM's pidfd is negative before Linux 5.3. */
static int make_ends(int ends[2], int sides[2], int *pidfd)
{
	int err = link__pair(ends);
	if (err)
		return err;
	err = doors__pair(sides);
	if (err) {
		close(ends[0]);
		close(ends[1]);
		return err;
	}
	*pidfd = process__open(getpid());
	return 0;
}

int janitor__start(const struct vmm_config *config, pid_t keeper_pid, int keeper, const int *close_fds,
		   unsigned close_count, int *doors)
{
	int ends[2], sides[2], pidfd;
	int err = make_ends(ends, sides, &pidfd);
	if (err) {
		close(keeper);
		return err;
	}
	pid_t pid = fork();
	err = pid < 0 ? -errno : 0;
	if (pid == 0) {
		process__name("capsa-janitor");
		stdio__detach();
		close(ends[0]);
		close(sides[0]);
		for (unsigned i = 0; i < close_count; i++)
			close(close_fds[i]);
		watch(config, ends[1], pidfd, keeper, sides[1]);
		hold__end_of(keeper_pid);
		_exit(0);
	}
	close(keeper);
	close(ends[1]);
	close(sides[1]);
	if (pidfd >= 0)
		close(pidfd);
	if (err) {
		close(ends[0]);
		close(sides[0]);
		return err;
	}
	*doors = sides[0];
	return ends[0];
}
