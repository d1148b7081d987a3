/* Init: process 1 of a sandbox, from the kernel's hand-over to power off. */
#include "init/init.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "init/clock.h"
#include "init/etc.h"
#include "init/events.h"
#include "init/main_process.h"
#include "init/mounts.h"
#include "init/oom.h"
#include "init/plan.h"
#include "init/system.h"
#include "init/trust.h"

#define PLAN "/capsa/plan.cbor"

enum {
	GRACE_MS = 5000,     /* between TERM and KILL once the main process has ended */
	KILL_MS = 2000,      /* for the kernel to end what got KILL */
	DELIVERY_MS = 10000, /* for the host to take the last output */
	FAREWELL_MS = 1000,  /* for the host to close the event stream */
	AGENT_RESTART_MS = 100,
};

#define BEGIN 'b' /* what the host says on the event stream */

/* Forward only. */
enum phase {
	RUNNING,
	ENDING,     /* every process got TERM */
	KILLING,    /* and KILL */
	DELIVERING, /* none is left; its output may still be */
	DONE,
};

struct init {
	struct loop *loop;
	struct plan plan;
	struct events events;
	struct clock clock;
	struct main_process main;
	struct oom oom;
	int signals, requests; /* requests: from the agent */
	int agent_end;         /* of the pipe `requests` */
	int listener;          /* the agent's; init's so that it outlives an agent */
	int shares;            /* see mounts__make */
	pid_t agent;
	uint64_t restart, deadline; /* timers; 0: none */
	enum phase phase;
};

static void enter(struct init *init, enum phase phase, uint64_t ms);

static void next_phase(void *arg)
{
	struct init *init = arg;
	init->deadline = 0;
	switch (init->phase) {
	case ENDING:
		kill(-1, SIGKILL);
		enter(init, KILLING, KILL_MS);
		break;
	case KILLING: /* a process in the kernel's hands cannot be waited for */
		enter(init, DELIVERING, DELIVERY_MS);
		break;
	default:
		init->phase = DONE;
		break;
	}
}

/* For `ms` at most; without memory to wait there is no more to wait for. */
static void enter(struct init *init, enum phase phase, uint64_t ms)
{
	loop__timer_cancel(init->loop, init->deadline);
	init->phase = loop__timer(init->loop, ms, next_phase, init, &init->deadline) ? DONE : phase;
}

static void await_restart(struct init *init);

/* In a new process: everything of init but the listener and the pipe is left behind. */
static void start_agent(struct init *init)
{
	init->agent = fork();
	if (init->agent == 0) {
		const int own[] = {init->requests, init->signals, init->events.fd,
				   init->clock.fd, init->shares,  init->oom.fd};
		for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
			if (own[i] >= 0)
				close(own[i]);
		loop__free(init->loop);
		const struct idleness idleness = {.ms = init->plan.idle_ms, .waits = init->plan.waits};
		_exit(agent__run(init->listener, init->agent_end, &init->plan.environment, idleness));
	}
	if (init->agent < 0) {
		perror("capsa-init: agent");
		await_restart(init);
	}
}

static void restart_agent(void *arg)
{
	struct init *init = arg;
	init->restart = 0;
	start_agent(init);
}

/* Without memory even for that nobody could use the sandbox. */
static void await_restart(struct init *init)
{
	if (loop__timer(init->loop, AGENT_RESTART_MS, restart_agent, init, &init->restart))
		init->phase = DONE;
}

static void reap(struct init *init)
{
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == init->main.pid && !init->main.ended) {
			main_process__ended(&init->main, status);
		} else if (pid == init->agent && init->phase == RUNNING) {
			init->agent = 0;
			fprintf(stderr, "capsa-init: the agent ended (status %#x); a new one is started\n", status);
			await_restart(init);
		}
	}
	if (pid < 0 && errno == ECHILD && (init->phase == ENDING || init->phase == KILLING)) {
		/* orphans are init's children: without children there is no process left */
		enter(init, DELIVERING, DELIVERY_MS);
	}
}

/* Tell every process to end, and let it have `grace_ms`. */
static void end_sandbox(struct init *init, uint64_t grace_ms)
{
	if (init->phase != RUNNING)
		return;
	loop__timer_cancel(init->loop, init->restart);
	enter(init, ENDING, grace_ms);
	/* the agent too: it lets the calls that are open end */
	kill(-1, SIGTERM);
	kill(-1, SIGCONT);
	reap(init); /* there may be no process that could end */
}

