/* Of the monitor without libslirp, which starts sooner: those who want a network start the other one. */
#include <errno.h>

#include "net/nat.h"

int nat__new(const struct nat_options *options, struct virtio_device **out, struct failure *why)
{
	(void)options, (void)out;
	return failure__set(why, ENOSYS, NULL, "this monitor has no network: capsa-vmm-net has");
}

/* There is no device that these could be called with. */

struct nat *nat__behind(struct virtio_device *dev)
{
	(void)dev;
	return NULL;
}

int nat__replace_rules(struct nat *nat, const struct policy_rule *rules, unsigned count, bool otherwise)
{
	(void)nat, (void)rules, (void)count, (void)otherwise;
	return -ENOSYS;
}

struct nat_counters nat__counters(const struct nat *nat)
{
	(void)nat;
	return (struct nat_counters){.refused = 0};
}

const struct egress *nat__egress(const struct nat *nat)
{
	(void)nat;
	return NULL;
}

const struct name_servers *nat__servers(const struct nat *nat)
{
	(void)nat;
	return NULL;
}
