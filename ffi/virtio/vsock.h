/* virtio-vsock device (virtio 1.2, section 5.10): guest stream ports appear as Unix sockets on the host, both ways. */
#ifndef CAPSA_VIRTIO_VSOCK_H
#define CAPSA_VIRTIO_VSOCK_H

#include <stdint.h>

#include "virtio/kind.h"

#define VSOCK_HOST_CID 2

/* Makes the sockets (virtio/vsock/ports.h says which), as a confined VMM cannot. Each returns a descriptor or -errno.
 */
struct vsock_ports_ops {
	int (*connect)(void *owner, uint32_t port);
	int (*listen)(void *owner, uint32_t port);
};

/*
 * Host to guest: vsock__listen puts a listening Unix socket at <port>.sock in the directory; each connection accepted
 * there becomes a stream to that guest port (accepted at once and paired with the guest when it answers: a client
 * whose port nobody listens on sees end of file).
 * Guest to host: a stream to host port P is connected to host-<P>.sock in the directory; where there is none, the guest
 * gets a reset.
 */
struct vsock_options {
	uint64_t guest_cid;             /* 3..; 0 in a configuration without the device */
	CBOR_LIST_OF(uint32_t) listens; /* ports that are listened on from the start */
	int dir_fd;                     /* directory of the sockets; the device takes it over */
	const struct vsock_ports_ops *ports;
	void *ports_owner;
};

__attribute__((warn_unused_result)) int virtio_vsock__new(const struct vsock_options *options,
							  struct virtio_device **out);

/* On the worker's loop thread. -EEXIST when the port is listened on already, else 0 or -errno. */
__attribute__((warn_unused_result)) int vsock__listen(struct virtio_device *dev, uint32_t port);

extern const struct device_kind device_vsock;

#endif
