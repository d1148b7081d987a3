/* Reading and checking `lan-device` of ffi/vmm.cddl. */
#include "net/lan_config.h"

#include <errno.h>
#include <string.h>

#include "vmm/build/config.h"

static int wrong(struct cbor_reader *reader, const char *where, const char *what)
{
	return failure__set(reader->why, EINVAL, NULL, "%s %s", where, what);
}

static int read_name(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	const char *text;
	int err = cbor_value__text(reader, value, &text, where);
	if (err)
		return err;
	if (!lan__is_name(text))
		return wrong(reader, where, "must be up to 32 small letters, digits and dashes");
	memcpy(member, text, strlen(text) + 1);
	return 0;
}

/* Exactly `len` bytes. */
static int read_bytes(struct cbor_reader *reader, const CborValue *value, void *to, size_t len, const char *where)
{
	struct span bytes = {NULL, 0};
	int err = cbor_value__bytes(reader, value, &bytes, where);
	if (err)
		return err;
	if (bytes.length != len)
		return failure__set(reader->why, EINVAL, NULL, "%s must be %zu bytes", where, len);
	memcpy(to, bytes.at, len);
	return 0;
}

static int read_token(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	return read_bytes(reader, value, member, LAN_TOKEN, where);
}

static int read_mac(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	uint8_t *mac = member;
	int err = read_bytes(reader, value, mac, PACKET_MAC, where);
	return err ? err : mac[0] & 1 ? wrong(reader, where, "must be one station's Ethernet address") : 0;
}

static int read_peer(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index, const char *where)
{
#define PEER(field) offsetof(struct lan_peer, field)
	static const struct cbor_field fields[] = {
		{.key = "socket", .kind = CBOR_KIND_TEXT, .required = true, .offset = PEER(socket)},
		{.key = "token", .kind = CBOR_KIND_OTHER, .required = true, .offset = PEER(token), .read = read_token},
		{.key = "name",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = PEER(member.name),
		 .read = read_name},
		{.key = "mac", .kind = CBOR_KIND_OTHER, .required = true, .offset = PEER(member.mac), .read = read_mac},
		{.key = "ipv4",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = PEER(member.address[0]),
		 .read = config_address__read4},
		{.key = "ipv6",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = PEER(member.address[1]),
		 .read = config_address__read6},
	};
#undef PEER
	struct config_lan *lan = arg;
	lan->peer_count = index + 1;
	return cbor_map__read(reader, value, fields, sizeof(fields) / sizeof(fields[0]), true, &lan->peers[index],
			      where);
}

static int read_peers(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	return cbor_array__read(reader, value, LAN_PEERS, where, read_peer, member);
}

static int read_lan(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index, const char *where)
{
#define LAN(field) offsetof(struct config_lan, field)
	static const struct cbor_field fields[] = {
		{.key = "mtu",
		 .kind = CBOR_KIND_UINT,
		 .required = true,
		 .offset = LAN(mtu),
		 .min = 1280, /* the least of IPv6, RFC 8200 section 5 */
		 .max = VIRTIO_NET_MTU_MAX},
		{.key = "name", .kind = CBOR_KIND_OTHER, .required = true, .offset = LAN(self.name), .read = read_name},
		{.key = "mac", .kind = CBOR_KIND_OTHER, .required = true, .offset = LAN(self.mac), .read = read_mac},
		{.key = "ipv4",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = LAN(self.address[0]),
		 .read = config_address__read4},
		{.key = "ipv6",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = LAN(self.address[1]),
		 .read = config_address__read6},
		{.key = "nameServer4",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = LAN(name_server[0]),
		 .read = config_address__read4},
		{.key = "nameServer6",
		 .kind = CBOR_KIND_OTHER,
		 .required = true,
		 .offset = LAN(name_server[1]),
		 .read = config_address__read6},
		{.key = "token", .kind = CBOR_KIND_OTHER, .required = true, .offset = LAN(token), .read = read_token},
		{.key = "peers", .kind = CBOR_KIND_OTHER, .required = true, .offset = 0, .read = read_peers},
	};
#undef LAN
	struct vmm_config *config = arg;
	config->lan_count = index + 1;
	return cbor_map__read(reader, value, fields, sizeof(fields) / sizeof(fields[0]), true, &config->lans[index],
			      where);
}

int config_lans__read(struct cbor_reader *reader, const CborValue *value, void *member, const char *where)
{
	return cbor_array__read(reader, value, CONFIG_MAX_LANS, where, read_lan, member);
}
