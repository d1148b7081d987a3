/* virtio-blk device (virtio 1.2, section 5.2): a disk whose sectors are those of a file or a block device. */
#ifndef CAPSA_VIRTIO_BLK_H
#define CAPSA_VIRTIO_BLK_H

#include <stdbool.h>
#include <stdint.h>

#include "confine/identity.h"
#include "virtio/kind.h"

#define BLK_SECTOR 512

struct blk_options {
	const char *path; /* what `fd` is opened from, if it is `identity` */
	struct file_identity identity;
	int fd; /* open for reading, and for writing unless read_only; taken over, but for a failure here */
	bool read_only;
	uint64_t sectors;
	const char *id; /* what the guest sees as serial number: at most 20 bytes; copied */
};

__attribute__((warn_unused_result)) int virtio_blk__new(const struct blk_options *options, struct virtio_device **out);

extern const struct device_kind device_blk;

#endif
