/* Making the machine that the configuration describes. */
#ifndef CAPSA_VMM_BUILD_BUILD_H
#define CAPSA_VMM_BUILD_BUILD_H

#include "vmm/build/devices.h"

struct built {
	const struct vmm_config *config;
	char own_dir[CONFIG_MAX_RUNTIME_DIR + 16]; /* runtime_dir/VMM_DIR */
	int kernel, initrd;                        /* files, open until the engine has loaded them; else -1 */
	const struct engine_ops *engine;           /* NULL until found */
	bool created;                              /* engine->destroy is owed */
	struct machine_config machine_config;
	struct machine machine;
	struct device_set devices;
	struct confine_report confinement;
};

/* In this order; each 0, or -errno with *why. What was made until then is taken down by build__take_down. */

/* `maker`: what its devices may ask of the VMM; `ended`: as of struct machine, with the maker's owner. */
void build__begin(struct built *built, const struct vmm_config *config, const struct device_maker *maker,
		  struct loop *loop,
		  void (*ended)(struct machine *machine, enum machine_end end, const struct failure *why));
/* Kernel and initrd: they are those that were looked at, and fit into memory. */
__attribute__((warn_unused_result)) int build__open_files(struct built *built, struct failure *why);
/* Devices, and the engine's create. `console`: the machine's end of the console, -1 without; taken over. */
__attribute__((warn_unused_result)) int build__machine(struct built *built, int console, struct failure *why);
__attribute__((warn_unused_result)) int build__confinement(struct built *built, struct failure *why);

/* The engine's part; the devices stay, for what they know. */
void build__take_down(struct built *built);

#endif
