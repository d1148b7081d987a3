/* The file systems of a sandbox: its root, the kernel's own, and the shares. */
#ifndef CAPSA_INIT_MOUNTS_H
#define CAPSA_INIT_MOUNTS_H

#include "init/plan.h"

/* What a step that failed was about. */
struct mount_failure {
	char message[512];
};

/* Everything the plan asks for; afterwards / is the sandbox's root, and nothing of the initramfs but what the base
 * rootfs is made of can be reached. Returns 0 or -errno with words. `*shares` is then a descriptor of the device that
 * the shares are parts of, or -1: to be kept, for the kernel ends its write-back (sync included) when that is gone. */
__attribute__((warn_unused_result)) int mounts__make(const struct plan *plan, int *shares,
						     struct mount_failure *failure);

/* Unmount the shares again, last first, as far as they are not in use. */
void mounts__undo(const struct plan *plan);

#endif
