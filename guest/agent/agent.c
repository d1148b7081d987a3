/* The agent: accepts connections, reaps the programs of its calls, and ends when init says so. */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/connection.h"
#include "agent/job.h"
#include "agent/relay.h"

enum { ACCEPT_PAUSE_MS = 100, IDLE_GRACE_MS = 5000 };

static void accept_again(void *arg)
{
	const struct agent *agent = arg;
	(void)!loop__mod(agent->loop, agent->listener, LOOP_READ);
}

static void accept_ready(void *arg, int listener, unsigned ready)
{
	struct agent *agent = arg;
	(void)ready;
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0 && connection__open(agent, fd) == 0 && agent->connection_count < AGENT_CONNECTIONS)
		return;
	if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return;
	uint64_t again;
	/* out of descriptors, memory or places: those who wait are served later */
	if (loop__timer(agent->loop, ACCEPT_PAUSE_MS, accept_again, agent, &again) == 0)
		(void)!loop__mod(agent->loop, listener, 0);
}

static void take_signals(struct agent *agent, int fd)
{
	struct signalfd_siginfo info;
	while (read(fd, &info, sizeof(info)) == sizeof(info))
		if (info.ssi_signo == SIGTERM)
			agent->ending = true;
		else if (info.ssi_signo == AGENT_BEGIN)
			agent->idleness.waits = false;
}

static void signals_ready(void *arg, int fd, unsigned ready)
{
	struct agent *agent = arg;
	(void)ready;
	int status;
	pid_t pid;
	take_signals(agent, fd);
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		take_signals(agent, fd); /* what has ended it may have been told to all since they were looked at */
		job__ended(agent, pid, status);
	}
}

static void ask_for_end(struct agent *agent, struct shutdown_request request)
{
	if (agent->control < 0)
		agent->ending = true;
	else if (write(agent->control, &request, sizeof(request)) != sizeof(request))
		perror("capsa-agent: init does not hear of the shutdown");
}

static void idle_for_long(void *arg)
{
	struct agent *agent = arg;
	agent->idle = 0;
	ask_for_end(agent, (struct shutdown_request){.grace_ms = IDLE_GRACE_MS, .idle = true});
}

/* After every round of events: whether the sandbox is in use, and since when it is not. */
static void watch_use(struct agent *agent)
{
	bool in_use = agent->relay_count || agent->call_count > agent->passive_count;
	if (!agent->idleness.ms || agent->idleness.waits)
		return;
	if (in_use || agent->used || agent->ending) {
		loop__timer_cancel(agent->loop, agent->idle);
		agent->idle = 0;
	}
	if (!in_use && !agent->ending && !agent->idle &&
	    loop__timer(agent->loop, agent->idleness.ms, idle_for_long, agent, &agent->idle))
		agent->idle = 0; /* no memory: the next round asks again */
	agent->used = false;
}

static bool all_sent(const struct agent *agent)
{
	for (const struct connection *connection = agent->connections; connection; connection = connection->next)
		if (buffer__pending(&connection->out))
			return false;
	return true;
}

static bool settle(struct agent *agent)
{
	struct connection *next;
	bool more = false;
	for (struct connection *connection = agent->connections; connection; connection = next) {
		next = connection->next;
		if (connection__settle(connection))
			more = true;
	}
	if (agent->shutdown_wanted)
		ask_for_end(agent, (struct shutdown_request){.grace_ms = agent->grace_ms});
	agent->shutdown_wanted = false;
	/* one may have ended calls of another that had its turn before */
	for (struct connection *connection = agent->connections; connection; connection = connection->next)
		if (buffer__pending(&connection->out) && !connection->parted && !connection->awaits_room)
			more = true;
	return more;
}

int agent__run(int listener, int control, const struct strings *environment, struct idleness idleness)
{
	struct agent agent = {
		.listener = listener,
		.idleness = idleness,
		.environment = environment,
		.control = control,
		/* without an init this is no machine of ours, but a test's */
		.cgroups = control < 0 ? NULL : "/sys/fs/cgroup",
	};
	int err = 0;
	bool more = false;
	prctl(PR_SET_NAME, "capsa-agent");
	getrlimit(RLIMIT_NOFILE, &agent.open_files);
	struct rlimit most =
		(struct rlimit){.rlim_cur = agent.open_files.rlim_max, .rlim_max = agent.open_files.rlim_max};
	setrlimit(RLIMIT_NOFILE, &most);
	sigset_t signals;
	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, AGENT_BEGIN);
	agent.signals = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	if (agent.signals < 0) {
		perror("capsa-agent: signalfd");
		return 1;
	}
	err = loop__new(&agent.loop);
	if (err) {
		fprintf(stderr, "capsa-agent: event loop: %s\n", strerror(-err));
		return 1;
	}
	fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK);
	err = loop__add(agent.loop, agent.listener, LOOP_READ, accept_ready, &agent);
	if (!err)
		err = loop__add(agent.loop, agent.signals, LOOP_READ, signals_ready, &agent);

	while (!err && !(agent.ending && agent.call_count == agent.passive_count && !job__any_running(&agent) &&
			 all_sent(&agent))) {
		watch_use(&agent);
		err = loop__step(agent.loop, !more);
		more = settle(&agent);
	}
	loop__del(agent.loop, agent.listener);
	while (agent.relays)
		relay__close(agent.relays);
	for (struct connection *connection = agent.connections; connection; connection = connection->next)
		connection__part(connection);
	while (!err && agent.connections) {
		err = loop__step(agent.loop, true);
		settle(&agent);
	}
	if (err)
		fprintf(stderr, "capsa-agent: event loop: %s\n", strerror(-err));
	while (agent.connections)
		connection__close(agent.connections);
	job__end_all(&agent);
	close(agent.signals);
	loop__free(agent.loop);
	return err ? 1 : 0;
}
