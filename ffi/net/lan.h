/*
 * A private network: a cable between sandboxes of one user, and nothing else on it.
 *
 * There is no switch in the middle that could be lost: each member's VMM has a connection to each other's, made by
 * whoever came later, before it was confined, and is the switch of its own guest. What a connection brings is from that
 * one member, whatever its frames say of themselves.
 */
#ifndef CAPSA_NET_LAN_H
#define CAPSA_NET_LAN_H

#include "common/cbor_table.h"
#include "common/failure.h"
#include "net/names.h"
#include "virtio/net.h"

#define LAN_NAME 32  /* bytes of a member's name */
#define LAN_PEERS 31 /* members beside the guest itself */
#define LAN_TOKEN 16 /* bytes that only those know who may join */

struct lan_member {
	char name[LAN_NAME + 1]; /* small letters, digits, dashes */
	uint8_t mac[VIRTIO_NET_MAC];
	struct address address[2]; /* IPv4 and IPv6 */
};

/* Whether `name` can be a member's. */
bool lan__is_name(const char *name);

/* A member that was there before, and where its VMM takes connections. */
struct lan_peer {
	const char *socket; /* path */
	uint8_t token[LAN_TOKEN];
	struct lan_member member;
};

struct lan_options {
	uint16_t mtu;
	struct lan_member self;
	struct address name_server[2]; /* of the guest's, on this cable; its names are in `names` */
	uint8_t token[LAN_TOKEN];      /* that who joins this one must know */
	int listener; /* a listening, non-blocking SOCK_SEQPACKET Unix socket; taken over, on failure too */
	CBOR_LIST_OF(struct lan_peer) peers;
	struct names *names; /* gets the members' names; outlives the device */
};

/*
 * A virtio-net device at the private network, joined to its peers; one that has ended meanwhile is left out. To be
 * called before the process is confined. 0, or -errno with *why.
 */
__attribute__((warn_unused_result)) int lan__new(const struct lan_options *options, struct virtio_device **out,
						 struct failure *why);

#endif
