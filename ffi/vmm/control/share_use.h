/* What a guest has used of its shares, for "status" and "exited" (ffi/vmm.cddl). */
#ifndef CAPSA_VMM_CONTROL_SHARE_USE_H
#define CAPSA_VMM_CONTROL_SHARE_USE_H

#include "common/frame.h"
#include "vmm/build/devices.h"

/* Add the list "use" to the map being filled; nothing where there is no file system device. */
void share_use__add(struct writer *out, const struct device_set *devices);

#endif
