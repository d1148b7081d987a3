/* How much of this machine's memory the processes of a sandbox may hold, beside what is the guest's. */
#include "vmm/build/allowance.h"

#include <string.h>

#include "vmm/build/kinds.h"

#define MIB (1ULL << 20)

/* capsa-vmm without any device, with its queues, spilled streams, descriptors and what the kernel has for it: the
 * tables of pages, and files watched for the guest. */
#define VMM (384 * MIB)
/* QEMU, with the code that it makes of the guest's (tb-size=256); and for each processor, with its tables of
 * addresses, which grow with the memory that the guest uses. */
#define QEMU (512 * MIB)
#define QEMU_CPU(memory) (64 * MIB + (memory) / 16)

/* Of a thread: the most that confinement lets it have. */
#define STACK (8 * MIB)
/* Of devices, of QEMU's own work, and two for each processor. */
#define THREADS(cpus) (256 + 2 * (cpus))

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

struct allowance allowance__of(const struct vmm_config *config)
{
	struct allowance allowance = {.vmm = VMM};
	for (unsigned i = 0; device_kinds[i]; i++)
		if (device_kinds[i]->held)
			allowance.vmm +=
				device_kinds[i]->held(vmm_config__told(config, device_kinds[i]), config->memory);
	allowance.vmm_data = allowance.vmm;
	if (strcmp(config->engine, "qemu") == 0)
		allowance.engine = allowance.engine_data = QEMU + config->cpus * QEMU_CPU(config->memory);
	else
		allowance.vmm_data += config->memory + config->cpus * STACK;
	if (SANITIZED)
		allowance.vmm_data = allowance.engine_data = 0;
	return allowance;
}

struct cgroup_limits allowance__group(const struct vmm_config *config)
{
	const struct allowance allowance = allowance__of(config);
	return (struct cgroup_limits){
		.memory = config->memory + allowance.vmm + allowance.engine,
		.swap = config->memory,
		.processes = THREADS(config->cpus),
	};
}
