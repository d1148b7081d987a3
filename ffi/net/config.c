/* Reading and checking `net-device` of ffi/vmm.cddl. */
#include "net/config.h"

#include <errno.h>
#include <string.h>
#include <sys/un.h>

#define MIN_BANDWIDTH 8000          /* with less a frame of 32 KiB takes more than four seconds */
#define MAX_BANDWIDTH 1000000000000 /* keeps the sums of net/throttle.c far from their ends */
#define MIN_MTU 1280                /* the least of IPv6, RFC 8200 section 5 */

#define MUST_BE_ADDRESS "must be an IPv4 or IPv6 address"

/* ---- addresses ---- */

static int parse_address(const char *text, void *member)
{
	return address__parse(text, member);
}

int net_config__address4(const char *text, void *member)
{
	return address__parse(text, member) || !address__is4(member) ? -EINVAL : 0;
}

int net_config__address6(const char *text, void *member)
{
	return address__parse(text, member) || address__is4(member) ? -EINVAL : 0;
}

static int parse_network(const char *text, void *member)
{
	return network__parse(text, member);
}

static int parse_server(const char *text, void *member)
{
	return name_server__parse(text, member);
}

const char *net_config__no_station(const void *mac)
{
	return *(const uint8_t *)mac & 1 ? "must be one station's Ethernet address" : NULL;
}

/* One family's side of the guest's network. */
static int check_side(struct cbor_reader *reader, const struct net_addresses *to, unsigned family, const char *where)
{
	const struct address *inside[] = {&to->guest[family], &to->host[family], &to->name_server[family]};
	for (unsigned i = 0; i < sizeof(inside) / sizeof(inside[0]); i++)
		if (!network__holds(&to->network[family], inside[i]) || address__is4(inside[i]) != (family == 0))
			return cbor_reader__refuse(reader, where, "has an address outside of its network");
	return 0;
}

static int check_side4(struct cbor_reader *reader, void *into, const char *where)
{
	return check_side(reader, into, 0, where);
}

static int check_side6(struct cbor_reader *reader, void *into, const char *where)
{
	return check_side(reader, into, 1, where);
}

#define SIDE_ADDRESS(its_key, member)                                                                                  \
	{                                                                                                              \
		.key = (its_key), .kind = CBOR_PARSED, .required = true,                                               \
		.offset = offsetof(struct net_addresses, member), .parse = parse_address, .must = MUST_BE_ADDRESS      \
	}
#define SIDE(family)                                                                                                   \
	{                                                                                                              \
		{.key = "network",                                                                                     \
		 .kind = CBOR_PARSED,                                                                                  \
		 .required = true,                                                                                     \
		 .offset = offsetof(struct net_addresses, network[family]),                                            \
		 .parse = parse_network,                                                                               \
		 .must = "must be a network such as 10.0.0.0/8"},                                                      \
			SIDE_ADDRESS("guest", guest[family]), SIDE_ADDRESS("host", host[family]),                      \
			SIDE_ADDRESS("nameServer", name_server[family]),                                               \
	}
static const struct cbor_field side4_fields[] = SIDE(0), side6_fields[] = SIDE(1);
static const struct cbor_table side4 = CBOR_TABLE("net-side", side4_fields, .check = check_side4);
static const struct cbor_table side6 = CBOR_TABLE("net-side", side6_fields, .check = check_side6);

/* ---- rules ---- */

const char *const net_config_protocols[] = {"tcp", "udp", "icmp", NULL};
static const char *const with_ports[] = {"tcp", "udp", NULL};
_Static_assert(POLICY_UDP == POLICY_TCP + 1 && POLICY_ICMP == POLICY_TCP + 2, "as the words are numbered");

/* No network has more bits than these: it stays so only where none is given. */
static void begin_rule(void *into)
{
	struct policy_rule *rule = into;
	rule->network.bits = UINT32_MAX;
	rule->last_port = UINT16_MAX;
}

