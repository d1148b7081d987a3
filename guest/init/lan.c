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
	struct span span;
	int found = reader__text(map, "nameServer", &span);
	if (found <= 0)
		return found;
	int err = strings__add(&plan->name_servers, span);
	if (err)
		return err;
	unsigned char bytes[16];
	return inet_pton(AF_INET, plan->name_servers.list[plan->name_servers.count - 1], bytes) == 1 ? 0 : -EPROTO;
}

static int take_lan(struct lan_plan *plan, const CborValue *map)
{
	struct lan *lan = &plan->lans[plan->count++];
	struct span mac;
	if (reader__bytes(map, "mac", &mac) != 1 || mac.length != sizeof(lan->mac))
		return -EPROTO;
	memcpy(lan->mac, mac.at, sizeof(lan->mac));
	int err = network_side__take(&lan->ipv4, map, "ipv4", AF_INET);
	if (!err)
		err = network_side__take(&lan->ipv6, map, "ipv6", AF_INET6);
	return err ? err : take_name_server(plan, map);
}

int lan_plan__take(struct lan_plan *plan, const CborValue *map, const char **why)
{
	CborValue array;
	int found = reader__array(map, "lans", &array), err = 0;
	*why = "lans: at most four, with mac, ipv4 and ipv6";
	if (found <= 0)
		return found;
	CborValue item;
	if (cbor_value_enter_container(&array, &item))
		return -EPROTO;
	while (!cbor_value_at_end(&item) && !err) {
		if (!cbor_value_is_map(&item) || plan->count == LANS)
			return -EPROTO;
		err = take_lan(plan, &item);
		if (!err && cbor_value_advance(&item))
			return -EPROTO;
	}
	return err;
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
	int err = 0;
	*what = "lans: a card cannot be set up";
	char name[IFNAMSIZ];
	for (unsigned i = 0; !err && i < plan->count; i++) {
		const struct lan *lan = &plan->lans[i];
		snprintf(name, sizeof(name), "lan%u", i);
		err = interface__name(lan->mac, name);
		if (!err)
			err = interface__set_up(name, &lan->ipv4, &lan->ipv6);
	}
	if (err || !plan->name_servers.count)
		return err;
	*what = "lans: /etc/resolv.conf cannot be written";
	return etc__write_resolv_conf(&plan->name_servers, NULL, NULL);
}
