/* Fuzzes what a host sends to the agent: bytes as they are, and frames whose lengths are right. Files stay in a
 * directory of the fuzzer's, no program is run but a child that says a word, and nobody is connected to. */
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/call.h"
#include "agent/job.h"
#include "agent/relay.h"
#include "process/spawn.h"

enum { STEPS = 64 };

/* Started and not reaped: the fuzzer has children of its own. */
static pid_t children[AGENT_CALLS];
static size_t child_count;

static char place[] = "/tmp/capsa-fuzz-agent-XXXXXX";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int __real_call__take_path(struct call *call, const CborValue *request, const char *key, char path[PATH_MAX]);
int __wrap_call__take_path(struct call *call, const CborValue *request, const char *key, char path[PATH_MAX]);
int __real_symlinkat(const char *target, int at, const char *name);
int __wrap_symlinkat(const char *target, int at, const char *name);
pid_t __wrap_program__start(const struct program *program, enum spawn_stage *stage);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
int __real_bind(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t size);

/* In place of the agent's: what the real one lets through, but below `place`, and without a way up. */
int __wrap_call__take_path(struct call *call, const CborValue *request, const char *key, char path[PATH_MAX])
{
	char asked[PATH_MAX];
	int err = __real_call__take_path(call, request, key, asked);

	if (err)
		return err;
	if (strstr(asked, "..") || strlen(asked) + sizeof(place) > PATH_MAX) {
		call__fail(call, EPERM, "not in the fuzzer");
		return -1;
	}
	memcpy(path, place, sizeof(place) - 1);
	memcpy(path + sizeof(place) - 1, asked, strlen(asked) + 1);
	return 0;
}

/* A link to elsewhere would lead the next call out of `place`. */
int __wrap_symlinkat(const char *target, int at, const char *name)
{
	return __real_symlinkat(strlen(target) % 2 ? "." : "nowhere", at, name);
}

pid_t __wrap_program__start(const struct program *program, enum spawn_stage *stage)
{
	pid_t pid;

	*stage = SPAWN_PROGRAM;
	if (strcmp(program->argv.list[0], "nosuch") == 0 || child_count == AGENT_CALLS)
		return -ENOENT;
	pid = fork();
	if (pid == 0) {
		setsid();
		_exit(write(program->fds[1], "word\n", 5) == 5 ? (int)program->argv.count & 255 : 1);
	}
	if (pid > 0)
		children[child_count++] = pid;
	return pid;
}

/* What the agent is connected to: it sends back what it gets. */
static int peer = -1;

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
	int ends[2];

	(void)size;
	errno = address->sa_family == AF_UNIX ? EAGAIN : ECONNREFUSED;
	if (address->sa_family != AF_INET || peer >= 0 || ((const struct sockaddr_in *)address)->sin_port & 1)
		return -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends))
		abort();
	if (dup2(ends[0], fd) < 0)
		abort();
	close(ends[0]);
	peer = ends[1];
	return 0;
}

/* Any port, in place of those that this machine may need. */
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t size)
{
	struct sockaddr_in6 any;

	memcpy(&any, address, size);
	if (address->sa_family == AF_INET)
		((struct sockaddr_in *)(void *)&any)->sin_port = 0;
	else
		any.sin6_port = 0;
	return __real_bind(fd, (struct sockaddr *)&any, size);
}

static void echo(void)
{
	char bytes[4096];
	ssize_t n = peer < 0 ? -1 : recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (n == 0 || (n > 0 && send(peer, bytes, (size_t)n, MSG_DONTWAIT) < 0)) {
		close(peer);
		peer = -1;
	}
}

static void clean(void)
{
	char command[sizeof(place) + 16];

	snprintf(command, sizeof(command), "rm -rf %s", place);
	if (system(command) != 0)
		perror(command);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	if (!mkdtemp(place))
		abort();
	atexit(clean);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static void reap(struct agent *agent, int flags)
{
	for (size_t i = child_count; i-- > 0;) {
		int status;

		if (waitpid(children[i], &status, flags) != children[i])
			continue;
		job__ended(agent, children[i], status);
		children[i] = children[--child_count];
	}
}

/* Let the agent do all it can do now; what it says is read and dropped. */
static void run(struct agent *agent, int host)
{
	static char said[65536];
	bool more = true;

	for (int step = 0; step < STEPS && (agent->connections || agent->relays); step++) {
		if (loop__step(agent->loop, false))
			abort();
		reap(agent, WNOHANG);
		echo();
		more = agent->connections && connection__settle(agent->connections);
		if (recv(host, said, sizeof(said), MSG_DONTWAIT) <= 0 && !more && step > 4)
			break;
	}
}

static void send_all(struct agent *agent, int host, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size && (agent->connections || agent->relays)) {
		ssize_t n = send(host, at, size, MSG_DONTWAIT);

		if (n > 0) {
			at += n;
			size -= (size_t)n;
		}
		run(agent, host);
		if (n <= 0)
			return;
	}
}

/* Each frame: two bytes of length, then that many of it; the last is as long as what is left. */
static void send_frames(struct agent *agent, int host, const uint8_t *data, size_t size)
{
	while (size > 2 && (agent->connections || agent->relays)) {
		size_t length = (size_t)data[0] << 8 | data[1];
		uint8_t head[4];

		data += 2;
		size -= 2;
		if (length > size)
			length = size;
		for (int i = 0; i < 4; i++)
			head[i] = (uint8_t)(length >> (24 - 8 * i));
		send_all(agent, host, head, sizeof(head));
		send_all(agent, host, data, length);
		data += length;
		size -= length;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct strings environment = {0};
	struct agent agent = {.environment = &environment, .control = -1};
	int ends[2];

	if (!size)
		return -1;
	if (mkdir(place, 0700) && errno != EEXIST) /* the input before may have removed it */
		abort();
	getrlimit(RLIMIT_NOFILE, &agent.open_files);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends))
		abort();
	if (loop__new(&agent.loop) || connection__open(&agent, ends[1]) < 0)
		abort();
	if (data[0] & 1)
		send_frames(&agent, ends[0], data + 1, size - 1);
	else
		send_all(&agent, ends[0], data + 1, size - 1);
	run(&agent, ends[0]);
	while (agent.connections)
		connection__close(agent.connections);
	while (agent.relays)
		relay__close(agent.relays);
	job__end_all(&agent);
	reap(&agent, 0);
	if (agent.call_count || agent.passive_count || agent.connection_count || agent.relay_count || agent.jobs ||
	    agent.listenings || loop__step(agent.loop, false))
		abort(); /* something outlived its connection */
	close(ends[0]);
	if (peer >= 0)
		close(peer);
	peer = -1;
	loop__free(agent.loop);
	return 0;
}
