/* The guest's network: eth0 by ioctl, as there are two addresses and two routes to set and nothing to ask. */
#include "network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define INTERFACE "eth0"
#define IPV6_SETTINGS "/proc/sys/net/ipv6/conf/" INTERFACE "/"
#define RESOLV_CONF "/etc/resolv.conf"

/* The kernel's struct in6_ifreq and struct in6_rtmsg: <linux/ipv6.h> does not go together with <netinet/in.h>. */
struct address6_request {
	struct in6_addr address;
	uint32_t prefix;
	int interface;
};

struct route6_request {
	struct in6_addr destination, source, gateway;
	uint32_t type;
	uint16_t destination_prefix, source_prefix;
	uint32_t metric;
	unsigned long info;
	uint32_t flags;
	int interface;
};

enum { NAME_SERVERS = 3 };

static int take_text(const CborValue *map, const char *key, char **out)
{
	struct span span;

	if (reader__text(map, key, &span) != 1)
		return -EPROTO;
	*out = span__copy(span);
	return *out ? 0 : -errno;
}

static int take_side(struct network_side *side, const CborValue *map, const char *key, int family)
{
	unsigned char bytes[16];
	CborValue value;
	uint64_t prefix;
	int error;

	if (reader__map(map, key, &value) != 1 || reader__uint(&value, "prefix", &prefix) != 1 ||
	    prefix > (family == AF_INET ? 32 : 128))
		return -EPROTO;
	side->prefix = (uint8_t)prefix;
	error = take_text(&value, "address", &side->address);
	if (!error)
		error = take_text(&value, "gateway", &side->gateway);
	if (error)
		return error;
	return inet_pton(family, side->address, bytes) == 1 && inet_pton(family, side->gateway, bytes) == 1 ? 0
													    : -EPROTO;
}

int network_plan__take(struct network_plan *plan, const CborValue *map, const char **why)
{
	unsigned char bytes[16];
	CborValue network, servers;
	int found = reader__map(map, "network", &network), error;

	*why = "network: ipv4 and ipv6 with address, prefix and gateway";
	if (found <= 0)
		return found;
	error = take_side(&plan->ipv4, &network, "ipv4", AF_INET);
	if (!error)
		error = take_side(&plan->ipv6, &network, "ipv6", AF_INET6);
	if (error)
		return error;
	*why = "network: nameServers, at most three addresses";
	if (reader__array(&network, "nameServers", &servers) != 1)
		return -EPROTO;
	error = strings__add_array(&plan->name_servers, &servers);
	if (error || plan->name_servers.count > NAME_SERVERS)
		return error ? error : -EPROTO;
	for (size_t i = 0; i < plan->name_servers.count; i++)
		if (inet_pton(AF_INET, plan->name_servers.list[i], bytes) != 1 &&
		    inet_pton(AF_INET6, plan->name_servers.list[i], bytes) != 1)
			return -EPROTO;
	plan->present = true;
	return 0;
}

void network_plan__free(struct network_plan *plan)
{
	free(plan->ipv4.address);
	free(plan->ipv4.gateway);
	free(plan->ipv6.address);
	free(plan->ipv6.gateway);
	strings__free(&plan->name_servers);
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), error = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		error = -errno;
	close(fd);
	return error;
}

/* Nobody else is on this cable: no address can be taken, and no router has anything to say. */
static int expect_nothing(void)
{
	int error = write_text(IPV6_SETTINGS "accept_dad", "0");

	return error ? error : write_text(IPV6_SETTINGS "accept_ra", "0");
}

static void set_address(struct sockaddr *to, in_addr_t address)
{
	const struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {.s_addr = address}};

	memcpy(to, &in, sizeof(in));
}

static int set_ipv4(int fd, const struct network_side *side)
{
	struct ifreq request = {.ifr_name = INTERFACE};
	struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};

	set_address(&request.ifr_addr, inet_addr(side->address));
	if (ioctl(fd, SIOCSIFADDR, &request))
		return -errno;
	set_address(&request.ifr_netmask, htonl(side->prefix ? UINT32_MAX << (32 - side->prefix) : 0));
	if (ioctl(fd, SIOCSIFNETMASK, &request))
		return -errno;
	set_address(&route.rt_dst, INADDR_ANY);
	set_address(&route.rt_genmask, INADDR_ANY);
	set_address(&route.rt_gateway, inet_addr(side->gateway));
	return ioctl(fd, SIOCADDRT, &route) ? -errno : 0;
}

static int set_ipv6(const struct network_side *side, int interface)
{
	struct address6_request address = {.prefix = side->prefix, .interface = interface};
	struct route6_request route = {.metric = 1, .flags = RTF_UP | RTF_GATEWAY, .interface = interface};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;

	if (fd < 0)
		return -errno;
	inet_pton(AF_INET6, side->address, &address.address);
	inet_pton(AF_INET6, side->gateway, &route.gateway);
	if (ioctl(fd, SIOCSIFADDR, &address) || ioctl(fd, SIOCADDRT, &route))
		error = -errno;
	close(fd);
	return error;
}

static int set_interface(const struct network_plan *plan)
{
	struct ifreq request = {.ifr_name = INTERFACE};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), error;

	if (fd < 0)
		return -errno;
	error = ioctl(fd, SIOCGIFFLAGS, &request) ? -errno : expect_nothing();
	request.ifr_flags |= IFF_UP;
	if (!error && ioctl(fd, SIOCSIFFLAGS, &request))
		error = -errno;
	if (!error)
		error = set_ipv4(fd, &plan->ipv4);
	if (!error && ioctl(fd, SIOCGIFINDEX, &request))
		error = -errno;
	if (!error)
		error = set_ipv6(&plan->ipv6, request.ifr_ifindex);
	close(fd);
	return error;
}

/* A root file system may have a link there, to a service's file that is not: the link makes room, in the guest's own
 * layer. */
static int write_name_servers(const struct strings *servers)
{
	FILE *file;
	int error = 0;

	if (mkdir("/etc", 0755) && errno != EEXIST)
		return -errno;
	if (unlink(RESOLV_CONF) && errno != ENOENT)
		return -errno;
	file = fopen(RESOLV_CONF, "wxe");
	if (!file)
		return -errno;
	for (size_t i = 0; i < servers->count; i++)
		if (fprintf(file, "nameserver %s\n", servers->list[i]) < 0)
			error = -EIO;
	return fclose(file) ? -errno : error;
}

int network__configure(const struct network_plan *plan, const char **what)
{
	int error;

	if (!plan->present)
		return 0;
	*what = "network: " INTERFACE " cannot be set up";
	error = set_interface(plan);
	if (error)
		return error;
	*what = "network: " RESOLV_CONF " cannot be written";
	return write_name_servers(&plan->name_servers);
}
