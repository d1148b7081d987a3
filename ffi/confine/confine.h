/* Taking away from the VMM's process what it does not need, before the first guest instruction: a guest that breaks a
 * device finds itself in an empty room. */
#ifndef CAPSA_CONFINE_CONFINE_H
#define CAPSA_CONFINE_CONFINE_H

#include <stdbool.h>
#include <sys/types.h>

#include "failure.h"

enum confine_mode {
	CONFINE_NONE,    /* nothing is applied */
	CONFINE_AUTO,    /* what this machine and user permit; the report says what that was */
	CONFINE_REQUIRE, /* fails unless files, sockets and system calls are confined */
};

struct confine_share {
	const char *path;
	bool read_only;
	bool whiteouts; /* character devices 0/0 are made in it, which takes no capability */
};

struct confine_request {
	enum confine_mode mode;
	const char *runtime_dir; /* stays readable and writable, under its own path */
	const char *archive;     /* as well where file system rules allow it; NULL without */
	const struct confine_share *shares;
	unsigned share_count;
	bool foreign_owners; /* a share's ownership is "passthrough" or "map": files of many users are told apart */
	bool network;        /* one thread, narrowed to CONFINE_NETWORK, talks to the host's network */
	pid_t child;         /* the one process that may be sent signals (QEMU's); 0: none */
};

enum confine_layer {
	CONFINE_PRIVILEGES, /* no_new_privs */
	CONFINE_NAMESPACES, /* network (unless it is asked for), mounts (only the runtime directory is left), IPC, host
			       name */
	CONFINE_LIMITS,     /* no core files, no debugger */
	CONFINE_CAPABILITIES, /* dropped, but for those over files where root serves shares */
	CONFINE_FILES,        /* Landlock: the shares and the runtime directory */
	CONFINE_SYSCALLS,     /* seccomp allow-list */
	CONFINE_LAYERS,
};

struct confine_report {
	struct {
		const char *name; /* "namespaces" */
		bool applied;
		char detail[128]; /* what was applied; or why not */
	} layers[CONFINE_LAYERS];
};

/*
 * Confine this process. Called by the main thread while it is the only one, after the engine's create and before its
 * start: threads made later are confined with it. Shares should have been opened with tree__open: their directories
 * then lead nowhere but down. 0; or, with CONFINE_REQUIRE, -errno and *why filled in: the process is of no use then.
 */
__attribute__((warn_unused_result)) int confine__apply(const struct confine_request *request,
						       struct confine_report *report, struct failure *why);

/* What a thread still needs. */
enum confine_thread {
	CONFINE_VCPU,     /* runs the guest: no files, no sockets */
	CONFINE_QUIET,    /* a device that only reads and writes descriptors it has */
	CONFINE_DISK,     /* the same, and at a place in a file */
	CONFINE_LAN,      /* a private network: as a quiet device, and whoever joins is let in */
	CONFINE_NETWORK,  /* the net device: sockets of the network, no files */
	CONFINE_SERVICES, /* the same, and streams to Unix sockets */
	CONFINE_OFFLINE,  /* all that the process may do but for sockets of the network */
};

/* Narrow the calling thread, and those it makes from now on, for good; nothing happens in a process whose system calls
 * are not filtered. */
void confine__narrow(enum confine_thread kind);

#endif
