/* Reading and checking `net-device` of ffi/vmm.cddl. */
#include "net/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "vmm/build/config.h"

#define MAX_RULES 2048
#define MIN_BANDWIDTH 8000          /* with less a frame of 32 KiB takes more than four seconds */
#define MAX_BANDWIDTH 1000000000000 /* keeps the sums of net/throttle.c far from their ends */

static int wrong(struct cbor_reader *reader, const char *where, const char *what)
{
	return failure__set(reader->why, EINVAL, NULL, "%s %s", where, what);
}

static int read_address(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	const char *text;
	int err = cbor_value__text(reader, value, &text, where);
	if (err)
		return err;
	return address__parse(text, member) ? wrong(reader, where, "must be an IPv4 or IPv6 address") : 0;
}

int config_address__read4(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	int err = read_address(reader, value, member, where);
	return err ? err : address__is4(member) ? 0 : wrong(reader, where, "must be an IPv4 address");
}

int config_address__read6(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	int err = read_address(reader, value, member, where);
	return err ? err : address__is4(member) ? wrong(reader, where, "must be an IPv6 address") : 0;
}

static int read_network(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	const char *text;
	int err = cbor_value__text(reader, value, &text, where);
	if (err)
		return err;
	return network__parse(text, member) ? wrong(reader, where, "must be a network such as 10.0.0.0/8") : 0;
}

static int read_mac(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	struct config_net *net = member;
	struct span bytes = {NULL, 0};
	int err = cbor_value__bytes(reader, value, &bytes, where);
	if (err)
		return err;
	if (bytes.length != PACKET_MAC || (bytes.at[0] & 1))
		return wrong(reader, where, "must be the 6 bytes of one station's Ethernet address");
	memcpy(net->addresses.mac, bytes.at, PACKET_MAC);
	return 0;
}

/* One family's side of the guest's network. */
struct side {
	struct network network;
	struct address guest, host, name_server;
};

static int read_side(struct cbor_reader *reader, const CborValue *value, struct net_addresses *to, unsigned family,
		     const char *where)
{
	static const struct cbor_field fields[] = {
		{.key = "network",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = offsetof(struct side, network),
		 .read = read_network},
		{.key = "guest",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = offsetof(struct side, guest),
		 .read = read_address},
		{.key = "host",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = offsetof(struct side, host),
		 .read = read_address},
		{.key = "nameServer",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = offsetof(struct side, name_server),
		 .read = read_address},
	};
	struct side side;
	memset(&side, 0, sizeof(side));
	int err = cbor_map__read(reader, value, fields, sizeof(fields) / sizeof(fields[0]), true, &side, where);
	if (err)
		return err;
	const struct address *inside[] = {&side.guest, &side.host, &side.name_server};
	for (unsigned i = 0; i < sizeof(inside) / sizeof(inside[0]); i++)
		if (!network__holds(&side.network, inside[i]) || address__is4(inside[i]) != (family == 0))
			return wrong(reader, where, "has an address outside of its network");
	to->network[family] = side.network;
	to->guest[family] = side.guest;
	to->host[family] = side.host;
	to->name_server[family] = side.name_server;
	return 0;
}

static int read_ipv4(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	return read_side(reader, value, member, 0, where);
}

static int read_ipv6(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	return read_side(reader, value, member, 1, where);
}

static int read_server(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index, const char *where)
{
	struct config_net *net = arg;
	const char *text;
	int err = cbor_value__text(reader, value, &text, where);
	if (err)
		return err;
	net->servers.count = index + 1;
	return name_server__parse(text, &net->servers.at[index])
		       ? wrong(reader, where, "must be an IPv4 or IPv6 address, the latter perhaps with an interface")
		       : 0;
}

static int read_servers(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	return cbor_array__read(reader, value, NAME_SERVERS, where, read_server, member);
}

int config_protocol__read(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	static const struct {
		const char *word;
		enum policy_protocol protocol;
	} words[] = {{"tcp", POLICY_TCP}, {"udp", POLICY_UDP}, {"icmp", POLICY_ICMP}};
	const char *text;
	int err = cbor_value__text(reader, value, &text, where);
	if (err)
		return err;
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(text, words[i].word) == 0) {
			*(enum policy_protocol *)member = words[i].protocol;
			return 0;
		}
	}
	return wrong(reader, where, "must be tcp, udp or icmp");
}

struct rule {
	bool allow, log, own;
	const char *name;
	struct network network;
	enum policy_protocol protocol;
	uint64_t first_port, last_port;
	const char *why, *text;
};

