/* Processes held by a descriptor, which no other process gets the number of; and what a process says of itself. */
#ifndef CAPSA_OS_PROCESS_H
#define CAPSA_OS_PROCESS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A descriptor, close-on-exec, that is readable once the process has ended; or -errno. */
__attribute__((warn_unused_result)) int process__open(pid_t pid);
/* 0 or -errno: -ESRCH when it has ended. */
int process__signal(int process, int signal);

/* Since when the process that has the number now runs, in the unit of this system; 0 where there is none. */
uint64_t process__started(pid_t pid);

/* This process is shown by that name, of at most 15 bytes. */
void process__name(const char *name);
/* It is killed when the thread that made it ends. */
void process__end_with_parent(void);
/* It becomes the parent of those that its children leave behind. */
void process__adopt(void);

/* A descriptor of what this process is told by signals, which the caller has blocked: SIGTERM, SIGINT and SIGHUP to
 * end, PROCESS_BEGIN; or -errno. */
__attribute__((warn_unused_result)) int told_signals__open(void);
#define PROCESS_BEGIN SIGUSR1
struct told {
	bool end, begin;
};
/* What came; never waits. */
struct told told_signals__take(int signals);

#endif
