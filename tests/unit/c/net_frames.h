/* Frames as a guest makes them, for tests of what stands behind its cable. */
#ifndef CAPSA_TESTS_NET_FRAMES_H
#define CAPSA_TESTS_NET_FRAMES_H

#include <stdbool.h>

#include "check.h"
#include "common/checksum.h"
#include "net/address.h"
#include "net/packet.h"

#define GUEST4 "10.0.2.15"
#define GUEST6 "fd63:6170:7361::15"
#define HOST4 "10.0.2.2"
#define HOST6 "fd63:6170:7361::2"
#define NAMES4 "10.0.2.3"
#define NAMES6 "fd63:6170:7361::3"

static const uint8_t guest_mac[6] = {2, 0x63, 0x61, 0x70, 0x73, 0x61};
static const uint8_t host_mac[6] = {0x52, 0x55, 10, 0, 2, 2};

CHECK__UNUSED static struct address at(const char *text)
{
	struct address address;
	CHECK_EQ(address__parse(text, &address), 0);
	return address;
}

CHECK__UNUSED static void put16(uint8_t *to, unsigned value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

CHECK__UNUSED static uint8_t *frame__ethernet(uint8_t *frame, unsigned type)
{
	memcpy(frame, host_mac, 6);
	memcpy(frame + 6, guest_mac, 6);
	put16(frame + 12, type);
	return frame + 14;
}

/* Ethernet and IP headers for `len` bytes of `protocol`, of the family of `from`. Returns where those go. */
CHECK__UNUSED static uint8_t *frame__ip(uint8_t *frame, const char *from, const char *to, unsigned protocol, size_t len)
{
	struct address source = at(from), destination = at(to);
	bool is4 = address__is4(&source);
	uint8_t *ip = frame__ethernet(frame, is4 ? 0x800 : 0x86dd);
	memset(ip, 0, 40);
	if (is4) {
		ip[0] = 0x45;
		put16(ip + 2, (unsigned)(20 + len));
		ip[8] = 64;
		ip[9] = (uint8_t)protocol;
		memcpy(ip + 12, source.bytes + 12, 4);
		memcpy(ip + 16, destination.bytes + 12, 4);
		uint16_t sum = checksum__end(checksum__add(0, ip, 20));
		memcpy(ip + 10, &sum, 2);
		return ip + 20;
	}
	ip[0] = 0x60;
	put16(ip + 4, (unsigned)len);
	ip[6] = (uint8_t)protocol;
	ip[7] = 255;
	memcpy(ip + 8, source.bytes, 16);
	memcpy(ip + 24, destination.bytes, 16);
	return ip + 40;
}

CHECK__UNUSED static size_t frame__tcp(uint8_t *frame, const char *from, const char *to, unsigned port, unsigned flags)
{
	uint8_t *tcp = frame__ip(frame, from, to, 6, 20);
	memset(tcp, 0, 20);
	put16(tcp, 40000);
	put16(tcp + 2, port);
	tcp[12] = 5 << 4;
	tcp[13] = (uint8_t)flags;
	return (size_t)(tcp - frame) + 20;
}

CHECK__UNUSED static size_t frame__udp(uint8_t *frame, const char *from, unsigned from_port, const char *to,
				       unsigned port, const void *data, size_t len)
{
	uint8_t *udp = frame__ip(frame, from, to, 17, 8 + len);
	put16(udp, from_port);
	put16(udp + 2, port);
	put16(udp + 4, (unsigned)(8 + len));
	put16(udp + 6, 0);
	memcpy(udp + 8, data, len);
	return (size_t)(udp - frame) + 8 + len;
}

CHECK__UNUSED static size_t frame__icmp(uint8_t *frame, const char *from, const char *to, unsigned type)
{
	struct address source = at(from);
	uint8_t *icmp = frame__ip(frame, from, to, address__is4(&source) ? 1 : 58, 24);
	memset(icmp, 0, 24);
	icmp[0] = (uint8_t)type;
	return (size_t)(icmp - frame) + 24;
}

CHECK__UNUSED static size_t frame__arp(uint8_t *frame, const char *sender, const char *target)
{
	struct address source = at(sender), destination = at(target);
	uint8_t *arp = frame__ethernet(frame, 0x806);
	static const uint8_t head[8] = {0, 1, 8, 0, 6, 4, 0, 1};
	memcpy(arp, head, 8);
	memcpy(arp + 8, guest_mac, 6);
	memcpy(arp + 14, source.bytes + 12, 4);
	memset(arp + 18, 0, 6);
	memcpy(arp + 24, destination.bytes + 12, 4);
	return 14 + 28;
}

/* A query for the IPv4 addresses of `name`, "a.b"; or, with an address of whatever family, an answer that gives it. */
CHECK__UNUSED static size_t dns_message(uint8_t *to, unsigned id, const char *name, const char *address)
{
	size_t n = 12;
	struct address a = address ? at(address) : (struct address){.bytes = {0}};
	unsigned type = address && !address__is4(&a) ? 28 : 1;
	memset(to, 0, n);
	put16(to, id);
	to[2] = address ? 0x81 : 1;
	put16(to + 4, 1);
	put16(to + 6, address ? 1 : 0);
	for (const char *label = name; *label;) {
		size_t len = strcspn(label, ".");
		to[n++] = (uint8_t)len;
		memcpy(to + n, label, len);
		n += len;
		label += len + (label[len] == '.');
	}
	to[n++] = 0;
	put16(to + n, 1);
	put16(to + n + 2, 1);
	n += 4;
	if (!address)
		return n;
	unsigned size = type == 1 ? 4 : 16;
	put16(to + n, 0xc00c); /* the question's name */
	put16(to + n + 2, type);
	put16(to + n + 4, 1);
	put16(to + n + 6, 0);
	put16(to + n + 8, 60);
	put16(to + n + 10, size);
	memcpy(to + n + 12, a.bytes + 16 - size, size);
	return n + 12 + size;
}

#endif