static int read_rule(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index, const char *where)
{
#define RULE(member) offsetof(struct rule, member)
	static const struct cbor_field fields[] = {
		{.key = "allow", .kind = CBOR_KIND_BOOL, .required = true, .offset = RULE(allow)},
		{.key = "log", .kind = CBOR_KIND_BOOL, .offset = RULE(log)},
		{.key = "own", .kind = CBOR_KIND_BOOL, .offset = RULE(own)},
		{.key = "name", .kind = CBOR_KIND_TEXT, .offset = RULE(name)},
		{.key = "network", .kind = CBOR_KIND_OTHER, .offset = RULE(network), .read = read_network},
		{.key = "protocol", .kind = CBOR_KIND_OTHER, .offset = RULE(protocol), .read = config_protocol__read},
		{.key = "firstPort", .kind = CBOR_KIND_UINT, .offset = RULE(first_port), .max = UINT16_MAX},
		{.key = "lastPort", .kind = CBOR_KIND_UINT, .offset = RULE(last_port), .max = UINT16_MAX},
		{.key = "why", .kind = CBOR_KIND_TEXT, .offset = RULE(why)},
		{.key = "text", .kind = CBOR_KIND_TEXT, .offset = RULE(text)},
	};
#undef RULE
	struct config_rules *rules = arg;
	/* no network has more bits than these: it stays so only where none is given */
	struct rule rule = {.network = {.bits = UINT32_MAX}, .last_port = UINT16_MAX};
	int err = cbor_map__read(reader, value, fields, sizeof(fields) / sizeof(fields[0]), true, &rule, where);
	if (err)
		return err;
	if (!rule.name == (rule.network.bits == UINT32_MAX))
		return wrong(reader, where, "must have either a name or a network");
	if (rule.name && rule.own)
		return wrong(reader, where, "is for a name, and for this machine's own addresses alone");
	if (rule.name && (!*rule.name || strlen(rule.name) > POLICY_NAME_MAX))
		return wrong(reader, where, "has a name of no length, or more than 253 bytes");
	if (rule.first_port > rule.last_port)
		return wrong(reader, where, "has a firstPort above its lastPort");
	rules->at[index] = (struct policy_rule){
		.allow = rule.allow,
		.log = rule.log,
		.own = rule.own,
		.name = rule.name,
		.network = rule.network,
		.protocol = rule.protocol,
		.first_port = (uint16_t)rule.first_port,
		.last_port = (uint16_t)rule.last_port,
		.why = rule.why,
		.text = rule.text,
	};
	rules->count = index + 1;
	return 0;
}

int config_rules__read(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	struct config_rules *rules = member;
	free(rules->at); /* of a key that is there twice */
	*rules = (struct config_rules){.at = calloc(MAX_RULES, sizeof(*rules->at))};
	if (!rules->at)
		return failure__set(reader->why, ENOMEM, NULL, "no memory for %s", where);
	return cbor_array__read(reader, value, MAX_RULES, where, read_rule, rules);
}

struct publish {
	enum policy_protocol protocol;
	struct address address;
	uint64_t port, guest_port;
};

static int read_port(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index, const char *where)
{
#define PUBLISH(member) offsetof(struct publish, member)
	static const struct cbor_field fields[] = {
		{.key = "protocol",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = PUBLISH(protocol),
		 .read = config_protocol__read},
		{.key = "address",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = PUBLISH(address),
		 .read = read_address},
		{.key = "port", .kind = CBOR_KIND_UINT, .required = true, .offset = PUBLISH(port), .max = UINT16_MAX},
		{.key = "guestPort",
		 .kind = CBOR_KIND_UINT,
		 .required = true,
		 .offset = PUBLISH(guest_port),
		 .min = 1,
		 .max = UINT16_MAX},
	};
#undef PUBLISH
	struct config_net *net = arg;
	struct publish port = {.protocol = POLICY_ANY};
	int err = cbor_map__read(reader, value, fields, sizeof(fields) / sizeof(fields[0]), true, &port, where);
	if (err)
		return err;
	if (port.protocol == POLICY_ICMP)
		return wrong(reader, where, "has a protocol without ports");
	net->publish[index] = (struct nat_publish){
		.udp = port.protocol == POLICY_UDP,
		.host = port.address,
		.host_port = (uint16_t)port.port,
		.guest_port = (uint16_t)port.guest_port,
	};
	net->publish_count = index + 1;
	return 0;
}

static int read_ports(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	return cbor_array__read(reader, value, NAT_PUBLISHED, where, read_port, member);
}

struct service_fields {
	const char *name, *socket;
	struct address address;
	uint64_t port;
};

