/* The guest's network without any right on the host: its packets become ordinary sockets of this process, by libslirp.
 */
#ifndef CAPSA_NET_NAT_H
#define CAPSA_NET_NAT_H

#include "common/failure.h"
#include "net/gate.h"
#include "net/service_sockets.h"
#include "virtio/net.h"

#define NAT_PUBLISHED 16

/* A port of the host that leads to one of the guest. */
struct nat_publish {
	bool udp;
	struct address host; /* its family is the guest's side's, too */
	uint16_t host_port;  /* 0: any that is free; nat__new writes which */
	uint16_t guest_port;
};

struct nat_options {
	uint16_t mtu;
	struct net_addresses addresses;
	const struct policy_rule *rules; /* copied */
	unsigned rule_count;
	bool otherwise; /* what holds where no rule matches */
	bool host_loopback;
	struct services services;     /* their texts live as long as the device */
	struct service_opener opener; /* of their sockets */
	struct name_servers servers;
	struct resolver_source source; /* of them, later on */
	struct names *names;           /* of the guest's private networks, or its own; NULL without any */
	struct nat_publish *publish;
	unsigned publish_count;   /* at most NAT_PUBLISHED */
	unsigned max_connections; /* at a time; 0: GATE_CONNECTIONS */
	uint64_t bandwidth;       /* bytes per second, each way; 0: no limit */
	/* Told on the device's worker. */
	void (*notice)(void *arg, const struct gate_notice *notice);
	void *arg;
};

struct nat;

/*
 * A virtio-net device with the host's network behind it, and a handle on the latter, which lives as long. Published
 * ports are bound here and served once the driver is ready; nothing else is opened before a guest asks for it. 0, or
 * -errno with *why: a port that is taken, say.
 */
__attribute__((warn_unused_result)) int nat__new(const struct nat_options *options, struct virtio_device **out,
						 struct nat **handle, struct failure *why);

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
