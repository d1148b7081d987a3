/* The event stream: one vsock connection to the host, on which init tells what happens (protocol.cddl). */
#ifndef CAPSA_INIT_EVENTS_H
#define CAPSA_INIT_EVENTS_H

#include <sys/types.h>

#include "common/buffer.h"
#include "common/frame.h"
#include "common/loop.h"
#include "init/oom.h"

/* Frames queue up until the host takes them. Once it has gone they are dropped. */
struct events {
	struct loop *loop;
	int fd; /* -1: there is none */
	struct buffer out;
	bool connected, lost;
	void (*heard)(void *arg, char byte); /* what the host says */
	void *arg;
};

/* When what happened, ns of CLOCK_BOOTTIME. */
struct boot_times {
	uint64_t kernel, init, mounts, agent;
};

/* Begin to connect to the host's port; whether it worked shows later, in `lost`. `heard` is told each byte from there.
 */
void events__connect(struct events *events, struct loop *loop, uint32_t port, void (*heard)(void *arg, char byte),
		     void *arg);

void events__ready(struct events *events, const struct boot_times *times);
void events__main_started(struct events *events, pid_t pid);
/* `status` is of wait(2). */
void events__main_exit(struct events *events, int status);
/* A process was killed for want of memory. */
void events__oom(struct events *events, const struct oom_kill *kill);
/* The sandbox is to end because of its "ttl", or because it was "idle". */
void events__expired(struct events *events, const char *why);
void events__boot_failed(struct events *events, int err, const char *message);

/* So much is queued that no output should be read for now. */
bool events__congested(const struct events *events);
/* Send what can be sent without waiting. */
void events__flush(struct events *events);
/* Send the rest, tell the end of the stream, and wait until the host has closed it too: it then has every byte. Gives
 * up after `ms`. */
void events__finish(struct events *events, uint64_t ms);

#endif
