/* What a guest has used of its shares, for "status" and "exited" (ffi/vmm.cddl). */
#ifndef CAPSA_VMM_SHARE_USE_H
#define CAPSA_VMM_SHARE_USE_H

#include "vmm/devices.h"
#include "vmm/frame.h"

/* Bytes that share_use__add takes in a frame, at most. */
size_t share_use__room(const struct device_set *devices);
/* Add the list "use" to the map being filled; nothing where there is no file system device. */
void share_use__add(struct frame *frame, const struct device_set *devices);

#endif