static void signals_ready(void *arg, int fd, unsigned ready)
{
	struct init *init = arg;
	(void)ready;
	struct signalfd_siginfo info;
	while (read(fd, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo != SIGCHLD)
			end_sandbox(init, GRACE_MS);
	reap(init);
}

static void request_ready(void *arg, int fd, unsigned ready)
{
	struct init *init = arg;
	(void)ready;
	struct shutdown_request request;
	if (read(fd, &request, sizeof(request)) != sizeof(request))
		return;
	if (request.idle && init->phase == RUNNING)
		events__expired(&init->events, "idle");
	end_sandbox(init, request.grace_ms);
}

static void ttl_over(void *arg)
{
	struct init *init = arg;
	if (init->phase == RUNNING)
		events__expired(&init->events, "ttl");
	end_sandbox(init, GRACE_MS);
}

static void limit_life(struct init *init)
{
	uint64_t timer;
	int err = init->plan.ttl_ms ? loop__timer(init->loop, init->plan.ttl_ms, ttl_over, init, &timer) : 0;
	if (err) /* the host ends it, a little later */
		fprintf(stderr, "capsa-init: ttl: %s\n", strerror(-err));
}

/* Somebody has it now. */
static void host_said(void *arg, char what)
{
	struct init *init = arg;
	if (what != BEGIN || !init->plan.waits)
		return;
	init->plan.waits = false;
	limit_life(init);
	if (init->agent > 0)
		kill(init->agent, AGENT_BEGIN);
}

/* What init hears: SIGTERM and its like (kill 1, poweroff, halt, reboot), its children, the agent. Returns 0 or -errno.
 */
static int open_ears(struct init *init)
{
	static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGPWR};
	sigset_t signals;
	sigemptyset(&signals);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		sigaddset(&signals, numbers[i]);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	init->signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	int ends[2];
	if (init->signals < 0 || pipe2(ends, O_CLOEXEC))
		return -errno;
	init->requests = ends[0];
	init->agent_end = ends[1];
	int err = loop__add(init->loop, init->signals, LOOP_READ, signals_ready, init);
	return err ? err : loop__add(init->loop, init->requests, LOOP_READ, request_ready, init);
}

/* Tell why there will be no sandbox, then end the machine. */
__attribute__((format(printf, 3, 4))) static noreturn void give_up(struct init *init, int err, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	char message[768];
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	fprintf(stderr, "capsa-init: %s\n", message);
	events__boot_failed(&init->events, err, message);
	events__finish(&init->events, FAREWELL_MS);
	system__end();
}

/* On a private network by its address there, as the others know it. */
static void name_itself(const struct plan *plan)
{
	const struct lan *lan = plan->lans.count ? &plan->lans.lans[0] : NULL;
	int err = etc__add_host(plan->hostname, lan ? lan->ipv4.address : "127.0.1.1", lan ? lan->ipv6.address : "::1");
	if (err) /* all other names are found without it */
		fprintf(stderr, "capsa-init: /etc/hosts: %s\n", strerror(-err));
}

/* From the plan to a listening agent. */
static void boot(struct init *init, uint64_t first_line)
{
	struct boot_times times = {.kernel = first_line};
	const char *why;
	int err = plan__load(&init->plan, PLAN, &why);
	if (err) {
		init->events.lost = true; /* the plan would have told where to */
		give_up(init, err, "%s: %s: %s", PLAN, why, strerror(-err));
	}
	events__connect(&init->events, init->loop, init->plan.events_port, host_said, init);
	bool timely = clock__start(&init->clock, init->loop, init->plan.clock_port);
	times.init = system__boottime();
	struct mount_failure failure;
	err = mounts__make(&init->plan, &init->shares, &failure);
	system__open_console();
	if (!timely)
		fprintf(stderr, "capsa-init: the host does not tell the time; the clock may be behind\n");
	if (err)
		give_up(init, err, "%s", failure.message);
	times.mounts = system__boottime();
	system__configure(init->plan.hostname);
	name_itself(&init->plan);
	err = lan__configure(&init->plan.lans, &why);
	if (!err)
		err = network__configure(&init->plan.network, &why);
	if (err)
		give_up(init, err, "%s: %s", why, strerror(-err));
	err = trust__add(init->plan.trust, &why);
	if (err)
		give_up(init, err, "%s: %s", why, strerror(-err));
	err = open_ears(init);
	if (err)
		give_up(init, err, "signals: %s", strerror(-err));
	init->listener = system__listen(init->plan.agent_port);
	if (init->listener < 0)
		give_up(init, init->listener, "vsock port %u: %s", init->plan.agent_port, strerror(-init->listener));
	oom__watch(&init->oom, init->loop, &init->events);
	start_agent(init);
	times.agent = system__boottime();
	events__ready(&init->events, &times);
	if (!init->plan.waits)
		limit_life(init);
}

static void start_main(struct init *init)
{
	if (!init->plan.has_main)
		return;
	char message[512];
	int err = main_process__start(&init->main, init->loop, &init->events, &init->plan, message, sizeof(message));
	if (!err)
		return;
	char whole[600];
	snprintf(whole, sizeof(whole), "main process: %s", message);
	fprintf(stderr, "capsa-init: %s\n", whole);
	events__boot_failed(&init->events, err, whole);
	end_sandbox(init, 0);
}

/* After every round of events: what follows from what is now so. */
static void settle(struct init *init)
{
	main_process__settle(&init->main);
	if (init->main.told && init->phase == RUNNING)
		end_sandbox(init, GRACE_MS);
	if (init->phase == DELIVERING && (init->main.told || !init->main.pid))
		init->phase = DONE;
}

noreturn void init__run(void)
{
	struct init init = {
		.shares = -1,
		.oom = {.fd = -1},
	};
	uint64_t first_line = system__boottime();
	int err = 0;
	system__hold_standard_streams();
	system__go_first();
	if (loop__new(&init.loop)) {
		fprintf(stderr, "capsa-init: no memory for an event loop\n");
		system__end();
	}
	boot(&init, first_line);
	start_main(&init);
	while (init.phase != DONE && !err) {
		settle(&init);
		if (init.phase != DONE)
			err = loop__step(init.loop, true);
	}
	events__finish(&init.events, FAREWELL_MS);
	mounts__undo(&init.plan);
	system__end();
}
