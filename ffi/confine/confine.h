/* Taking away from the VMM's process what it does not need, before the first guest instruction: a guest that breaks a
 * device finds itself in an empty room. */
#ifndef CAPSA_CONFINE_CONFINE_H
#define CAPSA_CONFINE_CONFINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/failure.h"

enum confine_mode {
	CONFINE_NONE,    /* nothing is applied */
	CONFINE_AUTO,    /* what this machine and user permit; the report says what that was */
	CONFINE_REQUIRE, /* fails unless every layer is applied */
};

struct confine_share {
	int fd; /* O_PATH descriptor, which stays the caller's */
	bool read_only;
	bool whiteouts; /* the layer of one: character devices 0/0 are made in it, which takes no capability */
};

/* A program that the process becomes, in a cage that holds that and nothing of the VMM's: QEMU. */
struct confine_program {
	const char
		*path; /* absolute, links resolved; no script, whose interpreter would have to be in the cage as well */
	const int *files; /* descriptors of regular files, which it opens again by /proc/self/fd to read them */
	unsigned file_count;
	const char *const *sockets; /* paths of Unix sockets to which it connects; it has them under the same paths */
	unsigned socket_count;
};

struct confine_request {
	enum confine_mode mode;
	const struct confine_program
		*program;        /* NULL: it is the VMM itself. Else of the rest runtime_dir and data count */
	const char *runtime_dir; /* the VMM's own directory: stays readable and writable, under its own path */
	const struct confine_share *shares;
	unsigned share_count;
	bool foreign_owners; /* a share's ownership is "passthrough" or "map": files of many users are told apart */
	bool network;        /* one thread, narrowed to CONFINE_NETWORK, talks to the host's network */
	uint64_t data;       /* bytes of memory of its own that it may have (RLIMIT_DATA); 0: any number */
	bool child;          /* a process may be killed, by a pidfd that is open (QEMU's) */
};

enum confine_layer {
	CONFINE_PRIVILEGES,   /* no_new_privs */
	CONFINE_NAMESPACES,   /* network (unless it is asked for), mounts (only the runtime directory is left, or a
				 program's own files), IPC, host name; a program also has its own process ids */
	CONFINE_LIMITS,       /* no core files, so much memory; of the VMM no debugger either */
	CONFINE_CAPABILITIES, /* dropped, but for those over files where root serves shares */
	CONFINE_FILES,        /* Landlock: the shares and the runtime directory; of a program its own files */
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

/* How a process came about that is to become a program. */
struct confine_birth {
	unsigned long namespaces; /* CLONE_NEW* flags of those it has for itself; 0: none, for this errno */
	int error;
	uid_t uid; /* effective ones of its parent */
	gid_t gid;
};

/*
 * As fork(2), for a process that is to become request->program: where this machine and user permit, the child has
 * namespaces of its own, and is the first process in its own. Called while the main thread is the only one.
 */
__attribute__((warn_unused_result)) pid_t confine__fork(const struct confine_request *request,
							struct confine_birth *birth);

/* What is known of the cage once it is shut, or cannot be shut as it must be. */
struct confine_word {
	struct confine_report report;
	int error; /* 0; or -errno, with `why`: it may not run with less */
	struct failure why;
	int connects; /* -1; or a descriptor (seccomp_unotify(2)), open during the call: each connect(2) of the
		       * program's waits for an answer there, and fails once it is closed. So where paths lead to
		       * sockets of others */
};

/*
 * In that child: confine it as confine__apply does and execute the program, with the environment of this process. It
 * inherits the descriptors that are not close-on-exec. What it can execute afterwards is only what it may read anyway,
 * and in the same cage. `told` is called before.
 * Returns only on failure: -errno.
 */
int confine__become(const struct confine_request *request, const struct confine_birth *birth, char *const argv[],
		    void (*told)(void *arg, const struct confine_word *word), void *arg);

/* What a thread still needs. */
enum confine_thread {
	CONFINE_VCPU,    /* runs the guest: no files, no sockets */
	CONFINE_QUIET,   /* a device that only reads and writes descriptors it has */
	CONFINE_DISK,    /* the same, and at a place in a file */
	CONFINE_LAN,     /* a private network: as a quiet device, and whoever joins is let in */
	CONFINE_VSOCK,   /* the same, and the names of its sockets go */
	CONFINE_SHARES,  /* files below the shares */
	CONFINE_NETWORK, /* the net device: sockets of the network, no files */
	CONFINE_MAIN,    /* the control channel and the logs; no threads any more */
};

/* Narrow the calling thread, and those it makes from now on, for good, in a process to which CONFINE_SYSCALLS is
 * applied. `child`: as in the request, for CONFINE_MAIN. One that cannot be narrowed ends the process. */
void confine__narrow(enum confine_thread kind, bool child);

#endif
