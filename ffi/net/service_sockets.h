/* The Unix sockets of services, as libslirp connects to them, opened by somebody else. */
#ifndef CAPSA_NET_SERVICE_SOCKETS_H
#define CAPSA_NET_SERVICE_SOCKETS_H

struct service_opener {
	/* A stream to the service of that number: a descriptor or -errno. */
	int (*open)(void *owner, unsigned index);
	void *owner;
};

#define SERVICE_SOCKET "capsa-service-%u" /* the path that libslirp is given */

/* On this thread, streams to such paths come from there. NULL: from the kernel, as all others. Borrowed. */
void service_sockets__use(const struct service_opener *opener);

#endif