static int check_rule(struct cbor_reader *reader, void *into, const char *where)
{
	const struct policy_rule *rule = into;
	if (!rule->name == (rule->network.bits == UINT32_MAX))
		return cbor_reader__refuse(reader, where, "must have either a name or a network");
	if (rule->name && rule->own)
		return cbor_reader__refuse(reader, where, "is for a name, and for this machine's own addresses alone");
	if (rule->name && (!*rule->name || strlen(rule->name) > POLICY_NAME_MAX))
		return cbor_reader__refuse(reader, where, "has a name of no length, or more than 253 bytes");
	if (rule->first_port > rule->last_port)
		return cbor_reader__refuse(reader, where, "has a firstPort above its lastPort");
	return 0;
}

#define RULE(member) offsetof(struct policy_rule, member)
static const struct cbor_field rule_fields[] = {
	{.key = "allow", .kind = CBOR_BOOL, .required = true, .offset = RULE(allow)},
	{.key = "log", .kind = CBOR_BOOL, .offset = RULE(log)},
	{.key = "own", .kind = CBOR_BOOL, .offset = RULE(own)},
	{.key = "name", .kind = CBOR_TEXT, .offset = RULE(name)},
	{.key = "network",
	 .kind = CBOR_PARSED,
	 .offset = RULE(network),
	 .parse = parse_network,
	 .must = "must be a network such as 10.0.0.0/8"},
	{.key = "protocol",
	 .kind = CBOR_CHOICE,
	 .offset = RULE(protocol),
	 .words = net_config_protocols,
	 .min = POLICY_TCP},
	{.key = "firstPort", .kind = CBOR_U16, .offset = RULE(first_port)},
	{.key = "lastPort", .kind = CBOR_U16, .offset = RULE(last_port)},
	{.key = "why", .kind = CBOR_TEXT, .offset = RULE(why)},
	{.key = "text", .kind = CBOR_TEXT, .offset = RULE(text)},
};
#undef RULE
static const struct cbor_table rule_table =
	CBOR_TABLE("net-rule", rule_fields, .begin = begin_rule, .check = check_rule);
const struct cbor_field net_config_rule = {.kind = CBOR_MAP, .table = &rule_table};

/* ---- published ports, and services ---- */

#define PUBLISH(member) offsetof(struct nat_publish, member)
static const struct cbor_field publish_fields[] = {
	{.key = "protocol",
	 .kind = CBOR_CHOICE,
	 .required = true,
	 .offset = PUBLISH(protocol),
	 .words = with_ports,
	 .min = POLICY_TCP},
	{.key = "address",
	 .kind = CBOR_PARSED,
	 .required = true,
	 .offset = PUBLISH(host),
	 .parse = parse_address,
	 .must = MUST_BE_ADDRESS},
	{.key = "port", .kind = CBOR_U16, .required = true, .offset = PUBLISH(host_port)},
	{.key = "guestPort", .kind = CBOR_U16, .required = true, .offset = PUBLISH(guest_port), .min = 1},
};
#undef PUBLISH
static const struct cbor_table publish_table = CBOR_TABLE("net-publish", publish_fields);
static const struct cbor_field publish_item = {.kind = CBOR_MAP, .table = &publish_table};

