/* The guest's way to the host's network, and the name servers. */
#include "init/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "init/etc.h"

#define INTERFACE "eth0"

enum { NAME_SERVERS = 3 };

/* What is a line of a file: none of it may be another. */
static int take_words(struct strings *words, const CborValue *map, const char *key)
{
	CborValue array;
	int found = reader__array(map, key, &array);
	if (found <= 0)
		return found;
	int err = strings__add_array(words, &array);
	for (size_t i = 0; !err && i < words->count; i++)
		if (!*words->list[i] || strpbrk(words->list[i], " \t\r\n"))
			err = -EPROTO;
	return err;
}

int network_plan__take(struct network_plan *plan, const CborValue *map, const char **why)
{
	CborValue network;
	int found = reader__map(map, "network", &network);
	*why = "network: ipv4 and ipv6 with address, prefix and gateway";
	if (found <= 0)
		return found;
	int err = network_side__take(&plan->ipv4, &network, "ipv4", AF_INET);
	if (!err)
		err = network_side__take(&plan->ipv6, &network, "ipv6", AF_INET6);
	if (err || !plan->ipv4.gateway || !plan->ipv6.gateway)
		return err ? err : -EPROTO;
	*why = "network: nameServers, at most three addresses";
	CborValue servers;
	if (reader__array(&network, "nameServers", &servers) != 1)
		return -EPROTO;
	err = strings__add_array(&plan->name_servers, &servers);
	if (err || plan->name_servers.count > NAME_SERVERS)
		return err ? err : -EPROTO;
	unsigned char bytes[16];
	for (size_t i = 0; i < plan->name_servers.count; i++)
		if (inet_pton(AF_INET, plan->name_servers.list[i], bytes) != 1 &&
		    inet_pton(AF_INET6, plan->name_servers.list[i], bytes) != 1)
			return -EPROTO;
	*why = "network: search and options, lists of words";
	err = take_words(&plan->search, &network, "search");
	if (!err)
		err = take_words(&plan->options, &network, "options");
	plan->present = !err;
	return err;
}

void network_plan__free(struct network_plan *plan)
{
	network_side__free(&plan->ipv4);
	network_side__free(&plan->ipv6);
	strings__free(&plan->name_servers);
	strings__free(&plan->search);
	strings__free(&plan->options);
}

int network__configure(const struct network_plan *plan, const char **what)
{
	if (!plan->present)
		return 0;
	*what = "network: " INTERFACE " cannot be set up";
	int err = interface__become(INTERFACE);
	if (!err)
		err = interface__set_up(INTERFACE, &plan->ipv4, &plan->ipv6);
	if (err)
		return err;
	*what = "network: /etc/resolv.conf cannot be written";
	return etc__write_resolv_conf(&plan->name_servers, &plan->search, &plan->options);
}
