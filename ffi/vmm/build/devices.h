/* The machine's virtio devices, as the configuration asks for them, each with a worker of its own. */
#ifndef CAPSA_VMM_BUILD_DEVICES_H
#define CAPSA_VMM_BUILD_DEVICES_H

#include "common/failure.h"
#include "engine/engine.h"
#include "os/worker.h"
#include "virtio/fs.h"
#include "vmm/build/config.h"
#include "vmm/build/doors.h"

struct device_slot {
	struct virtio_device *dev;
	struct worker worker;
};

struct device_set {
	struct device_slot slots[MACHINE_MAX_DEVICES];
	unsigned count;
	struct device_slot *vsock, *net, *balloon; /* NULL without */
	struct nat *nat;                           /* of `net` */
	struct names *names;                       /* of the members of its private networks, or its own; NULL: none */
	struct nat_publish publish[NAT_PUBLISHED]; /* with the ports that they got */
	unsigned publish_count;
};

struct device_options {
	const char *vsock_dir; /* directory for the vsock device's sockets */
	struct doors *doors;   /* who makes them */
	const int *listeners;  /* one for each private network, whose device takes it over */
	int console_fd; /* the device's end of the console, -1 when there is none or the engine carries it; taken over
			 */
	bool balloon;   /* there is to be one, which the engine does not carry */
	/* Told on the net device's worker. */
	void (*notice)(void *owner, const struct gate_notice *notice);
	uint64_t memory; /* the guest's, bytes */
	/* Told on the file system device's worker. */
	fs_notice_fn watches;
	void *owner;
};

/* Make the devices. On failure nothing is left and *why is filled in. */
__attribute__((warn_unused_result)) int device_set__build(struct device_set *set, const struct vmm_config *config,
							  const struct device_options *options, struct failure *why);

/* Start every worker's thread; each `narrows` to what its device needs, where system calls are filtered. */
__attribute__((warn_unused_result)) int device_set__start(struct device_set *set, bool narrows, struct failure *why);

/* Destroy the devices on their workers, then end the workers. The engine has let go of them. Idempotent. */
void device_set__end(struct device_set *set);

/* What all devices of that kind (their ops' name) have carried; false where there is none. */
bool device_set__traffic(const struct device_set *set, const char *kind, struct virtio_traffic *sum);

/* The descriptor of a root of a file system device, both in the order of the configuration; it stays the device's. */
int device_set__root(const struct device_set *set, unsigned index, unsigned root);
/* That of its layer; -1 where it has none. */
int device_set__layer(const struct device_set *set, unsigned index, unsigned root);

/* Ask the guest for so many pages of 4 KiB. 0, -ENODEV without balloon, or -errno. */
__attribute__((warn_unused_result)) int device_set__ask_pages(struct device_set *set, uint32_t pages);
/* How many it says that it has given; 0 without balloon. */
uint32_t device_set__given_pages(const struct device_set *set);

/* Make a host-to-guest socket for the vsock port. 0, -EEXIST when it is there, -ENODEV without vsock, or -errno. */
__attribute__((warn_unused_result)) int device_set__listen(struct device_set *set, uint32_t port);

#endif
