/* What libslirp connects to and does not find in the network: services, by Unix sockets that somebody else opens, and
 * the guest's name server. */
#ifndef CAPSA_NET_SERVICE_SOCKETS_H
#define CAPSA_NET_SERVICE_SOCKETS_H

#include <netinet/in.h>

struct service_opener {
	/* A stream to the service of that number: a descriptor or -errno. */
	int (*open)(void *owner, unsigned index);
	void *owner;
	/* The same of the name server, at port 53 of that address. */
	struct in_addr names;
	int (*open_names)(void *owner);
	void *names_owner;
};

#define SERVICE_SOCKET "capsa-service-%u" /* the path that libslirp is given */

/* On this thread, streams to such paths come from there. NULL: from the kernel, as all others. Borrowed. */
void service_sockets__use(const struct service_opener *opener);

#endif
