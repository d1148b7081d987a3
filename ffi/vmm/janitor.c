/* The janitor: a last process that waits for keeper and VMM to be dead, and removes what they could not; until then it
 * opens the doors of the VMM. */
#include "vmm/janitor.h"

#include <errno.h>
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "vmm/cleanup.h"
#include "vmm/doors.h"
#include "vmm/keeper.h"
#include "vmm/link.h"

static void watch(const struct vmm_config *config, int vmm, int keeper, int doors)
{
	struct pollfd fds[] = {
		{.fd = vmm, .events = POLLIN}, {.fd = keeper, .events = POLLIN}, {.fd = doors, .events = POLLIN}};
	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			break;
		if (fds[2].revents && !doors__serve(doors, config)) {
			close(doors);
			fds[2].fd = -1;
		}
		if (fds[1].revents)
			fds[1].fd = -1;
		if (!fds[0].revents)
			continue;
		enum link_message message = link__take(vmm, NULL);
		if (message == LINK_CLOSED)
			fds[0].fd = -1;
		if (message == LINK_CLEAN) {
			cleanup__run(config->runtime_dir, config->archive, config->log_limit);
			link__tell(vmm, LINK_CLEANED);
		}
	}
	cleanup__run(config->runtime_dir, config->archive, config->log_limit);
}

int janitor__start(const struct vmm_config *config, int keeper, const int *close_fds, unsigned close_count, int *doors)
{
	int ends[2], sides[2];
	int err = link__pair(ends);
	if (!err) {
		err = doors__pair(sides);
		if (err) {
			close(ends[0]);
			close(ends[1]);
		}
	}
	if (err) {
		close(keeper);
		return err;
	}
	pid_t pid = fork();
	err = pid < 0 ? -errno : 0;
	if (pid == 0) {
		prctl(PR_SET_NAME, "capsa-janitor");
		stdio__detach();
		close(ends[0]);
		close(sides[0]);
		for (unsigned i = 0; i < close_count; i++)
			close(close_fds[i]);
		watch(config, ends[1], keeper, sides[1]);
		_exit(0);
	}
	close(keeper);
	close(ends[1]);
	close(sides[1]);
	if (err) {
		close(ends[0]);
		close(sides[0]);
		return err;
	}
	*doors = sides[0];
	return ends[0];
}
