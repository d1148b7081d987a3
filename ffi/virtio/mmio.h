/* virtio-mmio transport (virtio 1.2, section 4.2, version 2): the register file through which a guest drives a device.
 */
#ifndef CAPSA_VIRTIO_MMIO_H
#define CAPSA_VIRTIO_MMIO_H

#include <stdint.h>

#include "common/cbor_table.h"
#include "common/loop.h"
#include "common/writer.h"
#include "memory.h"
#include "virtio/virtio.h"

#define VIRTIO_MMIO_SIZE 0x1000        /* bytes of address space a device takes */
#define VIRTIO_MMIO_QUEUE_NOTIFY 0x050 /* register a kick is written to: 4 bytes, the queue's index */

/*
 * The interrupt is an edge: InterruptStatus is set before the event, and the guest acknowledges before it looks at the
 * rings, so an event that comes between is never lost and the line needs no lowering.
 */
struct virtio_mmio;

extern const struct cbor_table virtio_mmio_saved;

/*
 * Attach `dev` (borrowed, driven on `loop`'s thread) to a new transport over `mem` (borrowed, constant from now on).
 * 0, -ENOMEM, or errors of bell__new.
 */
__attribute__((warn_unused_result)) int virtio_mmio__new(struct virtio_device *dev, struct loop *loop,
							 const struct guest_memory *mem, struct virtio_mmio **out);
/* Reset the device and let go of it. No vCPU may be inside read or write. NULL is allowed. */
void virtio_mmio__free(struct virtio_mmio *mmio);

/* An access by the guest at `offset` of the device's address space, from any vCPU's thread. A read always fills in
 * `data`; whatever makes no sense reads as zero and changes nothing. */
void virtio_mmio__read(struct virtio_mmio *mmio, uint64_t offset, void *data, unsigned len);
void virtio_mmio__write(struct virtio_mmio *mmio, uint64_t offset, const void *data, unsigned len);

/* The bells of the transport, which stay its own: written once per interrupt, and read for each kick of a queue. */
int virtio_mmio__irq_fd(const struct virtio_mmio *mmio);
int virtio_mmio__kick_fd(const struct virtio_mmio *mmio, unsigned queue);

/*
 * What a driver has made of the transport and its device: `saved-device` of ffi/vmm.cddl. `save` adds the fields of
 * that map, of a device of which no call is under way: no vCPU runs, and its worker stands. 0, or -ENOTSUP with *why.
 * `load` brings a new transport, with a new device of the same configuration and the same guest memory, to where the
 * other was; its worker does not run yet. Whatever the bytes are, they do no harm: 0, or -errno with *why, and the two
 * are as new.
 */
__attribute__((warn_unused_result)) int virtio_mmio__save(const struct virtio_mmio *mmio, struct writer *out,
							  struct failure *why);
__attribute__((warn_unused_result)) int virtio_mmio__load(struct virtio_mmio *mmio, const uint8_t *bytes, size_t len,
							  struct failure *why);

#endif
