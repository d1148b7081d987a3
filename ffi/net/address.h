/* Addresses of both families in one form: 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2). */
#ifndef CAPSA_NET_ADDRESS_H
#define CAPSA_NET_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct address {
	uint8_t bytes[16];
};

#define ADDRESS_TEXT 48 /* room for one as text */

/* The network `address`/`bits`, of 0 to 128 bits. */
struct network {
	struct address address;
	unsigned bits;
};

struct address address__from4(const void *four_bytes);
struct address address__from6(const void *sixteen_bytes);
bool address__is4(const struct address *address);
bool address__equal(const struct address *one, const struct address *other);

/*
 * The address, and behind it those of IPv4 that lie in it, to which a network may carry what is sent to it: by NAT64
 * (RFC 6052, also of the prefix for local use, RFC 8215), SIIT (RFC 2765), 6to4 (RFC 3056), Teredo (RFC 4380: the
 * server's and the client's) and ISATAP (RFC 5214). Returns how many there are. A network's own prefix for NAT64 nobody
 * can know here.
 */
#define ADDRESS_PLAIN 6 /* at most */
unsigned address__plain(const struct address *address, struct address out[ADDRESS_PLAIN]);

/* "10.0.0.1", "fd00::1": what inet_pton(3) takes. 0, or -EINVAL. */
__attribute__((warn_unused_result)) int address__parse(const char *text, struct address *out);
/* One of ADDRESS_TEXT bytes is enough. Returns `to`. */
const char *address__print(const struct address *address, char to[ADDRESS_TEXT]);
/* For the socket calls; returns the length. */
socklen_t address__socket(const struct address *address, uint16_t port, struct sockaddr_storage *out);

/* "10.0.0.0/8", or a lone address, which is a network of one. 0, or -EINVAL. */
__attribute__((warn_unused_result)) int network__parse(const char *text, struct network *out);
#define NETWORK_TEXT (ADDRESS_TEXT + 4) /* room for one as text */
/* "10.0.0.0/8". Returns `to`. */
const char *network__print(const struct network *network, char to[NETWORK_TEXT]);
/* Of IPv4: those of IPv6, "::/0" too, hold none of its addresses. */
bool network__is4(const struct network *network);
bool network__holds(const struct network *network, const struct address *address);

/*
 * Addresses by what a name must not lead to unless the address itself is allowed: the host and its surroundings.
 * Loopback, link-local, private (RFC 1918, RFC 4193, RFC 6598), "this network", multicast, and whatever has an IPv4
 * address of these in it (address__plain).
 */
bool address__is_inside(const struct address *address);
/* Those that never lead out of the host, or have such a one in them: loopback, unspecified, multicast, broadcast. A
 * socket told to go there would reach the host itself. */
bool address__is_local(const struct address *address);

#endif
