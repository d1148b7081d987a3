/* The machine's virtio devices, as the configuration asks for them, each with a worker of its own. */
#ifndef CAPSA_VMM_BUILD_DEVICES_H
#define CAPSA_VMM_BUILD_DEVICES_H

#include "common/failure.h"
#include "engine/engine.h"
#include "os/worker.h"
#include "vmm/build/config.h"

struct device_slot {
	struct virtio_device *dev;
	const struct device_kind *kind;
	struct worker worker;
};

struct device_set {
	struct device_maker maker; /* filled in by who builds the set, but for `add` and `names` */
	const struct device_kind *making;
	struct device_slot slots[MACHINE_MAX_DEVICES];
	unsigned count;
};

/* Make the devices, but of the kinds with a bit in `carried` (1 << id): the engine carries those. On failure nothing is
 * left and *why is filled in. */
__attribute__((warn_unused_result)) int device_set__build(struct device_set *set, const struct vmm_config *config,
							  uint64_t carried, struct failure *why);

/* Start every worker's thread; each `narrows` to what its device needs, where system calls are filtered. */
__attribute__((warn_unused_result)) int device_set__start(struct device_set *set, bool narrows, struct failure *why);

/* Destroy the devices on their workers, then end the workers. The engine has let go of them. Idempotent. */
void device_set__end(struct device_set *set);

/* The first of that kind; NULL: there is none. */
struct device_slot *device_set__find(struct device_set *set, const struct device_kind *kind);

/* What all devices of that kind (their ops' name) have carried; false where there is none. */
bool device_set__traffic(const struct device_set *set, const char *name, struct virtio_traffic *sum);

#endif
