/* The machine's virtio devices, as the configuration asks for them, each with a worker of its own. */
#include "vmm/build/devices.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/errno_name.h"
#include "confine/confine.h"
#include "confine/tree.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/blk/disk.h"
#include "virtio/console.h"
#include "virtio/fs.h"
#include "virtio/rng.h"
#include "virtio/vsock.h"

static void narrow(int kind)
{
	confine__narrow((enum confine_thread)kind, false);
}

/* What its thread needs; a cable of a private network is a network card as well, and says so itself. */
static enum confine_thread thread_of(const struct virtio_device *dev)
{
	switch (dev->ops->id) {
	case VIRTIO_ID_BLOCK:
		return CONFINE_DISK;
	case VIRTIO_ID_FS:
		return CONFINE_SHARES;
	case VIRTIO_ID_NET:
		return CONFINE_NETWORK;
	case VIRTIO_ID_VSOCK:
		return CONFINE_VSOCK;
	default:
		return CONFINE_QUIET;
	}
}

static int add(struct device_set *set, struct virtio_device *dev, struct failure *why)
{
	struct device_slot *slot = &set->slots[set->count];
	int err = set->count < MACHINE_MAX_DEVICES ? worker__init(&slot->worker, dev->ops->name) : -ENOSPC;
	if (err) {
		dev->ops->destroy(dev);
		return failure__set(why, -err, NULL, "no worker for the %s device", dev->ops->name);
	}
	slot->dev = dev;
	slot->worker.how = thread_of(dev);
	dev->loop = slot->worker.loop;
	set->count++;
	return 0;
}

/* -1 where the root has none; its parts are opened from it (virtio/fs/union.c). */
static int open_layer(const struct config_root *root, int *fd, struct failure *why)
{
	*fd = root->layer ? tree__open(root->layer, false) : -1;
	if (!root->layer || *fd >= 0)
		return 0;
	return failure__set(why, -*fd, NULL, "the layer %s cannot be opened (%s)", root->layer, errno_name(-*fd));
}

static int open_root(const struct config_root *root, struct fs_root *out, struct failure *why)
{
	int layer, failed = open_layer(root, &layer, why);
	if (failed)
		return failed;
	int fd = tree__open(root->path, root->read_only || root->layer);
	int err = fd < 0 ? fd : file_identity__check(&root->identity, fd);
	if (err && fd >= 0)
		close(fd);
	if (err && layer >= 0)
		close(layer);
	if (err)
		return failure__set(why, -err, NULL, "the share %s cannot be opened (%s)%s", root->path,
				    errno_name(-err), err == -ESTALE ? ": another one has its name by now" : "");
	*out = (struct fs_root){
		.name = root->name,
		.fd = fd,
		.read_only = root->read_only,
		.host_locks = root->host_locks,
		.layered = root->layer,
		.layer = layer,
		.protect = root->protect,
		.protect_count = root->protect_count,
		.size = root->size,
		.cache = root->cache,
		.ownership = root->ownership,
		.uid_map = root->uids,
		.gid_map = root->gids,
		.uid_map_count = root->uid_count,
		.gid_map_count = root->gid_count,
	};
	return 0;
}

static int add_fs(struct device_set *set, const struct config_fs *fs, const struct device_options *device,
		  struct failure *why)
{
	struct fs_root *roots = calloc(fs->root_count ? fs->root_count : 1, sizeof(*roots));
	if (!roots)
		return failure__set(why, ENOMEM, NULL, "no memory for the shares");
	unsigned opened = 0;
	int err = 0;
	while (!err && opened < fs->root_count) {
		err = open_root(&fs->roots[opened], &roots[opened], why);
		opened += err == 0;
	}
	struct virtio_device *dev;
	if (!err) {
		struct fs_options options = {.tag = fs->tag,
					     .single = fs->single,
					     .roots = roots,
					     .root_count = fs->root_count,
					     .memory = device->memory,
					     .notice = device->watches,
					     .notice_arg = device->owner};
		err = virtio_fs__new(&options, &dev);
		if (err)
			(void)!failure__set(why, -err, NULL, "the file system device \"%s\" cannot be made", fs->tag);
		else
			opened = 0; /* the device has the descriptors now */
	}
	for (unsigned i = 0; i < opened; i++) {
		close(roots[i].fd);
		if (roots[i].layered)
			close(roots[i].layer);
	}
	free(roots);
	return err ? err : add(set, dev, why);
}

static int add_disk(struct device_set *set, const struct config_disk *disk, unsigned index, struct failure *why)
{
	struct virtio_device *dev;
	char id[16];
	snprintf(id, sizeof(id), "disk%u", index);
	struct blk_options options = {.read_only = disk->read_only, .id = id};
	options.fd = disk__open(disk->path, &disk->identity, disk->read_only, &options.sectors, why);
	if (options.fd < 0)
		return options.fd;
	int err = virtio_blk__new(&options, &dev);
	if (err) {
		close(options.fd);
		return failure__set(why, -err, NULL, "the device for the disk %s cannot be made", disk->path);
	}
	return add(set, dev, why);
}

