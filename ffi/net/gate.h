/* The gate between the guest's cable and the host's network: every frame passes here, either way, or does not. */
#ifndef CAPSA_NET_GATE_H
#define CAPSA_NET_GATE_H

#include "net/connections.h"
#include "net/datagrams.h"
#include "net/egress.h"
#include "net/notices.h"
#include "net/resolver.h"

#define GATE_PUBLISHED 16     /* published UDP ports */
#define GATE_CONNECTIONS 4096 /* at a time, datagrams' among them, unless something says less */

struct gate_options {
	const struct egress *egress;        /* what may leave, and who is who */
	uint16_t published[GATE_PUBLISHED]; /* UDP ports of the guest */
	unsigned published_count;
	unsigned max_connections;    /* TCP, either way, and DATAGRAMS at most, at a time; 0: GATE_CONNECTIONS */
	struct name_servers servers; /* the host's */
	struct resolver_source source;
	struct names *names; /* of the guest's private networks, or its own; NULL without any */
	struct loop *loop;
	uint64_t (*now)(void); /* milliseconds of a clock that only goes forward */
	/* On to the host's network, these as of connections.h: */
	int (*pass)(void *arg, const uint8_t *frame, size_t len);
	void (*reset)(void *arg, const uint8_t *frame, size_t len);
	bool (*is_busy)(void *arg, int socket);
	bool (*is_broken)(void *arg, int socket);
	/* and these as of datagrams.h: */
	int (*send)(void *arg, unsigned place, const struct packet *packet, const struct address *to);
	void (*hang_up)(void *arg, unsigned place);
	void (*answer)(void *arg, const uint8_t *frame, size_t len); /* back to the guest */
	void (*notice)(void *arg, const struct gate_notice *notice);
	void *arg;
};

struct gate;

/* 0 or -ENOMEM. All other calls are made on the loop's thread. */
__attribute__((warn_unused_result)) int gate__new(const struct gate_options *options, struct gate **out);
void gate__free(struct gate *gate);

struct gate_counts {
	uint64_t refused;     /* packets and names, told or not */
	unsigned connections; /* TCP, open or opening, and sockets of datagrams */
};
struct gate_counts gate__counts(const struct gate *gate);
/* The name servers that are asked now. */
const struct name_servers *gate__servers(const struct gate *gate);
/* As of resolver.h. */
__attribute__((warn_unused_result)) int gate__open_name_stream(struct gate *gate);

/* The policy has other rules now: what goes on against them ends, for both sides. */
void gate__recheck(struct gate *gate);

/* A frame of the guest, which does not change meanwhile: passed on, answered, or dropped. */
void gate__from_guest(struct gate *gate, const uint8_t *frame, size_t len);

/* What has come by a socket of datagrams (datagrams.h): the guest gets it, or does not. */
void gate__received(struct gate *gate, unsigned place, const struct datagram *datagram);
void gate__failed(struct gate *gate, unsigned place, const struct datagram_error *error);

/* A frame for the guest, of the socket that was just opened for it, or -1: whether it may have it. */
bool gate__to_guest(struct gate *gate, const uint8_t *frame, size_t len, int socket);

#endif
