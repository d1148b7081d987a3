/* The kinds of devices that a machine can have: a line each. */
#include "vmm/build/kinds.h"

#include "net/config.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/fs.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"

const struct device_kind *const device_kinds[] = {
	&device_vsock, &device_fs,      &device_blk,     &device_rng,
	&device_lan, /* before the host's network, whose name server has their members' names */
	&device_net,   &device_balloon, &device_console, NULL,
};

_Static_assert(sizeof(device_kinds) / sizeof(device_kinds[0]) <= DEVICE_KINDS_MAX, "there is room for all of them");
