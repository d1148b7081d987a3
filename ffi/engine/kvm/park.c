/* Parked loops: each runs a posted function that waits on a condition. */
#include "engine/kvm/park.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct loop_park {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool let_go;
	unsigned posted, standing;
};

static void park__stand(void *arg)
{
	struct loop_park *park = arg;
	pthread_mutex_lock(&park->lock);
	park->standing++;
	pthread_cond_broadcast(&park->changed);
	while (!park->let_go)
		pthread_cond_wait(&park->changed, &park->lock);
	park->standing--;
	pthread_cond_broadcast(&park->changed);
	pthread_mutex_unlock(&park->lock);
}

static bool is_repeated(struct loop *const loops[], unsigned index)
{
	for (unsigned i = 0; i < index; i++)
		if (loops[i] == loops[index])
			return true;
	return false;
}

struct loop_park *loop_park__new(struct loop *const loops[], unsigned count)
{
	struct loop_park *park = calloc(1, sizeof(*park));
	if (!park)
		return NULL;
	pthread_mutex_init(&park->lock, NULL);
	pthread_cond_init(&park->changed, NULL);
	for (unsigned i = 0; i < count; i++) /* a loop that has ended stands still for good */
		if (!is_repeated(loops, i) && loop__post(loops[i], park__stand, park) == 0)
			park->posted++;
	pthread_mutex_lock(&park->lock);
	while (park->standing < park->posted)
		pthread_cond_wait(&park->changed, &park->lock);
	pthread_mutex_unlock(&park->lock);
	return park;
}

void loop_park__free(struct loop_park *park)
{
	if (!park)
		return;
	pthread_mutex_lock(&park->lock);
	park->let_go = true;
	pthread_cond_broadcast(&park->changed);
	while (park->standing > 0)
		pthread_cond_wait(&park->changed, &park->lock);
	pthread_mutex_unlock(&park->lock);
	pthread_cond_destroy(&park->changed);
	pthread_mutex_destroy(&park->lock);
	free(park);
}