static int read_service(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index,
			const char *where)
{
#define SERVICE(member) offsetof(struct service_fields, member)
	static const struct cbor_field fields[] = {
		{.key = "name", .kind = CBOR_KIND_TEXT, .required = true, .offset = SERVICE(name)},
		{.key = "address",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = SERVICE(address),
		 .read = read_address},
		{.key = "port",
		 .kind = CBOR_KIND_UINT,
		 .required = true,
		 .offset = SERVICE(port),
		 .min = 1,
		 .max = UINT16_MAX},
		{.key = "socket", .kind = CBOR_KIND_TEXT, .required = true, .offset = SERVICE(socket)},
	};
#undef SERVICE
	struct services *services = arg;
	struct service_fields given = {.name = NULL};
	int err = cbor_map__read(reader, value, fields, sizeof(fields) / sizeof(fields[0]), true, &given, where);
	if (err)
		return err;
	if (!*given.name || strlen(given.name) > POLICY_NAME_MAX)
		return wrong(reader, where, "has a name of no length, or more than 253 bytes");
	if (given.socket[0] != '/' || strlen(given.socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return wrong(reader, where, "has a socket that is no absolute path, or one of more than 107 bytes");
	services->at[index] = (struct service){
		.name = given.name, .address = given.address, .port = (uint16_t)given.port, .socket = given.socket};
	services->count = index + 1;
	return 0;
}

static int read_services(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	return cbor_array__read(reader, value, SERVICES, where, read_service, member);
}

/* Each name has one address, which is nobody else's, and each port of it one socket. */
static int check_services(struct cbor_reader *reader, const struct config_net *net, const char *where)
{
	const struct net_addresses *known = &net->addresses;
	for (unsigned i = 0; i < net->services.count; i++) {
		const struct service *one = &net->services.at[i];
		if (!address__is4(&one->address) || !network__holds(&known->network[0], &one->address) ||
		    egress__is(&one->address, known->guest) || egress__is(&one->address, known->host) ||
		    egress__is(&one->address, known->name_server))
			return wrong(reader, where, "has a service outside of its IPv4 network, or in another's place");
		for (unsigned j = 0; j < i; j++) {
			const struct service *other = &net->services.at[j];
			bool same_name = strcmp(one->name, other->name) == 0;
			bool same_address = address__equal(&one->address, &other->address);
			if (same_name != same_address || (same_name && one->port == other->port))
				return wrong(reader, where, "has services in each other's place");
		}
	}
	return 0;
}

int config_net__read(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
#define NET(member) offsetof(struct config_net, member)
	static const struct cbor_field fields[] = {
		{.key = "mac", .kind = CBOR_KIND_OTHER, .required = true, .offset = 0, .read = read_mac},
		{.key = "mtu",
		 .kind = CBOR_KIND_UINT,
		 .required = true,
		 .offset = NET(mtu),
		 .min = 1280, /* the least of IPv6, RFC 8200 section 5 */
		 .max = VIRTIO_NET_MTU_MAX},
		{.key = "ipv4", .kind = CBOR_KIND_OTHER, .required = true, .offset = NET(addresses), .read = read_ipv4},
		{.key = "ipv6", .kind = CBOR_KIND_OTHER, .required = true, .offset = NET(addresses), .read = read_ipv6},
		{.key = "hostLoopback", .kind = CBOR_KIND_BOOL, .offset = NET(host_loopback)},
		{.key = "nameServers", .kind = CBOR_KIND_OTHER, .required = true, .offset = 0, .read = read_servers},
		{.key = "followsHost", .kind = CBOR_KIND_BOOL, .offset = NET(follows_host)},
		{.key = "rules",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = NET(rules),
		 .read = config_rules__read},
		{.key = "otherwise", .kind = CBOR_KIND_BOOL, .required = true, .offset = NET(otherwise)},
		{.key = "maxConnections",
		 .kind = CBOR_KIND_UINT,
		 .offset = NET(max_connections),
		 .min = 1,
		 .max = GATE_CONNECTIONS},
		{.key = "bandwidth",
		 .kind = CBOR_KIND_UINT,
		 .offset = NET(bandwidth),
		 .min = MIN_BANDWIDTH,
		 .max = MAX_BANDWIDTH},
		{.key = "services", .kind = CBOR_KIND_OTHER, .offset = NET(services), .read = read_services},
		{.key = "publish", .kind = CBOR_KIND_OTHER, .required = true, .offset = 0, .read = read_ports},
	};
#undef NET
	struct config_net *net = member;
	net->present = true;
	int err = cbor_map__read(reader, value, fields, sizeof(fields) / sizeof(fields[0]), true, net, where);
	return err ? err : check_services(reader, net, where);
}
