/* Frames taken apart and made. A field is read once its bytes are known to be there. */
#include "net/packet.h"

#include <linux/if_ether.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <string.h>

#include "common/checksum.h"

#define IPV4_MIN 20
#define IPV6_MIN 40
#define TCP_MIN 20
#define UDP_MIN 8
#define ICMP_MIN 8
#define ECHO_NUMBER 4 /* where it stands */
#define ARP_LEN 28
#define TTL 64
#define QUOTED 128 /* bytes of the refused packet in the answer; RFC 792 asks for 28 at least */

static uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t load32(const uint8_t *at)
{
	return (uint32_t)load16(at) << 16 | load16(at + 2);
}

static void store16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void store32(uint8_t *at, uint32_t value)
{
	store16(at, (uint16_t)(value >> 16));
	store16(at + 2, (uint16_t)value);
}

/* Taking apart */

/* RFC 826. */
static const char *parse_arp(const uint8_t *arp, size_t len, struct packet *out)
{
	static const uint8_t ethernet_ipv4[6] = {0, 1, 8, 0, 6, 4};
	if (len < ARP_LEN || memcmp(arp, ethernet_ipv4, sizeof(ethernet_ipv4)) != 0)
		return "an ARP packet that is not about IPv4 over Ethernet";
	uint16_t operation = load16(arp + 6);
	out->source = address__from4(arp + 14);
	out->destination = address__from4(arp + 24);
	if ((operation != 1 && operation != 2) || memcmp(arp + 8, out->from_mac, PACKET_MAC) != 0)
		return "an ARP packet of another sender";
	out->kind = PACKET_ARP;
	return NULL;
}

static const char *parse_tcp(const uint8_t *tcp, size_t len, struct packet *out)
{
	size_t header = len < TCP_MIN ? 0 : (size_t)(tcp[12] >> 4) * 4;
	if (header < TCP_MIN || header > len)
		return "a TCP header that is cut short";
	out->source_port = load16(tcp);
	out->destination_port = load16(tcp + 2);
	out->flags = tcp[13];
	out->sequence = load32(tcp + 4);
	out->acknowledged = load32(tcp + 8);
	out->sequence_len = (uint32_t)(len - header) + !!(out->flags & TH_SYN) + !!(out->flags & TH_FIN);
	/* whatever is not a SYN alone belongs to a connection, or is answered with a reset */
	out->opens = (tcp[13] & (TH_SYN | TH_FIN | TH_RST | TH_URG | TH_ACK)) == TH_SYN;
	out->kind = PACKET_TCP;
	return NULL;
}

static const char *parse_udp(const uint8_t *udp, size_t len, struct packet *out)
{
	if (len < UDP_MIN || load16(udp + 4) < UDP_MIN || load16(udp + 4) > len)
		return "a UDP header that is cut short";
	out->source_port = load16(udp);
	out->destination_port = load16(udp + 2);
	out->payload = udp + UDP_MIN;
	out->payload_len = load16(udp + 4) - UDP_MIN;
	out->kind = PACKET_UDP;
	return NULL;
}

static void parse_echo(const uint8_t *icmp, size_t len, struct packet *out)
{
	out->source_port = load16(icmp + ECHO_NUMBER);
	out->payload = icmp;
	out->payload_len = len;
	out->kind = PACKET_ECHO;
}

static const char *parse_icmp(const uint8_t *icmp, size_t len, struct packet *out)
{
	if (len < ICMP_MIN)
		return "an ICMP header that is cut short";
	if (icmp[0] != ICMP_ECHO || icmp[1])
		return "an ICMP message that is not an echo request";
	parse_echo(icmp, len, out);
	return NULL;
}

static const char *parse_icmp6(const uint8_t *icmp, size_t len, uint8_t hops, struct packet *out)
{
	if (len < ICMP_MIN)
		return "an ICMPv6 header that is cut short";
	switch (icmp[0]) {
	case ICMP6_ECHO_REQUEST:
		parse_echo(icmp, len, out);
		return NULL;
	case ND_ROUTER_SOLICIT:
	case ND_NEIGHBOR_SOLICIT:
	case ND_NEIGHBOR_ADVERT:
		if (hops != 255 || (icmp[0] != ND_ROUTER_SOLICIT && len < ICMP_MIN + 16))
			return "a neighbour message that came from afar";
		out->kind = PACKET_NEIGHBOUR;
		return NULL;
	default:
		return "an ICMPv6 message that is neither an echo request nor about neighbours";
	}
}

