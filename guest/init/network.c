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
	int found = reader__array(map, key, &array), error;

	if (found <= 0)
		return found;
	error = strings__add_array(words, &array);
	for (size_t i = 0; !error && i < words->count; i++)
		if (!*words->list[i] || strpbrk(words->list[i], " \t\r\n"))
			error = -EPROTO;
	return error;
}

int network_plan__take(struct network_plan *plan, const CborValue *map, const char **why)
{
	unsigned char bytes[16];
	CborValue network, servers;
	int found = reader__map(map, "network", &network), error;

	*why = "network: ipv4 and ipv6 with address, prefix and gateway";
	if (found <= 0)
		return found;
	error = network_side__take(&plan->ipv4, &network, "ipv4", AF_INET);
	if (!error)
		error = network_side__take(&plan->ipv6, &network, "ipv6", AF_INET6);
	if (error || !plan->ipv4.gateway || !plan->ipv6.gateway)
		return error ? error : -EPROTO;
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
	*why = "network: search and options, lists of words";
	error = take_words(&plan->search, &network, "search");
	if (!error)
		error = take_words(&plan->options, &network, "options");
	plan->present = !error;
	return error;
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
	int error;

	if (!plan->present)
		return 0;
	*what = "network: " INTERFACE " cannot be set up";
	error = interface__become(INTERFACE);
	if (!error)
		error = interface__set_up(INTERFACE, &plan->ipv4, &plan->ipv6);
	if (error)
		return error;
	*what = "network: /etc/resolv.conf cannot be written";
	return etc__write_resolv_conf(&plan->name_servers, &plan->search, &plan->options);
}
