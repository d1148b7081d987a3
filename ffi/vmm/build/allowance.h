/* How much of this machine's memory the processes of a sandbox may hold, beside what is the guest's. */
#ifndef CAPSA_VMM_BUILD_ALLOWANCE_H
#define CAPSA_VMM_BUILD_ALLOWANCE_H

#include "vmm/build/config.h"
#include "vmm/keeper/linux/cgroup.h"

/* Bytes. Each is the sum of the bounds of its parts: no guest that keeps within those meets it. */
struct allowance {
	uint64_t vmm;
	uint64_t engine; /* 0 where the engine is no process of its own */

	/* The same as RLIMIT_DATA, which counts the stacks of threads as a whole, and the guest's memory where that is
	 * the process's own. 0: no limit, in a build with a sanitizer, whose shadow is data, also in QEMU
	 * where that has it preloaded. */
	uint64_t vmm_data, engine_data;
};

struct allowance allowance__of(const struct vmm_config *config);

/* All of it with the guest's memory; of swap as much as the guest has. */
struct cgroup_limits allowance__group(const struct vmm_config *config);

#endif
