/* A thread that runs one event loop: each device has its own. */
#ifndef CAPSA_OS_WORKER_H
#define CAPSA_OS_WORKER_H

#include <pthread.h>
#include <stdbool.h>

#include "common/loop.h"

struct worker {
	struct loop *loop; /* made by worker__init, before the thread */
	pthread_t thread;
	bool running;
	void (*enter)(int how); /* called first on the thread; NULL: nothing is */
	int how;
	char name[16];
};

/* Make the loop; the thread comes with worker__start, so that what is set up in between needs no lock. 0 or -errno. */
__attribute__((warn_unused_result)) int worker__init(struct worker *worker, const char *name);
__attribute__((warn_unused_result)) int worker__start(struct worker *worker);
/* Stop the loop, wait for the thread, free the loop. Idempotent; fine after a failed init or start. */
void worker__end(struct worker *worker);

#endif
