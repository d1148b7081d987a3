/* The shares stand while somebody changes the directories of transactions behind the file server's back.
 *
 * The devices' workers never wait: they put requests for transactions by, and serve all others. So a machine whose
 * shares stand can be paused and ended as any other.
 */
#include "vmm/control/share_hold.h"

#include <errno.h>

#include "virtio/fs.h"
#include "vmm/control/requests.h"

enum { HOLD_MS = 60000 };

/* The next device that has a transaction, from slot *at on; NULL after the last. */
static struct device_slot *next(struct device_set *devices, unsigned *at)
{
	while (*at < devices->count) {
		struct device_slot *slot = &devices->slots[(*at)++];
		if (slot->dev->ops->id == VIRTIO_ID_FS && virtio_fs__is_layered(slot->dev))
			return slot;
	}
	return NULL;
}

static void look(void *dev)
{
	virtio_fs__look(dev);
}

static void let_go(struct vmm *vmm)
{
	struct share_hold *hold = &vmm->share_hold;
	struct device_slot *slot;
	hold->by = hold->awaited_by = NULL;
	loop__timer_cancel(vmm->loop, hold->timer);
	hold->timer = 0;
	for (unsigned at = 0; (slot = next(&vmm->built.devices, &at));) {
		virtio_fs__stand(slot->dev, false);
		(void)!loop__post(slot->worker.loop, look, slot->dev); /* else the guest's next request goes on */
	}
}

static void hold_over(void *arg)
{
	struct vmm *vmm = arg;
	vmm->share_hold.timer = 0;
	let_go(vmm);
	notice__hold_over(vmm);
}

void share_hold__closed(struct vmm *vmm, const struct control_channel *channel)
{
	if (vmm->share_hold.by == channel)
		let_go(vmm);
}

static void answer_if_all_stand(struct vmm *vmm)
{
	struct share_hold *hold = &vmm->share_hold;
	if (hold->asked || !hold->awaited_by)
		return;
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__uint(&out, "reply", hold->request);
	struct control_channel *to = hold->awaited_by;
	hold->awaited_by = NULL;
	channel__reply(to, &out);
}

static void stood(void *arg)
{
	struct vmm *vmm = arg;
	vmm->share_hold.asked--;
	answer_if_all_stand(vmm);
}

/* On a worker, which has ended the request at hand. */
static void say_stood(void *arg)
{
	struct vmm *vmm = arg;
	(void)!loop__post(vmm->loop, stood, vmm);
}

int share_hold__do(struct answer *answer)
{
	struct vmm *vmm = answer->vmm;
	struct share_hold *hold = &vmm->share_hold;
	struct device_slot *slot;
	uint64_t timer;
	unsigned at = 0;
	if (!next(&vmm->built.devices, &at))
		return failure__set(&answer->why, ENODEV, NULL, "this machine has no share with mode \"transaction\"");
	int err = loop__timer(vmm->loop, HOLD_MS, hold_over, vmm, &timer);
	if (err)
		return failure__set(&answer->why, -err, NULL, "no timer for the end of the hold");
	loop__timer_cancel(vmm->loop, hold->timer);
	hold->timer = timer;
	hold->by = hold->awaited_by = answer->to;
	hold->request = answer->request->id;
	for (at = 0; (slot = next(&vmm->built.devices, &at));) {
		virtio_fs__stand(slot->dev, true);
		/* a paused one has no request at hand, and its worker may not answer */
		if (vmm->state != VMM_PAUSED && !loop__post(slot->worker.loop, say_stood, vmm))
			hold->asked++;
	}
	answer_if_all_stand(vmm);
	return 0;
}
