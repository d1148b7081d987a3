/* The Unix sockets that stand for vsock ports, in their directory: PORT.sock leads to the guest's port, host-PORT.sock
 * to one of the host's. */
#ifndef CAPSA_VIRTIO_VSOCK_PORTS_H
#define CAPSA_VIRTIO_VSOCK_PORTS_H

#include <stdint.h>

/* A stream to host-PORT.sock in the directory, which has to be a socket and no link to one: a descriptor, close-on-exec
 * and non-blocking, or -errno (-EAGAIN: its backlog is full). */
__attribute__((warn_unused_result)) int vsock_ports__connect(int dir, uint32_t port);

/* The same to a socket of any name in it. */
__attribute__((warn_unused_result)) int vsock_ports__connect_name(int dir, const char *name);

/* A listening socket at PORT.sock, made now: a descriptor as above, or -errno. */
__attribute__((warn_unused_result)) int vsock_ports__listen(int dir, uint32_t port);

/* The name of that one goes. */
void vsock_ports__remove(int dir, uint32_t port);

#endif