static const char *parse_ipv4(const uint8_t *ip, size_t len, struct packet *out)
{
	if (len < IPV4_MIN)
		return "an IPv4 header that is cut short";
	out->source = address__from4(ip + 12);
	out->destination = address__from4(ip + 16);
	size_t total = load16(ip + 2);
	if (ip[0] >> 4 != 4 || total < IPV4_MIN || total > len)
		return "an IPv4 header that contradicts itself";
	out->ip = ip;
	out->ip_len = total;
	out->hops = ip[8];
	if ((ip[0] & 15) * 4 != IPV4_MIN)
		return "IPv4 options";
	if (load16(ip + 6) & (IP_MF | IP_OFFMASK))
		return out->fragment = true, "an IPv4 fragment";
	const uint8_t *rest = ip + IPV4_MIN;
	switch (ip[9]) {
	case IPPROTO_TCP:
		return parse_tcp(rest, total - IPV4_MIN, out);
	case IPPROTO_UDP:
		return parse_udp(rest, total - IPV4_MIN, out);
	case IPPROTO_ICMP:
		return parse_icmp(rest, total - IPV4_MIN, out);
	default:
		return "an IP protocol other than TCP, UDP and ICMP";
	}
}

static const char *parse_ipv6(const uint8_t *ip, size_t len, struct packet *out)
{
	if (len < IPV6_MIN)
		return "an IPv6 header that is cut short";
	struct address source = address__from6(ip + 8), destination = address__from6(ip + 24);
	size_t payload = load16(ip + 4);
	if (ip[0] >> 4 != 6 || payload > len - IPV6_MIN)
		return "an IPv6 header that contradicts itself";
	if (address__is4(&source) || address__is4(&destination))
		return "an IPv4 address in an IPv6 header";
	out->source = source;
	out->destination = destination;
	out->ip = ip;
	out->ip_len = IPV6_MIN + payload;
	out->hops = ip[7];
	const uint8_t *rest = ip + IPV6_MIN;
	switch (ip[6]) {
	case IPPROTO_TCP:
		return parse_tcp(rest, payload, out);
	case IPPROTO_UDP:
		return parse_udp(rest, payload, out);
	case IPPROTO_ICMPV6:
		return parse_icmp6(rest, payload, ip[7], out);
	case IPPROTO_FRAGMENT:
		return out->fragment = true, "an IPv6 fragment";
	default:
		return "an IPv6 extension header, or a protocol other than TCP, UDP and ICMPv6";
	}
}

const char *packet__parse(const uint8_t *frame, size_t len, struct packet *out)
{
	*out = (struct packet){.kind = PACKET_OTHER};
	if (len < ETH_HLEN)
		return "a frame that is cut short";
	out->to_mac = frame;
	out->from_mac = frame + PACKET_MAC;
	switch (load16(frame + 12)) {
	case ETH_P_ARP:
		return parse_arp(frame + ETH_HLEN, len - ETH_HLEN, out);
	case ETH_P_IP:
		return parse_ipv4(frame + ETH_HLEN, len - ETH_HLEN, out);
	case ETH_P_IPV6:
		return parse_ipv6(frame + ETH_HLEN, len - ETH_HLEN, out);
	default:
		return "a frame that is neither ARP nor IP";
	}
}

