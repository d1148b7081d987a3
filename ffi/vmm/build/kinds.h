/* The kinds of devices that a machine can have. */
#ifndef CAPSA_VMM_BUILD_KINDS_H
#define CAPSA_VMM_BUILD_KINDS_H

#include "virtio/kind.h"

#define DEVICE_KINDS_MAX 16

/* In the order in which a machine's devices are made; NULL-terminated. */
extern const struct device_kind *const device_kinds[];

#endif
