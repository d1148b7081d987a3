/* A kind of device, as those who make a machine see it: its part of the configuration, and how one is made of that. */
#ifndef CAPSA_VIRTIO_KIND_H
#define CAPSA_VIRTIO_KIND_H

#include "common/cbor_table.h"
#include "common/failure.h"
#include "confine/confine.h"
#include "virtio/virtio.h"

struct gate_notice;
struct names;

/* What a process beside the VMM opens for its devices, by a number: see vmm/build/doors.h. */
enum door {
	DOOR_HOST_PORT = 'h',   /* a stream to host-NUMBER.sock */
	DOOR_GUEST_PORT = 'g',  /* a listening socket at NUMBER.sock */
	DOOR_SERVICE = 's',     /* a stream to the socket of net.services[NUMBER] */
	DOOR_RESOLV_CONF = 'r', /* /etc/resolv.conf, to read */
};

/* What surrounds the devices of a machine. It lives as long as they do. */
struct device_maker {
	const char *name;       /* the sandbox's; NULL: none */
	uint64_t memory;        /* the guest's, bytes */
	const char *socket_dir; /* where the sockets of vsock's ports are */
	int first_listener;     /* the listening socket of the first private network; each device takes over its own */
	int console;            /* a device's end of the console, -1: there is none; who takes it over leaves -1 */
	struct names *names;    /* of the members of private networks, or its own; NULL: none so far */
	/* A descriptor, or -errno; from any thread. */
	int (*open)(void *owner, enum door door, uint32_t number);
	/* The net device refused something, or tells of it; on its worker. */
	void (*notice)(void *owner, const struct gate_notice *notice);
	/* The file system device watches no more files; on its worker. */
	void (*watches)(void *owner, int error, unsigned count);
	void *owner;
	/* Take over a device, in the order in which the guest finds them; its loop is there then. 0, or -errno with
	 * *why and the device destroyed. */
	int (*add)(struct device_maker *maker, struct virtio_device *dev, struct failure *why);
};

struct device_kind {
	enum virtio_id id;          /* an engine may carry a kind itself: then none is made */
	struct cbor_field field;    /* its key of vmm-config; its member is a struct of the kind's own, */
	size_t size;                /* so large, zeros without the key */
	enum confine_thread thread; /* what its worker needs */
	/* Bytes that the VMM may come to hold for it; NULL: none to speak of. */
	uint64_t (*held)(const void *config, uint64_t memory);
	/* Make what the configuration asks for, if it does: none, one or some. 0, or -errno with *why. */
	int (*make)(const void *config, struct device_maker *maker, struct failure *why);
	/* The host's directories that it keeps open: their number, each put into `shares` unless that is NULL, and
	 * whether files of many users are told apart in one. NULL: it has none. */
	unsigned (*shares)(const struct virtio_device *dev, struct confine_share *shares, bool *foreign_owners);
};

#endif