bool packet__quoted(const uint8_t *frame, size_t len, struct packet *out)
{
	struct packet error;
	if (packet__parse(frame, len, &error) == NULL || !error.ip || error.fragment)
		return false;
	bool is4 = address__is4(&error.source);
	size_t head = is4 ? IPV4_MIN : IPV6_MIN;
	const uint8_t *icmp = error.ip + head, *ip = icmp + ICMP_MIN, *tcp = ip + head;
	if (error.ip_len < head + ICMP_MIN + head + 4 || error.ip[is4 ? 9 : 6] != (is4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return false;
	if (icmp[0] != (is4 ? ICMP_DEST_UNREACH : ICMP6_DST_UNREACH) || ip[is4 ? 9 : 6] != IPPROTO_TCP ||
	    ip[0] >> 4 != (is4 ? 4 : 6))
		return false;
	*out = (struct packet){.kind = PACKET_TCP, .source_port = load16(tcp), .destination_port = load16(tcp + 2)};
	out->source = is4 ? address__from4(ip + 12) : address__from6(ip + 8);
	out->destination = is4 ? address__from4(ip + 16) : address__from6(ip + 24);
	return true;
}

bool packet__is_icmp_answer(const struct packet *packet)
{
	if (packet->kind != PACKET_OTHER || !packet->ip || packet->fragment)
		return false;
	bool is4 = address__is4(&packet->source);
	size_t head = is4 ? IPV4_MIN : IPV6_MIN;
	if (packet->ip_len < head + ICMP_MIN || (is4 && (packet->ip[0] & 15) * 4 != IPV4_MIN) ||
	    packet->ip[is4 ? 9 : 6] != (is4 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return false;
	uint8_t type = packet->ip[head];
	return is4 ? type == ICMP_ECHOREPLY || type == ICMP_DEST_UNREACH
		   : type == ICMP6_ECHO_REPLY || type == ICMP6_DST_UNREACH;
}

bool packet__asks_for(const struct packet *packet, struct address *target)
{
	static const struct address none;
	if (packet->kind == PACKET_ARP) {
		*target = packet->destination;
		return true;
	}
	const uint8_t *icmp = packet->ip + IPV6_MIN;
	if (packet->kind != PACKET_NEIGHBOUR || icmp[0] != ND_NEIGHBOR_SOLICIT ||
	    address__equal(&packet->source, &none))
		return false;
	*target = address__from6(icmp + ICMP_MIN);
	return true;
}

/* Making */

/* Ethernet and IP headers in front of `len` bytes, from the packet's destination back to its source. Returns where the
 * bytes go. */
static uint8_t *begin(const struct packet *to, uint8_t protocol, size_t len, uint8_t *frame)
{
	bool is4 = address__is4(&to->source);
	uint8_t *ip = frame + ETH_HLEN;
	memcpy(frame, to->from_mac, PACKET_MAC);
	memcpy(frame + PACKET_MAC, to->to_mac, PACKET_MAC);
	store16(frame + 12, is4 ? ETH_P_IP : ETH_P_IPV6);
	memset(ip, 0, IPV6_MIN);
	if (is4) {
		ip[0] = 0x45;
		store16(ip + 2, (uint16_t)(IPV4_MIN + len));
		store16(ip + 6, IP_DF);
		ip[8] = TTL;
		ip[9] = protocol;
		memcpy(ip + 12, to->destination.bytes + 12, 4);
		memcpy(ip + 16, to->source.bytes + 12, 4);
		uint16_t sum = checksum__end(checksum__add(0, ip, IPV4_MIN));
		memcpy(ip + 10, &sum, sizeof(sum));
		return ip + IPV4_MIN;
	}
	ip[0] = 0x60;
	store16(ip + 4, (uint16_t)len);
	ip[6] = protocol;
	ip[7] = TTL;
	memcpy(ip + 8, to->destination.bytes, 16);
	memcpy(ip + 24, to->source.bytes, 16);
	return ip + IPV6_MIN;
}

/* Sum of the pseudo header (RFC 768, RFC 8200 section 8.1): its parts, wherever they stand. */
static uint64_t pseudo_header(const struct packet *to, uint8_t protocol, size_t len)
{
	unsigned skip = address__is4(&to->source) ? 12 : 0;
	uint8_t tail[4] = {0, protocol, (uint8_t)(len >> 8), (uint8_t)len};
	uint64_t sum = checksum__add(0, to->source.bytes + skip, 16 - skip);
	sum = checksum__add(sum, to->destination.bytes + skip, 16 - skip);
	return checksum__add(sum, tail, sizeof(tail));
}

static size_t error_about(const struct packet *packet, uint8_t type, uint8_t code, uint8_t *frame)
{
	bool is4 = address__is4(&packet->source);
	uint8_t protocol = is4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
	size_t quoted = packet->ip_len < QUOTED ? packet->ip_len : QUOTED, len = ICMP_MIN + quoted;
	uint8_t *icmp = begin(packet, protocol, len, frame);
	memset(icmp, 0, ICMP_MIN);
	icmp[0] = type;
	icmp[1] = code;
	memcpy(icmp + ICMP_MIN, packet->ip, quoted);
	uint16_t sum = checksum__end(checksum__add(is4 ? 0 : pseudo_header(packet, protocol, len), icmp, len));
	memcpy(icmp + 2, &sum, sizeof(sum));
	return (size_t)(icmp - frame) + len;
}

size_t packet__prohibited(const struct packet *refused, uint8_t *frame)
{
	return address__is4(&refused->source) ? error_about(refused, ICMP_DEST_UNREACH, ICMP_PKT_FILTERED, frame)
					      : error_about(refused, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_ADMIN, frame);
}

size_t packet__unreachable(const struct packet *stopped, uint8_t *frame)
{
	return address__is4(&stopped->source)
		       ? error_about(stopped, ICMP_DEST_UNREACH, ICMP_NET_UNREACH, frame)
		       : error_about(stopped, ICMP6_DST_UNREACH, ICMP6_DST_UNREACH_NOROUTE, frame);
}

size_t packet__error(const struct packet *about, const struct address *by, uint8_t type, uint8_t code, uint8_t *frame)
{
	bool is_udp = about->kind == PACKET_UDP;
	size_t head = is_udp ? UDP_MIN : 0, len = head + about->payload_len;
	uint8_t quoted[ETH_HLEN + IPV6_MIN + QUOTED];
	/* headers as the guest has sent them, to be quoted */
	struct packet back = *about;
	back.source = about->destination;
	back.destination = about->source;
	uint8_t *at = begin(&back, is_udp ? IPPROTO_UDP : IPPROTO_ICMP, len, quoted);
	if (is_udp) {
		store16(at, about->source_port);
		store16(at + 2, about->destination_port);
		store16(at + 4, (uint16_t)len);
		store16(at + 6, 0);
	}
	size_t some = about->payload_len < QUOTED - head ? about->payload_len : QUOTED - head;
	memcpy(at + head, about->payload, some);
	if (!is_udp && some >= ICMP_MIN)
		store16(at + ECHO_NUMBER, about->source_port);
	struct packet sent = *about;
	sent.destination = *by;
	sent.ip = quoted + ETH_HLEN;
	sent.ip_len = (size_t)(at - sent.ip) + head + some;
	return error_about(&sent, type, code, frame);
}

/* RFC 826. */
static size_t arp_reply(const struct packet *to, const struct address *target, const uint8_t *mac, uint8_t *frame)
{
	static const uint8_t is_at[] = {0, 1, 8, 0, 6, 4, 0, 2};
	uint8_t *arp = frame + ETH_HLEN;
	memcpy(frame, to->from_mac, PACKET_MAC);
	memcpy(frame + PACKET_MAC, mac, PACKET_MAC);
	store16(frame + 12, ETH_P_ARP);
	memcpy(arp, is_at, sizeof(is_at));
	memcpy(arp + 8, mac, PACKET_MAC);
	memcpy(arp + 14, target->bytes + 12, 4);
	memcpy(arp + 18, to->from_mac, PACKET_MAC);
	memcpy(arp + 24, to->source.bytes + 12, 4);
	return ETH_HLEN + ARP_LEN;
}

/* RFC 4861 section 4.4: solicited, to be believed rather than what was known before. */
static size_t advertisement(const struct packet *to, const struct address *target, const uint8_t *mac, uint8_t *frame)
{
	static const uint8_t head[ICMP_MIN] = {ND_NEIGHBOR_ADVERT, 0, 0, 0, 0x60};
	static const uint8_t option[] = {ND_OPT_TARGET_LINKADDR, 1};
	struct packet asked = *to;
	asked.to_mac = mac;
	asked.destination = *target;
	size_t len = ICMP_MIN + sizeof(target->bytes) + sizeof(option) + PACKET_MAC;
	uint8_t *icmp = begin(&asked, IPPROTO_ICMPV6, len, frame);
	frame[ETH_HLEN + 7] = 255; /* hops: it comes from no further than the cable */
	memcpy(icmp, head, ICMP_MIN);
	memcpy(icmp + ICMP_MIN, target->bytes, sizeof(target->bytes));
	memcpy(icmp + ICMP_MIN + 16, option, sizeof(option));
	memcpy(icmp + ICMP_MIN + 16 + sizeof(option), mac, PACKET_MAC);
	uint16_t sum = checksum__end(checksum__add(pseudo_header(&asked, IPPROTO_ICMPV6, len), icmp, len));
	memcpy(icmp + 2, &sum, sizeof(sum));
	return (size_t)(icmp - frame) + len;
}

size_t packet__here_is(const struct packet *to, const struct address *target, const uint8_t mac[PACKET_MAC],
		       uint8_t *frame)
{
	return to->kind == PACKET_ARP ? arp_reply(to, target, mac, frame) : advertisement(to, target, mac, frame);
}

/* Whether a frame has room for so many bytes behind its IP header. */
static bool fits(const struct packet *to, size_t len)
{
	return len <= PACKET_MAX - ETH_HLEN - (address__is4(&to->source) ? IPV4_MIN : IPV6_MIN);
}

size_t packet__reply(const struct packet *to, const void *data, size_t len, uint8_t *frame)
{
	if (!fits(to, UDP_MIN + len))
		return 0;
	uint8_t *udp = begin(to, IPPROTO_UDP, UDP_MIN + len, frame);
	store16(udp, to->destination_port);
	store16(udp + 2, to->source_port);
	store16(udp + 4, (uint16_t)(UDP_MIN + len));
	store16(udp + 6, 0);
	memcpy(udp + UDP_MIN, data, len);
	uint16_t sum = checksum__end(checksum__add(pseudo_header(to, IPPROTO_UDP, UDP_MIN + len), udp, UDP_MIN + len));
	memcpy(udp + 6, &sum, sizeof(sum));
	return (size_t)(udp - frame) + UDP_MIN + len;
}

size_t packet__echo_reply(const struct packet *to, uint8_t *frame)
{
	size_t len = to->payload_len;
	if (len < ICMP_MIN || to->payload[0] != ICMP_ECHOREPLY || to->payload[1] || !address__is4(&to->source) ||
	    !fits(to, len))
		return 0;
	uint8_t *icmp = begin(to, IPPROTO_ICMP, len, frame);
	memcpy(icmp, to->payload, len);
	store16(icmp + ECHO_NUMBER, to->source_port);
	store16(icmp + 2, 0);
	uint16_t sum = checksum__end(checksum__add(0, icmp, len));
	memcpy(icmp + 2, &sum, sizeof(sum));
	return (size_t)(icmp - frame) + len;
}

static size_t segment(const struct packet *to, uint32_t sequence, uint32_t acknowledged, uint8_t flags, uint8_t *frame)
{
	uint8_t *tcp = begin(to, IPPROTO_TCP, TCP_MIN, frame);
	memset(tcp, 0, TCP_MIN);
	store16(tcp, to->destination_port);
	store16(tcp + 2, to->source_port);
	store32(tcp + 4, sequence);
	store32(tcp + 8, acknowledged);
	tcp[12] = TCP_MIN / 4 << 4;
	tcp[13] = flags;
	uint16_t sum = checksum__end(checksum__add(pseudo_header(to, IPPROTO_TCP, TCP_MIN), tcp, TCP_MIN));
	memcpy(tcp + 16, &sum, sizeof(sum));
	return (size_t)(tcp - frame) + TCP_MIN;
}

size_t packet__reset(const struct packet *to, uint8_t *frame)
{
	if (to->flags & TH_ACK)
		return segment(to, to->acknowledged, 0, TH_RST, frame);
	return segment(to, 0, to->sequence + to->sequence_len, TH_RST | TH_ACK, frame);
}

size_t packet__reset_at(const struct packet *to, uint32_t sequence, uint8_t *frame)
{
	return segment(to, sequence, 0, TH_RST, frame);
}

size_t packet__keepalive(const struct packet *to, uint32_t sequence, uint32_t acknowledged, uint8_t *frame)
{
	return segment(to, sequence - 1, acknowledged, TH_ACK, frame);
}
