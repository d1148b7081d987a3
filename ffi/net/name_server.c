/* Name servers as text, and as the socket calls take them (RFC 4007 section 11 has the zones). */
#include "net/name_server.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "os/socket.h"

int name_server__parse(const char *text, struct name_server *out)
{
	char address[ADDRESS_TEXT];
	size_t len = strcspn(text, "%");
	const char *zone = text[len] ? text + len + 1 : "";
	if (len >= sizeof(address) || strlen(zone) >= sizeof(out->zone) || (text[len] && !*zone))
		return -EINVAL;
	memcpy(address, text, len);
	address[len] = 0;
	snprintf(out->zone, sizeof(out->zone), "%s", zone);
	int err = address__parse(address, &out->address);
	return !err && *zone && address__is4(&out->address) ? -EINVAL : err;
}

const char *name_server__print(const struct name_server *server, char to[NAME_SERVER_TEXT])
{
	char address[ADDRESS_TEXT];
	snprintf(to, NAME_SERVER_TEXT, "%s%s%s", address__print(&server->address, address), *server->zone ? "%" : "",
		 server->zone);
	return to;
}

/* if_nametoindex(3) asks by a Unix socket, which a confined VMM may not make. */
static uint32_t index_of(const char *zone)
{
	struct ifreq request = {.ifr_ifindex = 0};
	char *end;
	unsigned long number = strtoul(zone, &end, 10);
	if (!*end)
		return (uint32_t)number;
	int fd = socket__new(AF_INET, SOCK_DGRAM, 0, true);
	if (fd < 0)
		return 0;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", zone);
	int index = ioctl(fd, SIOCGIFINDEX, &request) < 0 ? 0 : request.ifr_ifindex;
	close(fd);
	return (uint32_t)index;
}

socklen_t name_server__socket(const struct name_server *server, uint16_t port, struct sockaddr_storage *out)
{
	socklen_t len = address__socket(&server->address, port, out);
	if (!*server->zone)
		return len;
	((struct sockaddr_in6 *)out)->sin6_scope_id = index_of(server->zone);
	return ((struct sockaddr_in6 *)out)->sin6_scope_id ? len : 0;
}
