/* virtio-rng device (virtio 1.2, section 5.4): entropy from the host's getentropy(3). */
#ifndef CAPSA_VIRTIO_RNG_H
#define CAPSA_VIRTIO_RNG_H

#include "virtio/kind.h"

__attribute__((warn_unused_result)) int virtio_rng__new(struct virtio_device **out);

extern const struct device_kind device_rng;

#endif
