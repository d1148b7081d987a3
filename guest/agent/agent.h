/* The agent: one process, one thread, any number of connections and calls (protocol.cddl). */
#ifndef CAPSA_AGENT_AGENT_H
#define CAPSA_AGENT_AGENT_H

#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>

#include "common/loop.h"
#include "process/strings.h"

enum { AGENT_CONNECTIONS = 128, AGENT_CALLS = 1024, AGENT_RELAYS = 512 };

struct connection;
struct job;
struct listening;
struct relay;

/* How long the sandbox may be without use. */
struct idleness {
	uint64_t ms; /* 0: for ever */
	bool waits;  /* not counted before AGENT_BEGIN */
};

#define AGENT_BEGIN SIGUSR1

struct agent {
	struct loop *loop;
	int listener, signals;
	struct connection *connections;
	size_t connection_count, call_count;
	size_t passive_count; /* of the calls, those whose operation is passive */
	bool used;            /* a call that is not has begun since the loop last looked */
	uint64_t idle;        /* timer, set while nothing uses the sandbox, where there is a limit to that */
	struct idleness idleness;
	struct relay *relays;
	size_t relay_count;
	struct listening *listenings;
	uint64_t listening_count; /* ever begun */
	struct job *jobs;
	uint64_t job_count, over_count;    /* in the background: ever started, ever over */
	const struct strings *environment; /* of the sandbox */
	struct rlimit open_files;          /* what programs get */
	const char *cgroups;               /* where cgroup v2 is mounted; NULL: not to be touched */
	int control;                       /* to init; -1 without one */
	bool shutdown_wanted;              /* a call has asked for the end of the sandbox, in grace_ms */
	uint64_t grace_ms;
	bool ending; /* no new calls; the process ends once the open ones have */
};

/* What the agent asks init for, on `control`: end the sandbox. */
struct shutdown_request {
	uint64_t grace_ms;
	bool idle; /* because nothing has used it for so long */
};

/* Serve connections accepted on `listener` until SIGTERM and the end of all calls. SIGCHLD, SIGTERM and AGENT_BEGIN
 * must be blocked and SIGPIPE ignored. Once no call was open and no stream for as long as `idleness` says the sandbox
 * is ended. Returns the exit code of the process. */
int agent__run(int listener, int control, const struct strings *environment, struct idleness idleness);

#define AGENT_NAME "capsa-agent/0.1.0"
#define AGENT_PROTOCOL 1

#endif
