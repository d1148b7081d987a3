/* The machine's virtio devices, as the configuration asks for them, each with a worker of its own. */
#include "vmm/build/devices.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "net/names.h"
#include "vmm/build/kinds.h"

static void narrow(int kind)
{
	confine__narrow((enum confine_thread)kind, false);
}

static int add(struct device_maker *maker, struct virtio_device *dev, struct failure *why)
{
	struct device_set *set = (struct device_set *)maker;
	struct device_slot *slot = &set->slots[set->count];
	int err = set->count < MACHINE_MAX_DEVICES ? worker__init(&slot->worker, dev->ops->name) : -ENOSPC;
	if (err) {
		dev->ops->destroy(dev);
		return failure__set(why, -err, NULL, "no worker for the %s device", dev->ops->name);
	}
	slot->dev = dev;
	slot->kind = set->making;
	slot->worker.how = (int)slot->kind->thread;
	dev->loop = slot->worker.loop;
	set->count++;
	return 0;
}

int device_set__build(struct device_set *set, const struct vmm_config *config, uint64_t carried, struct failure *why)
{
	int err = 0;
	set->maker.add = add;
	for (unsigned i = 0; !err && device_kinds[i]; i++) {
		set->making = device_kinds[i];
		if (!(carried & 1ULL << set->making->id))
			err = set->making->make(vmm_config__told(config, set->making), &set->maker, why);
	}
	if (set->maker.console >= 0)
		close(set->maker.console);
	set->maker.console = -1;
	if (err)
		device_set__end(set);
	return err;
}

static int start(struct device_slot *slot, struct failure *why)
{
	int err = worker__start(&slot->worker);
	return err ? failure__set(why, -err, NULL, "no thread for the %s device", slot->dev->ops->name) : 0;
}

int device_set__start(struct device_set *set, bool narrows, struct failure *why)
{
	int err = 0;
	for (unsigned i = 0; !err && i < set->count; i++) {
		set->slots[i].worker.enter = narrows ? narrow : NULL;
		err = start(&set->slots[i], why);
	}
	return err;
}

static void destroy(void *arg)
{
	struct virtio_device *dev = arg;
	dev->ops->destroy(dev);
}

void device_set__end(struct device_set *set)
{
	for (unsigned i = 0; i < set->count; i++) {
		struct device_slot *slot = &set->slots[i];
		if (loop__call(slot->worker.loop, destroy, slot->dev) < 0) /* the worker's loop broke down by itself */
			destroy(slot->dev);
		worker__end(&slot->worker);
	}
	set->count = 0;
	names__free(set->maker.names);
	set->maker.names = NULL;
}

struct device_slot *device_set__find(struct device_set *set, const struct device_kind *kind)
{
	for (unsigned i = 0; i < set->count; i++)
		if (set->slots[i].kind == kind)
			return &set->slots[i];
	return NULL;
}

bool device_set__traffic(const struct device_set *set, const char *name, struct virtio_traffic *sum)
{
	bool found = false;
	*sum = (struct virtio_traffic){0};
	for (unsigned i = 0; i < set->count; i++) {
		const struct virtio_device *dev = set->slots[i].dev;
		if (!dev || strcmp(dev->ops->name, name) != 0)
			continue;
		sum->from_guest += atomic_load_explicit(&dev->traffic.from_guest, memory_order_relaxed);
		sum->to_guest += atomic_load_explicit(&dev->traffic.to_guest, memory_order_relaxed);
		sum->requests += atomic_load_explicit(&dev->traffic.requests, memory_order_relaxed);
		found = true;
	}
	return found;
}
