/* Network cards by ioctl, as there are a few addresses and routes to set and nothing to ask. */
#include "init/interface.h"

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
#include <unistd.h>

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

/* 1, 0 where it is absent, or -errno. */
static int take_address(const CborValue *map, const char *key, int family, char **out)
{
	struct span span;
	int found = reader__text(map, key, &span);
	if (found <= 0)
		return found;
	int err = span__copy(span, out);
	if (err)
		return err;
	unsigned char bytes[16];
	return inet_pton(family, *out, bytes) == 1 ? 1 : -EPROTO;
}

int network_side__take(struct network_side *side, const CborValue *map, const char *key, int family)
{
	CborValue value;
	uint64_t prefix;
	if (reader__map(map, key, &value) != 1 || reader__uint(&value, "prefix", &prefix) != 1 ||
	    prefix > (family == AF_INET ? 32 : 128))
		return -EPROTO;
	side->prefix = (uint8_t)prefix;
	int err = take_address(&value, "address", family, &side->address);
	if (err <= 0)
		return err ? err : -EPROTO;
	err = take_address(&value, "gateway", family, &side->gateway);
	return err < 0 ? err : 0;
}

void network_side__free(struct network_side *side)
{
	free(side->address);
	free(side->gateway);
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), err = 0;
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

/* Addresses are given: none can be taken, and no router has anything to say. */
static int expect_nothing(const char *name)
{
	static const char *const settings[] = {"accept_dad", "accept_ra"};
	char path[80];
	int err = 0;
	for (size_t i = 0; !err && i < sizeof(settings) / sizeof(settings[0]); i++) {
		snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", name, settings[i]);
		err = write_text(path, "0");
	}
	return err;
}

static void set_address(struct sockaddr *to, in_addr_t address)
{
	const struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {.s_addr = address}};
	memcpy(to, &in, sizeof(in));
}

static struct ifreq request_for(const char *name)
{
	struct ifreq request = {.ifr_flags = 0};
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return request;
}

static int set_ipv4(int fd, const char *name, const struct network_side *side)
{
	struct ifreq request = request_for(name);
	struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
	set_address(&request.ifr_addr, inet_addr(side->address));
	if (ioctl(fd, SIOCSIFADDR, &request))
		return -errno;
	set_address(&request.ifr_netmask, htonl(side->prefix ? UINT32_MAX << (32 - side->prefix) : 0));
	if (ioctl(fd, SIOCSIFNETMASK, &request))
		return -errno;
	if (!side->gateway)
		return 0;
	set_address(&route.rt_dst, INADDR_ANY);
	set_address(&route.rt_genmask, INADDR_ANY);
	set_address(&route.rt_gateway, inet_addr(side->gateway));
	return ioctl(fd, SIOCADDRT, &route) ? -errno : 0;
}

static int set_ipv6(const struct network_side *side, int interface)
{
	struct address6_request address = {.prefix = side->prefix, .interface = interface};
	struct route6_request route = {.metric = 1, .flags = RTF_UP | RTF_GATEWAY, .interface = interface};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;
	if (fd < 0)
		return -errno;
	inet_pton(AF_INET6, side->address, &address.address);
	if (side->gateway)
		inet_pton(AF_INET6, side->gateway, &route.gateway);
	if (ioctl(fd, SIOCSIFADDR, &address) || (side->gateway && ioctl(fd, SIOCADDRT, &route)))
		err = -errno;
	close(fd);
	return err;
}

int interface__set_up(const char *name, const struct network_side *ipv4, const struct network_side *ipv6)
{
	struct ifreq request = request_for(name);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int err = ioctl(fd, SIOCGIFFLAGS, &request) ? -errno : expect_nothing(name);
	request.ifr_flags |= IFF_UP;
	if (!err && ioctl(fd, SIOCSIFFLAGS, &request))
		err = -errno;
	if (!err)
		err = set_ipv4(fd, name, ipv4);
	if (!err && ioctl(fd, SIOCGIFINDEX, &request))
		err = -errno;
	if (!err)
		err = set_ipv6(ipv6, request.ifr_ifindex);
	close(fd);
	return err;
}

/* The kernel's name of its card number `number`. */
static struct ifreq card(unsigned number)
{
	char name[IFNAMSIZ];
	snprintf(name, sizeof(name), "eth%u", number);
	return request_for(name);
}

int interface__name(const unsigned char mac[6], const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = -ENODEV;
	if (fd < 0)
		return -errno;
	for (unsigned i = 0; err == -ENODEV && i < INTERFACES; i++) {
		struct ifreq request = card(i);
		if (ioctl(fd, SIOCGIFHWADDR, &request) || memcmp(request.ifr_hwaddr.sa_data, mac, 6) != 0)
			continue;
		snprintf(request.ifr_newname, sizeof(request.ifr_newname), "%s", name);
		err = ioctl(fd, SIOCSIFNAME, &request) ? -errno : 0;
	}
	close(fd);
	return err;
}

int interface__become(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = -ENODEV;
	if (fd < 0)
		return -errno;
	for (unsigned i = 0; err == -ENODEV && i < INTERFACES; i++) {
		struct ifreq request = card(i);
		if (ioctl(fd, SIOCGIFINDEX, &request))
			continue;
		snprintf(request.ifr_newname, sizeof(request.ifr_newname), "%s", name);
		err = strcmp(request.ifr_name, name) != 0 && ioctl(fd, SIOCSIFNAME, &request) ? -errno : 0;
	}
	close(fd);
	return err;
}