static int check_service(struct cbor_reader *reader, void *into, const char *where)
{
	const struct service *service = into;
	if (!*service->name || strlen(service->name) > POLICY_NAME_MAX)
		return cbor_reader__refuse(reader, where, "has a name of no length, or more than 253 bytes");
	if (strlen(service->socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return cbor_reader__refuse(reader, where, "has a socket with a path of more than 107 bytes");
	return 0;
}

#define SERVICE(member) offsetof(struct service, member)
static const struct cbor_field service_fields[] = {
	{.key = "name", .kind = CBOR_TEXT, .required = true, .offset = SERVICE(name)},
	{.key = "address",
	 .kind = CBOR_PARSED,
	 .required = true,
	 .offset = SERVICE(address),
	 .parse = parse_address,
	 .must = MUST_BE_ADDRESS},
	{.key = "port", .kind = CBOR_U16, .required = true, .offset = SERVICE(port), .min = 1},
	{.key = "socket", .kind = CBOR_PATH, .required = true, .offset = SERVICE(socket)},
};
#undef SERVICE
static const struct cbor_table service_table = CBOR_TABLE("net-service", service_fields, .check = check_service);
static const struct cbor_field service_item = {.kind = CBOR_MAP, .table = &service_table};

/* Each name has one address, which is nobody else's, and each port of it one socket. */
static int check_services(struct cbor_reader *reader, const struct nat_options *net, const char *where)
{
	const struct net_addresses *known = &net->addresses;
	for (unsigned i = 0; i < net->services.count; i++) {
		const struct service *one = &net->services.at[i];
		if (!address__is4(&one->address) || !network__holds(&known->network[0], &one->address) ||
		    egress__is(&one->address, known->guest) || egress__is(&one->address, known->host) ||
		    egress__is(&one->address, known->name_server))
			return cbor_reader__refuse(reader, where,
						   "has a service outside of its IPv4 network, or in another's place");
		for (unsigned j = 0; j < i; j++) {
			const struct service *other = &net->services.at[j];
			bool same_name = strcmp(one->name, other->name) == 0;
			bool same_address = address__equal(&one->address, &other->address);
			if (same_name != same_address || (same_name && one->port == other->port))
				return cbor_reader__refuse(reader, where, "has services in each other's place");
		}
	}
	return 0;
}

/* ---- the whole ---- */

static const struct cbor_field server_item = {
	.kind = CBOR_PARSED,
	.parse = parse_server,
	.must = "must be an IPv4 or IPv6 address, the latter perhaps with an interface"};

static int check_net(struct cbor_reader *reader, void *into, const char *where)
{
	struct nat_options *net = into;
	net->present = true;
	for (unsigned i = 0; i < net->name_servers.count; i++)
		net->servers.at[net->servers.count++] = net->name_servers.at[i];
	return check_services(reader, net, where);
}

#define NET(member) offsetof(struct nat_options, member)
static const struct cbor_field net_fields[] = {
	{.key = "mac",
	 .kind = CBOR_DATA,
	 .required = true,
	 .offset = NET(addresses.mac),
	 .max = PACKET_MAC,
	 .wrong = net_config__no_station},
	{.key = "mtu",
	 .kind = CBOR_U16,
	 .required = true,
	 .offset = NET(mtu),
	 .min = MIN_MTU,
	 .max = VIRTIO_NET_MTU_MAX},
	{.key = "ipv4", .kind = CBOR_MAP, .required = true, .offset = NET(addresses), .table = &side4},
	{.key = "ipv6", .kind = CBOR_MAP, .required = true, .offset = NET(addresses), .table = &side6},
	{.key = "hostLoopback", .kind = CBOR_BOOL, .offset = NET(host_loopback)},
	{.key = "nameServers",
	 .kind = CBOR_LIST,
	 .required = true,
	 .offset = NET(name_servers),
	 .item = &server_item,
	 .size = sizeof(struct name_server),
	 .max = NAME_SERVERS},
	{.key = "followsHost", .kind = CBOR_BOOL, .offset = NET(follows_host)},
	{.key = "rules",
	 .kind = CBOR_LIST,
	 .required = true,
	 .offset = NET(rules),
	 .item = &net_config_rule,
	 .size = sizeof(struct policy_rule),
	 .max = NET_RULES},
	{.key = "otherwise", .kind = CBOR_BOOL, .required = true, .offset = NET(otherwise)},
	{.key = "maxConnections", .kind = CBOR_U32, .offset = NET(max_connections), .min = 1, .max = GATE_CONNECTIONS},
	{.key = "bandwidth", .kind = CBOR_U64, .offset = NET(bandwidth), .min = MIN_BANDWIDTH, .max = MAX_BANDWIDTH},
	{.key = "services",
	 .kind = CBOR_LIST,
	 .offset = NET(services),
	 .item = &service_item,
	 .size = sizeof(struct service),
	 .max = SERVICES},
	{.key = "publish",
	 .kind = CBOR_LIST,
	 .required = true,
	 .offset = NET(publish),
	 .item = &publish_item,
	 .size = sizeof(struct nat_publish),
	 .max = NAT_PUBLISHED},
};
#undef NET
const struct cbor_table net_config_table = CBOR_TABLE("net-device", net_fields, .check = check_net);
