/* Sockets of the host for the guest's datagrams, UDP and echo requests, by the places that datagrams.h gives them. */
#ifndef CAPSA_NET_DATAGRAM_SOCKETS_H
#define CAPSA_NET_DATAGRAM_SOCKETS_H

#include "net/datagrams.h"

struct datagram_sockets_options {
	struct loop *loop;
	uint64_t (*wait)(void *arg); /* milliseconds until the guest may have more; 0: now */
	void (*received)(void *arg, unsigned place, const struct datagram *datagram);
	void (*failed)(void *arg, unsigned place, const struct datagram_error *error);
	void *arg;
};

struct datagram_sockets;

/* 0 or -ENOMEM. All calls are made on the loop's thread. */
__attribute__((warn_unused_result)) int datagram_sockets__new(const struct datagram_sockets_options *options,
							      struct datagram_sockets **out);
void datagram_sockets__free(struct datagram_sockets *sockets);

/* Send a packet's payload, with a time to live of one less, which is not 0; echo requests over IPv4 alone. The place
 * has a socket from then on. 0, or -errno when there is no way; what is lost as any datagram may be is no error. */
int datagram_sockets__send(struct datagram_sockets *sockets, unsigned place, const struct packet *packet,
			   const struct address *to);
void datagram_sockets__hang_up(struct datagram_sockets *sockets, unsigned place);

#endif
