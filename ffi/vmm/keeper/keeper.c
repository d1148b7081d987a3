/* The keeper: a small process beside the VMM proper that outlives it, whatever becomes of it, and tidies up. */
#include "vmm/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/frame.h"
#include "net/config.h"
#include "os/process.h"
#include "os/socket.h"
#include "vmm/build/allowance.h"
#include "vmm/build/handover.h"
#include "vmm/keeper/cleanup.h"
#include "vmm/keeper/hold.h"
#include "vmm/keeper/janitor.h"
#include "vmm/keeper/link.h"

#define GRACE_MS 1500 /* from being told to end to being killed */
#define LAST_WORDS_MS 1000
#define OTHERS_MS 5000 /* for what it left behind to end */

static void block_signals(void)
{
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGPIPE);
	sigaddset(&signals, PROCESS_BEGIN);
	sigprocmask(SIG_BLOCK, &signals, NULL);
}

int keeper__split(struct keeper *keeper, const struct vmm_config *config, int control)
{
	int link[2] = {-1, -1}, tie[2] = {-1, -1};
	const unsigned lans = vmm_config__lans(config);
	int vmms[2 + NET_LANS] = {control}; /* that the janitor must not hold open */
	block_signals();
	*keeper = (struct keeper){.config = config, .control = control, .pid = getpid(), .doors = -1};
	keeper->shared = mmap(NULL, sizeof(*keeper->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int err = keeper->shared == MAP_FAILED ? -errno : pipe__new(tie);
	if (err)
		return err;
	err = link__pair(link);
	if (err) {
		close(tie[0]);
		close(tie[1]);
		return err;
	}
	pid_t pid = fork();
	if (pid == 0) {
		close(link[0]);
		close(tie[1]);
		/* in the place of the configuration, which was read */
		keeper->link = descriptor__replace(LINK_FD, link[1]) < 0 ? -1 : LINK_FD;
		close(link[1]);
		vmms[1] = LINK_FD;
		for (unsigned i = 0; i < lans; i++)
			vmms[2 + i] = HANDOVER_LISTENERS + (int)i;
		keeper->janitor = janitor__start(config, keeper->pid, tie[0], vmms, 2 + lans, &keeper->doors);
		return 0; /* without a janitor, keeper and VMM still have each other; but no doors are opened */
	}
	err = pid < 0 ? -errno : 1;
	close(LINK_FD);
	close(link[1]);
	close(tie[0]);
	/* nobody should find an open door when the VMM is dead */
	for (unsigned i = 0; i < lans; i++)
		close(HANDOVER_LISTENERS + (int)i);
	keeper->vmm = pid;
	keeper->link = link[0];
	keeper->janitor = tie[1];
	if (pid < 0) {
		close(link[0]);
		close(tie[1]);
	}
	return err;
}

/* In the VMM */

void keeper__made(const struct keeper *keeper, pid_t engine)
{
	link__tell_number(keeper->link, LINK_MADE, (int)engine);
}

void keeper__detach(const struct keeper *keeper)
{
	link__tell(keeper->link, LINK_DETACH);
}

void keeper__clean(const struct keeper *keeper)
{
	if (!link__ask_clean(keeper->link) && !(keeper->janitor >= 0 && link__ask_clean(keeper->janitor)))
		cleanup__after(keeper->config);
}

/* In the keeper */

struct watch {
	struct keeper *keeper;
	int signals;
	int pidfd; /* of the VMM; -1 before Linux 5.3 */
	bool detached;
	bool cleaned;
	bool waits;  /* its time has not begun */
	bool over;   /* the link is closed: the VMM is dead or as good as that */
	int trapped; /* the system call for which it ended; -1: none */
	bool made;
	struct hold hold;
	int64_t kill_at;
};

static void set_deadline(struct watch *watch, int64_t ms)
{
	int64_t at = monotonic_ms() + ms;
	if (!watch->kill_at || watch->kill_at > at)
		watch->kill_at = at;
}

/* It asks when it ends. One that was taken over may not end, and gains no time by asking. */
static void clean_for_vmm(struct watch *watch)
{
	if (!watch->cleaned)
		cleanup__after(watch->keeper->config);
	watch->cleaned = true;
	set_deadline(watch, LINK_DELIVER_MS);
	link__tell(watch->keeper->link, LINK_CLEANED);
}

static void tell_held(const struct watch *watch)
{
	atomic_store(&watch->keeper->shared->held, watch->hold.held ? watch->hold.limits.memory : 0);
}

static void take_hold(struct watch *watch, int engine)
{
	if (watch->keeper->config->confine == CONFINE_NONE)
		return;
	hold__take(&watch->hold, watch->keeper->vmm, engine);
	tell_held(watch);
}

static void on_link(struct watch *watch)
{
	int number = -1;
	enum link_message message = link__take(watch->keeper->link, &number);
	if (message == LINK_CLOSED) {
		watch->over = true;
	} else if (message == LINK_DETACH) {
		watch->detached = true;
		stdio__detach();
	} else if (message == LINK_TRAPPED) {
		watch->trapped = number;
	} else if (message == LINK_MADE && !watch->made) { /* later, a guest may be the one that says it */
		watch->made = true;
		take_hold(watch, number);
	} else if (message == LINK_CLEAN) {
		clean_for_vmm(watch);
	}
}

/* It ends itself then; one that was taken over may not. */
static void limit_life(struct watch *watch)
{
	if (watch->keeper->config->ttl)
		set_deadline(watch, (int64_t)watch->keeper->config->ttl + LINK_DELIVER_MS);
}

static void begin(struct watch *watch)
{
	watch->waits = false;
	limit_life(watch);
	kill(watch->keeper->vmm, PROCESS_BEGIN);
}

static void wait_for_end(struct watch *watch)
{
	struct keeper *keeper = watch->keeper;
	struct pollfd fds[] = {
		{.fd = keeper->link, .events = POLLIN},
		{.fd = watch->signals, .events = POLLIN},
		{.fd = keeper->control, .events = POLLRDHUP},
		{.fd = watch->pidfd, .events = POLLIN}, /* the link may be open still: somewhere else, on its way */
		{.fd = -1},
	};
	if (!watch->waits)
		limit_life(watch);
	while (!watch->over) {
		fds[4] = hold__poll(&watch->hold);
		int64_t left = watch->kill_at ? watch->kill_at - monotonic_ms() : -1;
		if (watch->kill_at && left <= 0)
			return;
		if (poll(fds, 5, left < INT_MAX ? (int)left : INT_MAX) < 0 && errno != EINTR)
			return;
		if (fds[0].revents)
			on_link(watch);
		else if (fds[3].revents)
			return;
		if (fds[1].revents) {
			const struct told told = told_signals__take(watch->signals);
			if (told.begin && watch->waits)
				begin(watch);
			if (told.end) {
				kill(keeper->vmm, SIGTERM);
				set_deadline(watch, GRACE_MS);
			}
		}
		if (fds[2].revents && !fds[0].revents) { /* what the VMM said before counts first */
			fds[2].fd = -1;
			if (!watch->detached)
				set_deadline(watch, GRACE_MS);
		}
		if (fds[4].revents) {
			hold__look(&watch->hold);
			tell_held(watch);
		}
	}
}

/* The VMM, and the children it left: they were made this process's when it died. Where nothing kept it from making any
 * they may live on. */
static int reap(const struct keeper *keeper)
{
	int status = -1, any;
	pid_t pid;
	sigset_t ends;
	sigemptyset(&ends);
	sigaddset(&ends, SIGCHLD);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	kill(keeper->vmm, SIGKILL); /* it has closed the link, so all that is left for it is to exit; or it is stuck */
	while (waitpid(keeper->vmm, &status, 0) < 0 && errno == EINTR)
		;
	const int64_t until = monotonic_ms() + OTHERS_MS;
	while ((pid = waitpid(-1, &any, WNOHANG)) >= 0 && monotonic_ms() < until) {
		const int64_t left = until - monotonic_ms();
		const struct timespec wait = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
		if (pid == 0 && left > 0)
			sigtimedwait(&ends, NULL, &wait);
	}
	return status;
}

static void say(int control, struct writer *out)
{
	struct pollfd pfd = {.fd = control, .events = POLLOUT};
	(void)!frame__end(out); /* without memory there is nothing to send */
	while (buffer__pending(out->buffer) && poll(&pfd, 1, LAST_WORDS_MS) == 1) {
		ssize_t n = send(control, buffer__head(out->buffer), buffer__pending(out->buffer),
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN)
			break;
		buffer__consume(out->buffer, n > 0 ? (size_t)n : 0);
	}
	buffer__free(out->buffer);
}

void control__last_words(int control, const struct failure *why)
{
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", "failed");
	writer__text(&out, "code", why->code);
	writer__text(&out, "message", why->message);
	say(control, &out);
	out = frame__begin(&frame);
	writer__text(&out, "event", "exited");
	writer__text(&out, "reason", "failed");
	say(control, &out);
}

static void explain(int status, const struct watch *watch, struct failure *why)
{
	const int trapped = watch->trapped;
	const char *name = WIFSIGNALED(status) ? sigabbrev_np(WTERMSIG(status)) : NULL;
	char *call = trapped >= 0 ? seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, trapped) : NULL;
	if (watch->hold.ran_out)
		(void)!failure__set(
			why, ENOMEM, "HOST_MEMORY_LIMIT",
			"the sandbox was ended: its processes on this machine held %llu MiB, the most that they "
			"may with the %llu MiB of their guest",
			(unsigned long long)watch->hold.limits.memory >> 20,
			(unsigned long long)watch->keeper->config->memory >> 20);
	else if (trapped >= 0)
		(void)!failure__set(
			why, EIO, "VMM_DIED",
			"the VMM was ended (SIGSYS): it made the system call %d (%.40s), which it never makes; "
			"its guest may have taken it over",
			trapped, call ? call : "?");
	else if (WIFSIGNALED(status))
		(void)!failure__set(why, EIO, "VMM_DIED", "the VMM was ended by signal %d (SIG%s)", WTERMSIG(status),
				    name ? name : "?");
	else
		(void)!failure__set(why, EIO, "VMM_DIED", "the VMM exited with code %d before it could say why",
				    WEXITSTATUS(status));
	free(call);
}

int keeper__watch(struct keeper *keeper)
{
	struct watch watch = {
		.keeper = keeper,
		.signals = told_signals__open(),
		.pidfd = process__open(keeper->vmm),
		.detached = keeper->config->detached,
		.waits = keeper->config->waits,
		.trapped = -1,
	};
	process__name("capsa-keeper");
	process__adopt();
	const struct cgroup_limits limits = allowance__group(keeper->config);
	hold__init(&watch.hold, &limits, keeper->pid);
	wait_for_end(&watch);
	(void)hold__ran_out(&watch.hold);
	close(keeper->janitor);        /* it is among those waited for now, and waits for this */
	close(keeper->link);           /* with all that nobody has read: descriptors, say */
	bool said_all = watch.cleaned; /* the VMM sends its last frame once its directory is gone */
	int status = reap(keeper);
	said_all = said_all && WIFEXITED(status);
	cleanup__after(keeper->config);
	hold__end(&watch.hold);
	if (!said_all && !atomic_load(&keeper->shared->unfinished)) {
		struct failure why;
		explain(status, &watch, &why);
		control__last_words(keeper->control, &why);
	}
	close(watch.signals);
	if (watch.pidfd >= 0)
		close(watch.pidfd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
