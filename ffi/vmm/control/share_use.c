/* What a guest has used of its shares, as a list in a frame of the control channel. */
#include "vmm/control/share_use.h"

#include <string.h>

#include "virtio/fs.h"

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

static void add_entries(struct writer *out, const struct fs_use *use)
{
	const char *end = use->wrote + use->wrote_end;
	unsigned count = 0;
	for (const char *at = use->wrote; at < end; at += strlen(at) + 1)
		count++;
	writer__list(out, "entries", count);
	for (const char *at = use->wrote; at < end; at += strlen(at) + 1)
		writer__bytes(out, NULL, at, strlen(at));
}

void share_use__add(struct writer *out, const struct device_set *devices)
{
	struct fs_use use;
	unsigned count = 0;
	for (unsigned slot = 0, root = 0; next(devices, &slot, &root, &use);)
		count++;
	if (!count)
		return;
	writer__list(out, "use", count);
	for (unsigned slot = 0, root = 0; next(devices, &slot, &root, &use);) {
		writer__open(out, NULL);
		writer__text(out, "root", use.name);
		writer__bool(out, "used", use.used);
		writer__bool(out, "written", use.written);
		add_entries(out, &use);
		writer__bool(out, "more", use.wrote_more);
		writer__close(out);
	}
}
