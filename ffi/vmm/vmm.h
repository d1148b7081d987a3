/* The VMM proper. */
#ifndef CAPSA_VMM_VMM_H
#define CAPSA_VMM_VMM_H

#include "vmm/build/config.h"
#include "vmm/keeper/keeper.h"

/* From start to end: returns the exit code once the runtime directory is gone and "exited" is sent. `began`:
 * CLOCK_MONOTONIC, ns. */
int vmm__run(const struct vmm_config *config, const struct keeper *keeper, uint64_t began);

#endif
