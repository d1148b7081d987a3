/* Files and block devices as disks. */
#ifndef CAPSA_VIRTIO_BLK_DISK_H
#define CAPSA_VIRTIO_BLK_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "common/failure.h"
#include "confine/identity.h"

/*
 * Open the disk at `path`, in *sectors of 512 bytes, and lock it (flock(2)): for itself, or shared with others that
 * only read. Returns the descriptor, or -errno with *why: EBUSY when another has it, EINVAL when it is no disk, ESTALE
 * when it is another one than `identity`, which is not opened then. Needs /proc.
 */
__attribute__((warn_unused_result)) int disk__open(const char *path, const struct file_identity *identity,
						   bool read_only, uint64_t *sectors, struct failure *why);

#endif