static int add_vsock(struct device_set *set, const struct config_vsock *vsock, const struct device_options *device,
		     struct failure *why)
{
	const char *dir = device->vsock_dir;
	struct virtio_device *dev;
	struct vsock_options options = {.guest_cid = vsock->cid,
					.dir_fd = tree__open(dir, false),
					.ports = &doors__vsock,
					.ports_owner = device->doors};
	if (options.dir_fd < 0)
		return failure__set(why, -options.dir_fd, NULL, "the directory %s cannot be opened", dir);
	int err = virtio_vsock__new(&options, &dev);
	if (err) {
		close(options.dir_fd);
		return failure__set(why, -err, NULL, "the vsock device cannot be made");
	}
	err = add(set, dev, why);
	if (err)
		return err;
	set->vsock = &set->slots[set->count - 1];
	for (unsigned i = 0; i < vsock->port_count; i++) {
		err = device_set__listen(set, vsock->ports[i]);
		if (err && err != -EEXIST)
			return failure__set(why, -err, NULL, "no Unix socket for vsock port %u in %s", vsock->ports[i],
					    dir);
	}
	return 0;
}

static int add_net(struct device_set *set, const struct config_net *net, const struct device_options *options,
		   struct failure *why)
{
	struct virtio_device *dev;
	memcpy(set->publish, net->publish, sizeof(set->publish));
	set->publish_count = net->publish_count;
	struct nat_options nat = {
		.mtu = (uint16_t)net->mtu,
		.addresses = net->addresses,
		.rules = net->rules.at,
		.rule_count = net->rules.count,
		.otherwise = net->otherwise,
		.host_loopback = net->host_loopback,
		.services = net->services,
		.opener = {.open = doors__open_service, .owner = options->doors},
		.servers = net->servers,
		.source = {.servers = net->follows_host ? doors__name_servers : NULL, .owner = options->doors},
		.names = set->names,
		.publish = set->publish,
		.publish_count = set->publish_count,
		.max_connections = (unsigned)net->max_connections,
		.bandwidth = net->bandwidth,
		.notice = options->notice,
		.arg = options->owner,
	};
	int err = nat__new(&nat, &dev, &set->nat, why);
	if (!err)
		err = add(set, dev, why);
	if (err) {
		set->nat = NULL; /* it went with the device */
		return err;
	}
	set->net = &set->slots[set->count - 1];
	return 0;
}

static int add_lan(struct device_set *set, const struct config_lan *lan, int listener, struct failure *why)
{
	struct virtio_device *dev;
	struct lan_options options = {
		.mtu = (uint16_t)lan->mtu,
		.self = lan->self,
		.name_server = {lan->name_server[0], lan->name_server[1]},
		.listener = listener,
		.peers = lan->peers,
		.peer_count = lan->peer_count,
		.names = set->names,
	};
	memcpy(options.token, lan->token, sizeof(options.token));
	int err = lan__new(&options, &dev, why);
	if (!err)
		err = add(set, dev, why);
	if (!err)
		set->slots[set->count - 1].worker.how = CONFINE_LAN;
	return err;
}

/* What the guest's name servers answer themselves: names of its private networks' members, or else its own. */
static int make_names(struct device_set *set, const struct vmm_config *config, struct failure *why)
{
	if (!config->lan_count && !(config->net.present && config->name))
		return 0;
	int err = names__new(&set->names);
	if (err)
		return failure__set(why, -err, NULL, "no memory for the names of sandboxes");
	if (!config->lan_count)
		names__add(set->names, config->name, config->net.addresses.guest);
	return 0;
}

/* Before the host's network, whose name server has their members' names. */
static int add_lans(struct device_set *set, const struct vmm_config *config, const int *listeners, struct failure *why)
{
	int err = make_names(set, config, why);
	for (unsigned i = 0; !err && i < config->lan_count; i++)
		err = add_lan(set, &config->lans[i], listeners[i], why);
	return err;
}

static int add_balloon(struct device_set *set, struct failure *why)
{
	struct virtio_device *dev;
	int err = virtio_balloon__new(&dev);
	if (err)
		return failure__set(why, -err, NULL, "the balloon device cannot be made");
	err = add(set, dev, why);
	if (!err)
		set->balloon = &set->slots[set->count - 1];
	return err;
}

static int add_console(struct device_set *set, int fd, struct failure *why)
{
	struct virtio_device *dev;
	int err = virtio_console__new(fd, &dev);
	if (err) {
		close(fd);
		return failure__set(why, -err, NULL, "the console device cannot be made");
	}
	return add(set, dev, why);
}

