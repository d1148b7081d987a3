/* The control channel's server: the one that started the VMM, and whoever connects to control.sock. */
#ifndef CAPSA_VMM_CONTROL_CONTROL_H
#define CAPSA_VMM_CONTROL_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/control/channel.h"

/* All calls are made on the loop's thread. 0 or -errno; the caller frees *out. */
__attribute__((warn_unused_result)) int control__new(const struct control_options *options, struct control **out);
void control__free(struct control *control);

/* Serve the same to processes of the same user on a Unix socket made at `path`. 0 or -errno. */
__attribute__((warn_unused_result)) int control__listen(struct control *control, const char *path);

/* End the frame and send it to the starter and every follower. `keep_up`: it is for those who are not behind only. */
void control__event(struct control *control, struct writer *out, bool keep_up);
/* The starter is behind by CONTROL_CONGESTED bytes: whoever can wait with more for it should. */
bool control__congested(const struct control *control);

/* Send the frame as the last event and wait until all is delivered or nobody takes it any more: the starter has
 * `starter_ms`, followers a second. No handler is called any more. */
void control__finish(struct control *control, struct writer *out, int starter_ms);

#endif
