/* The guest's datagrams, UDP and echo requests: which of its ports and numbers have a socket on the host, how many
 * there are, and what comes back by them. */
#ifndef CAPSA_NET_DATAGRAMS_H
#define CAPSA_NET_DATAGRAMS_H

#include "common/loop.h"
#include "net/egress.h"

#define DATAGRAMS 256              /* sockets at a time; the one silent for longest makes room */
#define DATAGRAMS_SILENT_MS 240000 /* one that is silent for so long is closed; RFC 4787 asks for two minutes */

struct datagrams_options {
	const struct egress *egress;
	struct loop *loop;
	uint64_t (*now)(void); /* milliseconds */
	/* Send a packet of the guest's from the socket in this place, of DATAGRAMS, which is opened if it is not. 0 or
	 * -errno. */
	int (*send)(void *arg, unsigned place, const struct packet *packet, const struct address *to);
	void (*hang_up)(void *arg, unsigned place);
	/* A frame for the guest. */
	void (*answer)(void *arg, const uint8_t *frame, size_t len);
	void *arg;
};

struct datagrams;

/* 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int datagrams__new(const struct datagrams_options *options, struct datagrams **out);
/* All sockets are hung up. */
void datagrams__free(struct datagrams *datagrams);

/* How many sockets there are. */
unsigned datagrams__count(const struct datagrams *datagrams);
/* Whether this packet goes by one that is there, or no further than the gateway. */
bool datagrams__need_no_room(const struct datagrams *datagrams, const struct packet *packet);
/* Hang up the one that was silent for longest. False when there is none. */
bool datagrams__make_room(struct datagrams *datagrams);

/* A packet that may leave; where it cannot the guest is told that there is no way. */
void datagrams__send(struct datagrams *datagrams, const struct packet *packet);

/* What has come by a socket: the guest gets it if it could ask whoever says it. */
struct datagram {
	struct address from;
	uint16_t port;        /* UDP */
	const uint8_t *bytes; /* UDP's payload, or a message of ICMP */
	size_t len;
};
void datagrams__received(struct datagrams *datagrams, unsigned place, const struct datagram *datagram);

/* An error of ICMP or ICMPv6 about something that was sent by a socket. */
struct datagram_error {
	struct datagram about; /* `from`: where it was to go */
	struct address by;     /* who says so */
	uint8_t type, code;
};
void datagrams__failed(struct datagrams *datagrams, unsigned place, const struct datagram_error *error);

#endif
