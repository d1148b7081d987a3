/* Of the library without the KVM engine. */
#include <errno.h>

#include "capsa.h"

int32_t capsa_probe_kvm(uint32_t budget_ms, struct capsa_kvm_probe *out)
{
	if (!out || budget_ms == 0)
		return -EINVAL;
	*out = (struct capsa_kvm_probe){.state = CAPSA_KVM_UNSUPPORTED};
	return 0;
}
