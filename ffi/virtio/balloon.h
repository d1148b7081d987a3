/* virtio-balloon device (virtio 1.2, section 5.5): memory that the guest gives back, as much as it is asked for, and
 * what it has free anyway. */
#ifndef CAPSA_VIRTIO_BALLOON_H
#define CAPSA_VIRTIO_BALLOON_H

#include "virtio/kind.h"

#define BALLOON_PAGE 4096U /* whatever the guest's and the host's pages are */

__attribute__((warn_unused_result)) int virtio_balloon__new(struct virtio_device **out);

/* Ask the guest to give so many pages, on the device's worker. It does so as it can, or not at all. */
void virtio_balloon__ask(struct virtio_device *dev, uint32_t pages);

/* How many it says that it has given; from anywhere. */
uint32_t virtio_balloon__given(const struct virtio_device *dev);

extern const struct device_kind device_balloon;

#endif
