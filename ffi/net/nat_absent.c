/* Of the monitor without libslirp, which starts sooner: those who want a network start the other one. */
#include <errno.h>

#include "net/nat.h"

int nat__new(const struct nat_options *options, struct virtio_device **out, struct failure *why)
{
	(void)options;
	(void)out;
	return failure__set(why, ENOSYS, NULL, "this monitor has no network: capsa-vmm-net has");
}
