/* What the handlers of the control channel's requests have in common. */
#ifndef CAPSA_VMM_CONTROL_REQUESTS_H
#define CAPSA_VMM_CONTROL_REQUESTS_H

#include "vmm/control/vmm.h"

struct answer {
	struct vmm *vmm;
	struct control_channel *to;
	const struct control_request *request;
	struct failure why;
};

/* control_ops.request: ffi/vmm.cddl lists them. */
void vmm__request(void *owner, struct control_channel *from, const struct control_request *request);

/* Answer that it is done. */
void answer__succeed(const struct answer *answer);

/* Handlers: 0 once they have answered, or -errno with answer->why. */

/* vmm/control/memory_request.c */
__attribute__((warn_unused_result)) int memory__do(struct answer *answer);

/* vmm/control/share_hold.c */
__attribute__((warn_unused_result)) int share_hold__do(struct answer *answer);

/* vmm/control/network_requests.c */
__attribute__((warn_unused_result)) int network__do_show(struct answer *answer);
__attribute__((warn_unused_result)) int network__do_counters(struct answer *answer);
__attribute__((warn_unused_result)) int network__do_rules(struct answer *answer);
__attribute__((warn_unused_result)) int network__do_explain(struct answer *answer);

#endif
