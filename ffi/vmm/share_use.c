/* What a guest has used of its shares, as a list in a frame of the control channel. */
#include "vmm/share_use.h"

#include <string.h>

/* Beside the root's name. The guest goes on meanwhile: there is room for what it may yet write. A name of one letter
 * takes as much again. */
enum { ITEM_ROOM = 96 + 2 * FS_ROOT_WROTE_MAX };

/* The next root of all file system devices; false after the last. *slot and *root begin at 0. */
static bool next(const struct device_set *devices, unsigned *slot, unsigned *root, struct fs_use *use)
{
	for (; *slot < devices->count; (*slot)++, *root = 0) {
		const struct virtio_device *dev = devices->slots[*slot].dev;
		if (dev->ops->id == VIRTIO_ID_FS && virtio_fs__use(dev, (*root)++, use))
			return true;
	}
	return false;
}

size_t share_use__room(const struct device_set *devices)
{
	struct fs_use use;
	size_t room = ITEM_ROOM;
	for (unsigned slot = 0, root = 0; next(devices, &slot, &root, &use);)
		room += ITEM_ROOM + strlen(use.name);
	return room;
}

static void add_entries(struct frame *frame, const struct fs_use *use)
{
	const char *end = use->wrote + use->wrote_end;
	unsigned count = 0;
	for (const char *at = use->wrote; at < end; at += strlen(at) + 1)
		count++;
	frame__list(frame, "entries", count);
	for (const char *at = use->wrote; at < end; at += strlen(at) + 1)
		frame__item_bytes(frame, at, strlen(at));
	frame__close(frame);
}

void share_use__add(struct frame *frame, const struct device_set *devices)
{
	struct fs_use use;
	unsigned count = 0;
	for (unsigned slot = 0, root = 0; next(devices, &slot, &root, &use);)
		count++;
	if (!count)
		return;
	frame__list(frame, "use", count);
	for (unsigned slot = 0, root = 0; next(devices, &slot, &root, &use);) {
		frame__item(frame);
		frame__text(frame, "root", use.name);
		frame__bool(frame, "used", use.used);
		frame__bool(frame, "written", use.written);
		add_entries(frame, &use);
		frame__bool(frame, "more", use.wrote_more);
		frame__close(frame);
	}
	frame__close(frame);
}
