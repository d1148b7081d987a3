/* Private networks in the configuration (`lan-device` of ffi/vmm.cddl), and how devices are made of them. */
#include <errno.h>
#include <string.h>

#include "net/config.h"

static int parse_name(const char *text, void *member)
{
	if (!lan__is_name(text))
		return -EINVAL;
	memcpy(member, text, strlen(text) + 1);
	return 0;
}

/* The fields of `lan-member`, which is at `at` of the struct. */
#define ADDRESS(its_key, at, family)                                                                                   \
	{                                                                                                              \
		.key = (its_key), .kind = CBOR_PARSED, .required = true, .offset = (at),                               \
		.parse = net_config__address##family, .must = "must be an IPv" #family " address"                      \
	}
#define MEMBER(at)                                                                                                     \
	{.key = "name",                                                                                                \
	 .kind = CBOR_PARSED,                                                                                          \
	 .required = true,                                                                                             \
	 .offset = (at) + offsetof(struct lan_member, name),                                                           \
	 .parse = parse_name,                                                                                          \
	 .must = "must be up to 32 small letters, digits and dashes"},                                                 \
		{.key = "mac",                                                                                         \
		 .kind = CBOR_DATA,                                                                                    \
		 .required = true,                                                                                     \
		 .offset = (at) + offsetof(struct lan_member, mac),                                                    \
		 .max = PACKET_MAC,                                                                                    \
		 .wrong = net_config__no_station},                                                                     \
		ADDRESS("ipv4", (at) + offsetof(struct lan_member, address[0]), 4),                                    \
		ADDRESS("ipv6", (at) + offsetof(struct lan_member, address[1]), 6)
#define TOKEN(at)                                                                                                      \
	{                                                                                                              \
		.key = "token", .kind = CBOR_DATA, .required = true, .offset = (at), .max = LAN_TOKEN                  \
	}

static const struct cbor_field peer_fields[] = {
	{.key = "socket", .kind = CBOR_TEXT, .required = true, .offset = offsetof(struct lan_peer, socket)},
	TOKEN(offsetof(struct lan_peer, token)),
	MEMBER(offsetof(struct lan_peer, member)),
};
static const struct cbor_table peer_table = CBOR_TABLE("lan-peer", peer_fields);
static const struct cbor_field peer_item = {.kind = CBOR_MAP, .table = &peer_table};

#define LAN(member) offsetof(struct lan_options, member)
static const struct cbor_field lan_fields[] = {
	{.key = "mtu",
	 .kind = CBOR_U16,
	 .required = true,
	 .offset = LAN(mtu),
	 .min = 1280, /* the least of IPv6, RFC 8200 section 5 */
	 .max = VIRTIO_NET_MTU_MAX},
	MEMBER(LAN(self)),
	ADDRESS("nameServer4", LAN(name_server[0]), 4),
	ADDRESS("nameServer6", LAN(name_server[1]), 6),
	TOKEN(LAN(token)),
	{.key = "peers",
	 .kind = CBOR_LIST,
	 .required = true,
	 .offset = LAN(peers),
	 .item = &peer_item,
	 .size = sizeof(struct lan_peer),
	 .max = LAN_PEERS},
};
#undef LAN
static const struct cbor_table lan_table = CBOR_TABLE("lan-device", lan_fields);
static const struct cbor_field lan_item = {.kind = CBOR_MAP, .table = &lan_table};

static int make_one(const struct lan_options *lan, int listener, struct device_maker *maker, struct failure *why)
{
	struct lan_options options = *lan;
	struct virtio_device *dev;
	options.listener = listener;
	options.names = maker->names;
	int err = lan__new(&options, &dev, why);
	return err ? err : maker->add(maker, dev, why);
}

static int lan_make(const void *config, struct device_maker *maker, struct failure *why)
{
	const struct net_lans *lans = config;
	int err = lans->all.count && !maker->names ? names__new(&maker->names) : 0;
	if (err)
		return failure__set(why, -err, NULL, "no memory for the names of sandboxes");
	for (unsigned i = 0; !err && i < lans->all.count; i++)
		err = make_one(&lans->all.at[i], maker->first_listener + (int)i, maker, why);
	return err;
}

const struct device_kind device_lan = {
	.id = VIRTIO_ID_NET,
	.field = {.key = "lans",
		  .kind = CBOR_LIST,
		  .item = &lan_item,
		  .size = sizeof(struct lan_options),
		  .max = NET_LANS},
	.size = sizeof(struct net_lans),
	.thread = CONFINE_LAN,
	.make = lan_make,
};
