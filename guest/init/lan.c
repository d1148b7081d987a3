/* Private networks: cards with addresses and nothing behind them. */
#include "init/lan.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "init/etc.h"

static int take_name_server(struct lan_plan *plan, const CborValue *map)
{
	unsigned char bytes[16];
	struct span span;
	int found = reader__text(map, "nameServer", &span), error;

	if (found <= 0)
		return found;
	error = strings__add(&plan->name_servers, span);
	if (error)
		return error;
	return inet_pton(AF_INET, plan->name_servers.list[plan->name_servers.count - 1], bytes) == 1 ? 0 : -EPROTO;
}

static int take_lan(struct lan_plan *plan, const CborValue *map)
{
	struct lan *lan = &plan->lans[plan->count++];
	struct span mac;
	int error;

	if (reader__bytes(map, "mac", &mac) != 1 || mac.length != sizeof(lan->mac))
		return -EPROTO;
	memcpy(lan->mac, mac.at, sizeof(lan->mac));
	error = network_side__take(&lan->ipv4, map, "ipv4", AF_INET);
	if (!error)
		error = network_side__take(&lan->ipv6, map, "ipv6", AF_INET6);
	return error ? error : take_name_server(plan, map);
}

int lan_plan__take(struct lan_plan *plan, const CborValue *map, const char **why)
{
	CborValue array, item;
	int found = reader__array(map, "lans", &array), error = 0;

	*why = "lans: at most four, with mac, ipv4 and ipv6";
	if (found <= 0)
		return found;
	if (cbor_value_enter_container(&array, &item))
		return -EPROTO;
	while (!cbor_value_at_end(&item) && !error) {
		if (!cbor_value_is_map(&item) || plan->count == LANS)
			return -EPROTO;
		error = take_lan(plan, &item);
		if (!error && cbor_value_advance(&item))
			return -EPROTO;
	}
	return error;
}

void lan_plan__free(struct lan_plan *plan)
{
	for (unsigned i = 0; i < plan->count; i++) {
		network_side__free(&plan->lans[i].ipv4);
		network_side__free(&plan->lans[i].ipv6);
	}
	strings__free(&plan->name_servers);
}

int lan__configure(const struct lan_plan *plan, const char **what)
{
	char name[IFNAMSIZ];
	int error = 0;

	*what = "lans: a card cannot be set up";
	for (unsigned i = 0; !error && i < plan->count; i++) {
		const struct lan *lan = &plan->lans[i];

		snprintf(name, sizeof(name), "lan%u", i);
		error = interface__name(lan->mac, name);
		if (!error)
			error = interface__set_up(name, &lan->ipv4, &lan->ipv6);
	}
	if (error || !plan->name_servers.count)
		return error;
	*what = "lans: /etc/resolv.conf cannot be written";
	return etc__write_resolv_conf(&plan->name_servers, NULL, NULL);
}
