/* The network card with the host's network behind it, as a machine is given one. */
#include <errno.h>
#include <unistd.h>

#include "net/config.h"
#include "net/resolv_conf.h"

#define RESOLV_CONF_MAX 8192      /* bytes that are looked at */
#define CONNECTION (384ULL << 10) /* bytes: both directions, full, of what libslirp holds for their readers */

static int open_service(void *owner, unsigned index)
{
	const struct device_maker *maker = owner;
	return maker->open(maker->owner, DOOR_SERVICE, index);
}

static bool look_up_servers(void *owner, struct name_servers *servers)
{
	const struct device_maker *maker = owner;
	char text[RESOLV_CONF_MAX];
	size_t len = 0;
	ssize_t n = 1;
	int fd = maker->open(maker->owner, DOOR_RESOLV_CONF, 0);
	while (fd >= 0 && n > 0 && len < sizeof(text)) {
		n = read(fd, text + len, sizeof(text) - len);
		len += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	/* where there is none, this machine asks itself: resolv.conf(5) */
	if (fd < 0 && fd != -ENOENT)
		return false;
	resolv_conf__read(text, len, servers);
	return true;
}

/* What the guest's name servers answer themselves: names of its private networks' members, or else its own. */
static int make_names(const struct nat_options *options, struct device_maker *maker, struct failure *why)
{
	if (maker->names || !maker->name)
		return 0;
	int err = names__new(&maker->names);
	if (err)
		return failure__set(why, -err, NULL, "no memory for the names of sandboxes");
	names__add(maker->names, maker->name, options->addresses.guest);
	return 0;
}

static int net_make(const void *config, struct device_maker *maker, struct failure *why)
{
	struct nat_options options = *(const struct nat_options *)config;
	struct virtio_device *dev;
	if (!options.present)
		return 0;
	int err = make_names(&options, maker, why);
	if (err)
		return err;
	options.opener = (struct service_opener){.open = open_service, .owner = maker};
	options.source =
		(struct resolver_source){.servers = options.follows_host ? look_up_servers : NULL, .owner = maker};
	options.names = maker->names;
	options.notice = maker->notice;
	options.arg = maker->owner;
	err = nat__new(&options, &dev, why);
	return err ? err : maker->add(maker, dev, why);
}

static uint64_t net_held(const void *config, uint64_t memory)
{
	const struct nat_options *net = config;
	(void)memory;
	return !net->present ? 0 : CONNECTION * (net->max_connections ? net->max_connections : GATE_CONNECTIONS);
}

const struct device_kind device_net = {
	.id = VIRTIO_ID_NET,
	.field = {.key = "net", .kind = CBOR_MAP, .table = &net_config_table},
	.size = sizeof(struct nat_options),
	.thread = CONFINE_NETWORK,
	.held = net_held,
	.make = net_make,
};
