/* What a running VMM says of itself, and that it ends. */
#include "vmm/control/vmm.h"

#include "vmm/control/requests.h"

void vmm__say_failed(struct vmm *vmm, const struct failure *why)
{
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", "failed");
	writer__text(&out, "code", why->code);
	writer__text(&out, "message", why->message);
	control__event(vmm->control, &out, false);
}

static void say_data(struct vmm *vmm, const char *event, const void *data, size_t len, bool keep_up)
{
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", event);
	writer__bytes(&out, "data", data, len);
	control__event(vmm->control, &out, keep_up);
}

void vmm__guest_said(void *arg, const void *data, size_t len)
{
	struct vmm *vmm = arg;
	log__append(vmm->events_log, data, len);
	say_data(vmm, "guest", data, len, false);
	if (control__congested(vmm->control))
		guest_stream__pause(vmm->guest);
}

void vmm__console_said(void *arg, const void *data, size_t len)
{
	struct vmm *vmm = arg;
	log__append(vmm->console_log, data, len);
	say_data(vmm, "console", data, len, true);
}

void vmm__end(struct vmm *vmm, const char *reason)
{
	if (vmm->state == VMM_ENDING)
		return;
	vmm->state = VMM_ENDING;
	vmm->reason = reason;
	loop__stop(vmm->loop);
}

void answer__succeed(const struct answer *answer)
{
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__uint(&out, "reply", answer->request->id);
	channel__reply(answer->to, &out);
}
