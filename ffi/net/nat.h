/* The guest's network without any right on the host: its packets become ordinary sockets of this process, by libslirp.
 */
#ifndef CAPSA_NET_NAT_H
#define CAPSA_NET_NAT_H

#include "common/cbor_table.h"
#include "common/failure.h"
#include "net/gate.h"
#include "net/service_sockets.h"
#include "virtio/net.h"

#define NAT_PUBLISHED 16

/* A port of the host that leads to one of the guest. */
struct nat_publish {
	enum policy_protocol protocol; /* POLICY_TCP or POLICY_UDP */
	struct address host;           /* its family is the guest's side's, too */
	uint16_t host_port;            /* 0: any that is free; nat__new writes which */
	uint16_t guest_port;
};

struct nat_options {
	/* As configured (net/config.h). What the lists hold lives as long as the device. */
	bool present; /* else there is no such device */
	uint16_t mtu;
	struct net_addresses addresses;
	CBOR_LIST_OF(struct policy_rule) rules; /* copied */
	bool otherwise;                         /* what holds where no rule matches */
	bool host_loopback;
	struct services services;
	CBOR_LIST_OF(struct name_server) name_servers;
	struct name_servers servers; /* the same */
	bool follows_host;           /* the servers are those of /etc/resolv.conf, now and later */
	CBOR_LIST_OF(struct nat_publish) publish;
	uint32_t max_connections; /* at a time; 0: GATE_CONNECTIONS */
	uint64_t bandwidth;       /* bytes per second, each way; 0: no limit */
	/* What it has to do with. */
	struct service_opener opener;  /* of the services' sockets */
	struct resolver_source source; /* of the servers, later on */
	struct names *names;           /* of the guest's private networks, or its own; NULL without any */
	/* Told on the device's worker. */
	void (*notice)(void *arg, const struct gate_notice *notice);
	void *arg;
};

struct nat;

/*
 * A virtio-net device with the host's network behind it. Published
 * ports are bound here and served once the driver is ready; nothing else is opened before a guest asks for it. 0, or
 * -errno with *why: a port that is taken, say.
 */
__attribute__((warn_unused_result)) int nat__new(const struct nat_options *options, struct virtio_device **out,
						 struct failure *why);
/* What is behind such a device, which lives as long. */
struct nat *nat__behind(struct virtio_device *dev);

/* These are made on the device's worker. */

/* Other rules (copied), from now on; connections that they do not allow are cut. 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int nat__replace_rules(struct nat *nat, const struct policy_rule *rules,
							   unsigned count, bool otherwise);
/* What has crossed the guest's cable, frames with their Ethernet headers. */
struct nat_way {
	uint64_t frames, bytes;
};
struct nat_counters {
	struct nat_way from_guest, to_guest;
	uint64_t refused;                      /* packets and names */
	unsigned connections, max_connections; /* as of gate.h */
};
struct nat_counters nat__counters(const struct nat *nat);
/* The name servers that are asked now. */
const struct name_servers *nat__servers(const struct nat *nat);
/* What leaves is judged by this. */
const struct egress *nat__egress(const struct nat *nat);

#endif
