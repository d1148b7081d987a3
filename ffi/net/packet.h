/* Frames of the guest, taken apart: Ethernet, ARP, IPv4, IPv6, TCP, UDP, ICMP. And the few that are made for it. */
#ifndef CAPSA_NET_PACKET_H
#define CAPSA_NET_PACKET_H

#include "net/address.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_MAC 6
#define PACKET_MAX (14 + 65535) /* bytes of a frame */

enum packet_kind {
	PACKET_OTHER,
	PACKET_ARP, /* who has `destination`, asked (or told) by `source` */
	PACKET_TCP,
	PACKET_UDP,
	PACKET_ECHO,      /* an ICMP or ICMPv6 echo request */
	PACKET_NEIGHBOUR, /* a neighbour or router solicitation, a neighbour advertisement (RFC 4861) */
};

struct packet {
	enum packet_kind kind;
	const uint8_t *to_mac, *from_mac;
	struct address source, destination;     /* all zero where the frame is too broken to have any */
	uint16_t source_port, destination_port; /* source_port is the number of an echo request */
	bool fragment;                          /* then nothing more is known of it */
	bool opens;                             /* TCP: it begins a connection */
	uint8_t flags;                          /* TCP: TH_* */
	uint32_t sequence, acknowledged;        /* TCP */
	uint32_t sequence_len;                  /* TCP: sequence numbers that it takes */
	const uint8_t *payload;                 /* UDP; the whole message of an echo request */
	size_t payload_len;
	const uint8_t *ip; /* from the IP header on, as long as that says */
	size_t ip_len;
	uint8_t hops; /* its time to live */
};

/*
 * Take `len` bytes apart; *out points into them. NULL, or what is wrong with the frame, in a few words: one that is cut
 * short or contradicts itself, a fragment, options or extension headers, a protocol that is none of the above. What is
 * known of it by then is in *out.
 */
__attribute__((warn_unused_result)) const char *packet__parse(const uint8_t *frame, size_t len, struct packet *out);

/*
 * The answer to a packet that may not pass: ICMP (RFC 792, RFC 1812) or ICMPv6 (RFC 4443) "administratively
 * prohibited", as from `destination`. Written to `frame` of PACKET_MAX bytes. Returns its length.
 */
size_t packet__prohibited(const struct packet *refused, uint8_t *frame);
/* The same with "network unreachable" or "no route". */
size_t packet__unreachable(const struct packet *stopped, uint8_t *frame);
/* An error of that type and code, as from `by`, about a datagram or an echo request of which nothing is known but its
 * addresses, ports, and some of its payload. As above. */
size_t packet__error(const struct packet *about, const struct address *by, uint8_t type, uint8_t code, uint8_t *frame);

/* An echo reply, or "destination unreachable", which packet__parse knows as wrong: between guests both may pass. */
bool packet__is_icmp_answer(const struct packet *packet);

/* Whether it asks for the Ethernet address of `target`: by ARP, or by a neighbour solicitation that an answer can be
 * sent to. */
__attribute__((warn_unused_result)) bool packet__asks_for(const struct packet *packet, struct address *target);
/* The answer to one that does: `target` is at `mac`. As above. */
size_t packet__here_is(const struct packet *to, const struct address *target, const uint8_t mac[PACKET_MAC],
		       uint8_t *frame);

/* The answer to a UDP packet, `len` bytes to where it came from. 0 when they do not fit into a frame; as above
 * otherwise. */
size_t packet__reply(const struct packet *to, const void *data, size_t len, uint8_t *frame);

/* The answer to an echo request over IPv4, whose payload is a reply to one of another number. 0 when it is none, or
 * does not fit; as above otherwise. */
size_t packet__echo_reply(const struct packet *to, uint8_t *frame);

/*
 * A TCP segment that resets a connection (RFC 9293 section 3.10.7.1), as from `to`'s destination back to its source.
 * For packet__reset `to` is a segment of no connection, for packet__reset_at the sequence number that the source
 * expects is known. As above.
 */
size_t packet__reset(const struct packet *to, uint8_t *frame);
size_t packet__reset_at(const struct packet *to, uint32_t sequence, uint8_t *frame);
/* A TCP segment that says nothing new (RFC 9293 section 3.8.4), to whoever expects `sequence` next: who has the
 * connection acknowledges it, who has not resets. As above. */
size_t packet__keepalive(const struct packet *to, uint32_t sequence, uint32_t acknowledged, uint8_t *frame);

/* What an ICMP or ICMPv6 error is about: the TCP segment of the guest that it quotes, as a packet with addresses and
 * ports. False for any other frame. */
__attribute__((warn_unused_result)) bool packet__quoted(const uint8_t *frame, size_t len, struct packet *out);

#endif
