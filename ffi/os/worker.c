/* A thread that runs one event loop: each device has its own. */
#include "os/worker.h"

#include <stdio.h>

static void *run(void *arg)
{
	struct worker *worker = arg;
	pthread_setname_np(pthread_self(), worker->name);
	if (worker->enter)
		worker->enter(worker->how);
	loop__run(worker->loop);
	return NULL;
}

int worker__init(struct worker *worker, const char *name)
{
	*worker = (struct worker){.loop = NULL};
	snprintf(worker->name, sizeof(worker->name), "%s", name);
	return loop__new(&worker->loop);
}

int worker__start(struct worker *worker)
{
	int err = pthread_create(&worker->thread, NULL, run, worker);
	worker->running = err == 0;
	if (worker->running)
		loop__await(worker->loop);
	return -err;
}

void worker__end(struct worker *worker)
{
	if (worker->running) {
		loop__stop(worker->loop);
		pthread_join(worker->thread, NULL);
		worker->running = false;
	}
	loop__free(worker->loop);
	worker->loop = NULL;
}
