/* Addresses of both families in one form, and which of them are special. */
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

#define V4(a, b, c, d, length)                                                                                         \
	{                                                                                                              \
		{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}}, 96 + (length)                                \
	}
#define V6(a, b, length)                                                                                               \
	{                                                                                                              \
		{{a, b}}, length                                                                                       \
	}

/* IANA's special-purpose registries (RFC 6890). */
static const struct network local[] = {
	V4(0, 0, 0, 0, 8),                        /* connecting to 0.0.0.0 is connecting to oneself */
	V4(127, 0, 0, 0, 8), V4(224, 0, 0, 0, 4), /* multicast, and what is above: reserved, broadcast */
	V4(240, 0, 0, 0, 4), {{{0}}, 96},         /* ::, ::1 and the IPv4-compatible ones */
	V6(0xff, 0, 8),
};
static const struct network inside[] = {
	V4(10, 0, 0, 0, 8),     V4(100, 64, 0, 0, 10), V4(169, 254, 0, 0, 16), V4(172, 16, 0, 0, 12),
	V4(192, 168, 0, 0, 16), V6(0xfc, 0, 7),        V6(0xfe, 0x80, 10),
};

/* Where an IPv4 address lies in one of IPv6: its bytes, behind which the rest is zero. */
static const struct form {
	struct network network;
	uint8_t at[4], rest;
	bool inverted;
} forms[] = {
	{{{{0, 0x64, 0xff, 0x9b}}, 96}, {12, 13, 14, 15}, 16, false},
	/* 64:ff9b:1::/48 holds prefixes of any length that RFC 6052 knows */
	{{{{0, 0x64, 0xff, 0x9b, 0, 1}}, 48}, {6, 7, 9, 10}, 11, false},
	{{{{0, 0x64, 0xff, 0x9b, 0, 1}}, 48}, {7, 9, 10, 11}, 12, false},
	{{{{0, 0x64, 0xff, 0x9b, 0, 1}}, 48}, {9, 10, 11, 12}, 13, false},
	{{{{0, 0x64, 0xff, 0x9b, 0, 1}}, 48}, {12, 13, 14, 15}, 16, false},
	{{{{[8] = 0xff, 0xff}}, 96}, {12, 13, 14, 15}, 16, false},
	{{{{0x20, 0x02}}, 16}, {2, 3, 4, 5}, 16, false},
	{{{{0x20, 0x01}}, 32}, {4, 5, 6, 7}, 16, false},
	{{{{0x20, 0x01}}, 32}, {12, 13, 14, 15}, 16, true},
};

struct address address__from4(const void *four_bytes)
{
	struct address address;
	memcpy(address.bytes, mapped, sizeof(mapped));
	memcpy(address.bytes + sizeof(mapped), four_bytes, 4);
	return address;
}

struct address address__from6(const void *sixteen_bytes)
{
	struct address address;
	memcpy(address.bytes, sixteen_bytes, sizeof(address.bytes));
	return address;
}

bool address__is4(const struct address *address)
{
	return memcmp(address->bytes, mapped, sizeof(mapped)) == 0;
}

bool address__equal(const struct address *one, const struct address *other)
{
	return memcmp(one->bytes, other->bytes, sizeof(one->bytes)) == 0;
}

int address__parse(const char *text, struct address *out)
{
	uint8_t bytes[16];
	if (inet_pton(AF_INET, text, bytes) == 1)
		*out = address__from4(bytes);
	else if (inet_pton(AF_INET6, text, bytes) == 1)
		*out = address__from6(bytes);
	else
		return -EINVAL;
	return 0;
}

const char *address__print(const struct address *address, char to[ADDRESS_TEXT])
{
	bool is4 = address__is4(address);
	if (!inet_ntop(is4 ? AF_INET : AF_INET6, address->bytes + (is4 ? sizeof(mapped) : 0), to, ADDRESS_TEXT))
		to[0] = 0;
	return to;
}

socklen_t address__socket(const struct address *address, uint16_t port, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (address__is4(address)) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, address->bytes + sizeof(mapped), 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, address->bytes, sizeof(address->bytes));
	return sizeof(*in6);
}

int network__parse(const char *text, struct network *out)
{
	char host[ADDRESS_TEXT];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	if (len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, len);
	host[len] = 0;
	int err = address__parse(host, &out->address);
	if (err)
		return err;
	bool is4 = address__is4(&out->address) && !strchr(host, ':');
	unsigned long most = is4 ? 32 : 128, bits = most;
	if (slash) {
		char *end;
		if (slash[1] < '0' || slash[1] > '9')
			return -EINVAL;
		bits = strtoul(slash + 1, &end, 10);
		if (*end || bits > most)
			return -EINVAL;
	}
	out->bits = (unsigned)bits + (is4 ? 96 : 0);
	return 0;
}

const char *network__print(const struct network *network, char to[NETWORK_TEXT])
{
	unsigned before = network__is4(network) ? 96 : 0;
	address__print(&network->address, to);
	size_t len = strlen(to);
	snprintf(to + len, NETWORK_TEXT - len, "/%u", network->bits - before);
	return to;
}

bool network__is4(const struct network *network)
{
	return network->bits >= 96 && address__is4(&network->address);
}

bool network__holds(const struct network *network, const struct address *address)
{
	unsigned whole = network->bits / 8, rest = network->bits % 8;
	if (network__is4(network) != address__is4(address) ||
	    memcmp(network->address.bytes, address->bytes, whole) != 0)
		return false;
	return !rest || !((network->address.bytes[whole] ^ address->bytes[whole]) >> (8 - rest));
}

static bool among(const struct network *networks, unsigned count, const struct address *address)
{
	for (unsigned i = 0; i < count; i++)
		if (network__holds(&networks[i], address))
			return true;
	return false;
}

/* Whether the address has one of that form, which becomes *out. Which form those of 64:ff9b:1::/48 have nobody knows
 * here; one of "this network", 0.0.0.0/8, is none then. */
static bool has_form(const struct form *form, const struct address *address, struct address *out)
{
	uint8_t bytes[4];
	if (!network__holds(&form->network, address))
		return false;
	for (unsigned i = form->rest; i < sizeof(address->bytes); i++)
		if (address->bytes[i])
			return false;
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = address->bytes[form->at[i]] ^ (form->inverted ? 0xff : 0);
	*out = address__from4(bytes);
	return form->network.bits != 48 || bytes[0];
}

/* RFC 5214 section 6.1: behind any prefix. */
static bool is_isatap(const struct address *address)
{
	static const uint8_t words[3] = {0, 0x5e, 0xfe};
	return (address->bytes[8] & ~2) == 0 && memcmp(address->bytes + 9, words, sizeof(words)) == 0;
}

unsigned address__plain(const struct address *address, struct address out[ADDRESS_PLAIN])
{
	unsigned count = 1;
	out[0] = *address;
	if (address__is4(address))
		return count;
	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		count += has_form(&forms[i], address, &out[count]);
	if (is_isatap(address))
		out[count++] = address__from4(address->bytes + sizeof(mapped));
	return count;
}

static bool any_among(const struct network *networks, unsigned count, const struct address *address)
{
	struct address plain[ADDRESS_PLAIN];
	bool found = false;
	for (unsigned i = address__plain(address, plain); i > 0; i--)
		found = found || among(networks, count, &plain[i - 1]);
	return found;
}

bool address__is_local(const struct address *address)
{
	return any_among(local, sizeof(local) / sizeof(local[0]), address);
}

bool address__is_inside(const struct address *address)
{
	return address__is_local(address) || any_among(inside, sizeof(inside) / sizeof(inside[0]), address);
}
