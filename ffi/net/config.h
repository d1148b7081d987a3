/* The parts of the VMM's configuration that are about networks: `net-device` and `lan-device` of ffi/vmm.cddl. */
#ifndef CAPSA_NET_CONFIG_H
#define CAPSA_NET_CONFIG_H

#include "net/lan.h"
#include "net/nat.h"
#include "virtio/kind.h"

/* A struct nat_options. */
extern const struct cbor_table net_config_table;
/* A struct policy_rule, of at most NET_RULES. */
extern const struct cbor_field net_config_rule;
#define NET_RULES 2048
/* Words of enum policy_protocol, from POLICY_TCP on. */
extern const char *const net_config_protocols[];

extern const struct device_kind device_net; /* its configuration is a struct nat_options */

#define NET_LANS 4
/* The configuration of device_lan. */
struct net_lans {
	CBOR_LIST_OF(struct lan_options) all;
};
extern const struct device_kind device_lan;

/* For tables of addresses. */
int net_config__address4(const char *text, void *member);
int net_config__address6(const char *text, void *member);
const char *net_config__no_station(const void *mac);

#endif