int device_set__build(struct device_set *set, const struct vmm_config *config, const struct device_options *options,
		      struct failure *why)
{
	struct virtio_device *rng;
	int console_fd = options->console_fd;
	*set = (struct device_set){.count = 0};
	int err = config->vsock.present ? add_vsock(set, &config->vsock, options, why) : 0;
	for (unsigned i = 0; !err && i < config->fs_count; i++)
		err = add_fs(set, &config->fs[i], options, why);
	for (unsigned i = 0; !err && i < config->disk_count; i++)
		err = add_disk(set, &config->disks[i], i, why);
	if (!err && config->rng) {
		err = virtio_rng__new(&rng);
		err = err ? failure__set(why, -err, NULL, "the rng device cannot be made") : add(set, rng, why);
	}
	if (!err)
		err = add_lans(set, config, options->listeners, why);
	if (!err && config->net.present)
		err = add_net(set, &config->net, options, why);
	if (!err && options->balloon)
		err = add_balloon(set, why);
	if (!err && console_fd >= 0)
		return add_console(set, console_fd, why) ? (device_set__end(set), -EIO) : 0;
	if (err) {
		if (console_fd >= 0)
			close(console_fd);
		device_set__end(set);
	}
	return err;
}

static int start(struct device_slot *slot, struct failure *why)
{
	int err = worker__start(&slot->worker);
	return err ? failure__set(why, -err, NULL, "no thread for the %s device", slot->dev->ops->name) : 0;
}

int device_set__start(struct device_set *set, bool narrows, struct failure *why)
{
	int err = 0;
	for (unsigned i = 0; !err && i < set->count; i++) {
		set->slots[i].worker.enter = narrows ? narrow : NULL;
		err = start(&set->slots[i], why);
	}
	return err;
}

static void destroy(void *arg)
{
	struct virtio_device *dev = arg;
	dev->ops->destroy(dev);
}

void device_set__end(struct device_set *set)
{
	for (unsigned i = 0; i < set->count; i++) {
		struct device_slot *slot = &set->slots[i];
		if (loop__call(slot->worker.loop, destroy, slot->dev) < 0) /* the worker's loop broke down by itself */
			destroy(slot->dev);
		worker__end(&slot->worker);
	}
	set->count = 0;
	set->vsock = set->net = set->balloon = NULL;
	set->nat = NULL;
	names__free(set->names);
	set->names = NULL;
}

int device_set__root(const struct device_set *set, unsigned index, unsigned root)
{
	for (unsigned i = 0; i < set->count; i++)
		if (set->slots[i].dev->ops->id == VIRTIO_ID_FS && !index--)
			return virtio_fs__root(set->slots[i].dev, root);
	return -1;
}

int device_set__layer(const struct device_set *set, unsigned index, unsigned root)
{
	for (unsigned i = 0; i < set->count; i++)
		if (set->slots[i].dev->ops->id == VIRTIO_ID_FS && !index--)
			return virtio_fs__layer(set->slots[i].dev, root);
	return -1;
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

int device_set__ask_pages(struct device_set *set, uint32_t pages)
{
	if (!set->balloon)
		return -ENODEV;
	struct ask_call call = {.dev = set->balloon->dev, .pages = pages};
	return loop__call(set->balloon->worker.loop, ask_on_worker, &call);
}

uint32_t device_set__given_pages(const struct device_set *set)
{
	return set->balloon ? virtio_balloon__given(set->balloon->dev) : 0;
}

struct listen_call {
	struct virtio_device *dev;
	uint32_t port;
	int result;
};

static void listen_on_worker(void *arg)
{
	struct listen_call *call = arg;
	call->result = vsock__listen(call->dev, call->port);
}

int device_set__listen(struct device_set *set, uint32_t port)
{
	if (!set->vsock)
		return -ENODEV;
	struct listen_call call = {.dev = set->vsock->dev, .port = port};
	int err = loop__call(set->vsock->worker.loop, listen_on_worker, &call);
	return err ? err : call.result;
}

bool device_set__traffic(const struct device_set *set, const char *kind, struct virtio_traffic *sum)
{
	bool found = false;
	*sum = (struct virtio_traffic){0};
	for (unsigned i = 0; i < set->count; i++) {
		const struct virtio_device *dev = set->slots[i].dev;
		if (!dev || strcmp(dev->ops->name, kind) != 0)
			continue;
		sum->from_guest += atomic_load_explicit(&dev->traffic.from_guest, memory_order_relaxed);
		sum->to_guest += atomic_load_explicit(&dev->traffic.to_guest, memory_order_relaxed);
		sum->requests += atomic_load_explicit(&dev->traffic.requests, memory_order_relaxed);
		found = true;
	}
	return found;
}
