/* Whether the kernel keeps packets for an address on this machine: the seam between capsa and the system's routing
 * (rtnetlink on Linux, PF_ROUTE on macOS). */
#ifndef CAPSA_OS_ROUTE_H
#define CAPSA_OS_ROUTE_H

#include <stdint.h>

/* One that is zeroed and has -1 as its descriptor is closed. */
struct route {
	int fd;
	uint32_t asked; /* so many questions */
};

/* A way to ask about the network of the calling thread, for good: it stays one of that network, and works in a process
 * that may open no such socket any more. It tells single routes and nothing else. 0 or -errno. */
__attribute__((warn_unused_result)) int route__open(struct route *route);
void route__close(struct route *route);

/*
 * 1 when packets to the address (4 bytes of AF_INET, 16 of AF_INET6) are delivered on this machine now: the address is
 * an interface's, a broadcast or anycast one, or a route says so ("ip route add local"). 0 when they would leave, or
 * get nowhere. -errno when the kernel does not say.
 */
__attribute__((warn_unused_result)) int route__is_local(struct route *route, int family, const void *address);

#endif
