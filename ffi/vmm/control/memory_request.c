/* The request about the guest's memory: how much of it the guest is to make do with. */
#include <errno.h>

#include "virtio/balloon.h"
#include "vmm/control/requests.h"

static int by_engine(struct answer *answer, uint64_t memory, uint64_t *now)
{
	struct vmm *vmm = answer->vmm;
	int err = vmm->built.engine->balloon(&vmm->built.machine, memory, now);
	if (err == -ENODEV)
		return failure__set(&answer->why, ENODEV, NULL,
				    "this machine has so many devices that there was no place for a balloon");
	return err ? failure__set(&answer->why, -err, NULL, "the engine does not change the guest's memory") : 0;
}

struct ask_call {
	struct virtio_device *dev;
	uint32_t pages;
};

static void ask_on_worker(void *arg)
{
	struct ask_call *call = arg;
	virtio_balloon__ask(call->dev, call->pages);
}

static int by_device(struct answer *answer, uint64_t memory, uint64_t *now)
{
	struct vmm *vmm = answer->vmm;
	uint64_t whole = vmm->config->memory, given;
	const struct device_slot *slot = device_set__find(&vmm->built.devices, &device_balloon);
	struct ask_call call = {.dev = slot->dev, .pages = (uint32_t)((whole - memory) / BALLOON_PAGE)};
	int err = memory ? loop__call(slot->worker.loop, ask_on_worker, &call) : 0;
	if (err)
		return failure__set(&answer->why, -err, NULL, "the guest cannot be asked for memory");
	given = (uint64_t)virtio_balloon__given(slot->dev) * BALLOON_PAGE;
	*now = given < whole ? whole - given : 0; /* the guest's word */
	return 0;
}

int memory__do(struct answer *answer)
{
	struct vmm *vmm = answer->vmm;
	uint64_t memory = answer->request->memory, now = 0;
	if (!*(const bool *)vmm_config__told(vmm->config, &device_balloon))
		return failure__set(&answer->why, ENODEV, NULL, "this machine has no balloon");
	/* as of "listen": the device's worker may be held */
	if (vmm->state == VMM_PAUSED)
		return failure__set(&answer->why, EBUSY, NULL, "the machine is paused; its guest gives nothing");
	if (memory > vmm->config->memory || memory % BALLOON_PAGE)
		return failure__set(
			&answer->why, EINVAL, NULL,
			"memory is %llu; it must be a multiple of 4096, at most the %llu that the machine has",
			(unsigned long long)memory, (unsigned long long)vmm->config->memory);
	int err = (vmm->built.engine->balloon ? by_engine : by_device)(answer, memory, &now);
	if (err)
		return err;
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__uint(&out, "reply", answer->request->id);
	writer__open(&out, "result");
	writer__uint(&out, "memory", now);
	writer__close(&out);
	channel__reply(answer->to, &out);
	return 0;
}
