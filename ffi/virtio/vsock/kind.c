/* The vsock device's part of the configuration (`vsock-device` of ffi/vmm.cddl), and how one is made of it. */
#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "confine/tree.h"
#include "virtio/vsock.h"

#define MAX_PORTS 256

static const struct cbor_field port_item = {.kind = CBOR_U32, .min = 1, .max = UINT32_MAX - 1};
static const struct cbor_field fields[] = {
	{.key = "cid",
	 .kind = CBOR_U64,
	 .required = true,
	 .offset = offsetof(struct vsock_options, guest_cid),
	 .min = 3,
	 .max = UINT32_MAX - 1},
	{.key = "ports",
	 .kind = CBOR_LIST,
	 .required = true,
	 .offset = offsetof(struct vsock_options, listens),
	 .item = &port_item,
	 .size = sizeof(uint32_t),
	 .max = MAX_PORTS},
};
static const struct cbor_table table = CBOR_TABLE("vsock-device", fields);

static int connect_host_port(void *owner, uint32_t port)
{
	const struct device_maker *maker = owner;
	return maker->open(maker->owner, DOOR_HOST_PORT, port);
}

static int listen_for_guest_port(void *owner, uint32_t port)
{
	const struct device_maker *maker = owner;
	return maker->open(maker->owner, DOOR_GUEST_PORT, port);
}

static const struct vsock_ports_ops doors = {.connect = connect_host_port, .listen = listen_for_guest_port};

static int vsock_make(const void *config, struct device_maker *maker, struct failure *why)
{
	struct vsock_options options = *(const struct vsock_options *)config;
	struct virtio_device *dev;
	if (!options.guest_cid)
		return 0;
	options.ports = &doors;
	options.ports_owner = maker;
	options.dir_fd = tree__open(maker->socket_dir, false);
	if (options.dir_fd < 0)
		return failure__set(why, -options.dir_fd, NULL, "the directory %s cannot be opened", maker->socket_dir);
	int err = virtio_vsock__new(&options, &dev);
	if (err) {
		close(options.dir_fd);
		return failure__set(why, -err, NULL, "the vsock device cannot be made");
	}
	err = maker->add(maker, dev, why);
	for (unsigned i = 0; !err && i < options.listens.count; i++) {
		int failed = vsock__listen(dev, options.listens.at[i]);
		if (failed && failed != -EEXIST)
			err = failure__set(why, -failed, NULL, "no Unix socket for vsock port %u in %s",
					   options.listens.at[i], maker->socket_dir);
	}
	return err;
}

const struct device_kind device_vsock = {
	.id = VIRTIO_ID_VSOCK,
	.field = {.key = "vsock", .kind = CBOR_MAP, .table = &table},
	.size = sizeof(struct vsock_options),
	.thread = CONFINE_VSOCK,
	.make = vsock_make,
};
