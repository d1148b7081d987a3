/* Disks in the configuration (`disk` of ffi/vmm.cddl), and how devices are made of them. */
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "virtio/blk.h"
#include "virtio/blk/disk.h"

#define MAX_DISKS 8

struct disks {
	CBOR_LIST_OF(struct blk_options) all;
};

#define DISK(member) offsetof(struct blk_options, member)
static const struct cbor_field fields[] = {
	{.key = "path", .kind = CBOR_PATH, .required = true, .offset = DISK(path)},
	{.key = "identity", .kind = CBOR_TUPLE, .offset = DISK(identity), .table = &file_identity_table},
	{.key = "readOnly", .kind = CBOR_BOOL, .required = true, .offset = DISK(read_only)},
};
#undef DISK
static const struct cbor_table table = CBOR_TABLE("disk", fields);
static const struct cbor_field item = {.kind = CBOR_MAP, .table = &table};

static int make_one(const struct blk_options *disk, unsigned index, struct device_maker *maker, struct failure *why)
{
	struct blk_options options = *disk;
	struct virtio_device *dev;
	char id[16];
	snprintf(id, sizeof(id), "disk%u", index);
	options.id = id;
	options.fd = disk__open(disk->path, &disk->identity, disk->read_only, &options.sectors, why);
	if (options.fd < 0)
		return options.fd;
	int err = virtio_blk__new(&options, &dev);
	if (!err)
		return maker->add(maker, dev, why);
	close(options.fd);
	return failure__set(why, -err, NULL, "the device for the disk %s cannot be made", disk->path);
}

static int disks_make(const void *config, struct device_maker *maker, struct failure *why)
{
	const struct disks *disks = config;
	int err = 0;
	for (unsigned i = 0; !err && i < disks->all.count; i++)
		err = make_one(&disks->all.at[i], i, maker, why);
	return err;
}

const struct device_kind device_blk = {
	.id = VIRTIO_ID_BLOCK,
	.field = {.key = "disks",
		  .kind = CBOR_LIST,
		  .item = &item,
		  .size = sizeof(struct blk_options),
		  .max = MAX_DISKS},
	.size = sizeof(struct disks),
	.thread = CONFINE_DISK,
	.make = disks_make,
};
