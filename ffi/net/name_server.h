/* Name servers of the host's: addresses, and of link-local ones the interface behind which they are. */
#ifndef CAPSA_NET_NAME_SERVER_H
#define CAPSA_NET_NAME_SERVER_H

#include "net/address.h"

#define NAME_SERVERS 3                                     /* as many as the C library asks */
#define NAME_SERVER_ZONE 16                                /* room for an interface's name, or its number */
#define NAME_SERVER_TEXT (ADDRESS_TEXT + NAME_SERVER_ZONE) /* room for one as text */

struct name_server {
	struct address address;
	char zone[NAME_SERVER_ZONE]; /* "": none */
};

/* As of resolv.conf(5). */
struct name_servers {
	struct name_server at[NAME_SERVERS];
	unsigned count;
	unsigned timeout, attempts; /* seconds and times that a client waits for an answer; 0: as many as it does */
	bool rotate;                /* not always the first is asked first */
};

/* "192.0.2.1", "fe80::1%eth0", "fe80::1%2". 0, or -EINVAL. */
__attribute__((warn_unused_result)) int name_server__parse(const char *text, struct name_server *out);
/* Returns `to`. */
const char *name_server__print(const struct name_server *server, char to[NAME_SERVER_TEXT]);
/* For the socket calls: the length, or 0 where there is no such interface now. */
socklen_t name_server__socket(const struct name_server *server, uint16_t port, struct sockaddr_storage *out);

#endif
