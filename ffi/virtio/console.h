/* virtio-console device (virtio 1.2, section 5.3), one port: guest output to a file descriptor, input from it. */
#ifndef CAPSA_VIRTIO_CONSOLE_H
#define CAPSA_VIRTIO_CONSOLE_H

#include "virtio/kind.h"

/* `fd`: non-blocking stream socket, read for input and written with output; the device takes it over, but for a failure
 * here. A reader that is away stalls nobody: what does not fit a bounded buffer (64 KiB) is dropped, oldest first. */
__attribute__((warn_unused_result)) int virtio_console__new(int fd, struct virtio_device **out);

extern const struct device_kind device_console;

#endif
