/* The vhost-user back end's messages: each is checked, then carried out. */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "engine/qemu/vhost_user_parts.h"

static struct ring *ring_at(struct vhost_user *vu, uint64_t index)
{
	if (index < vu->dev->ops->num_queues)
		return &vu->rings[index];
	(void)vhost_user__refuse(vu, "ring %llu of %u", (unsigned long long)index, vu->dev->ops->num_queues);
	return NULL;
}

/* Messages */

static int reply(struct vhost_user *vu, uint32_t size)
{
	struct vhost_user_header header = {vu->header.request, VHOST_USER_VERSION | VHOST_USER_REPLY, size};
	struct iovec iov[] = {{&header, sizeof(header)}, {&vu->payload, size}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};
	ssize_t n = sendmsg(vu->options.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
		return -ECONNRESET;
	return n == (ssize_t)(sizeof(header) + size) ? 0
						     : vhost_user__refuse(vu, "the front end does not take its answer");
}

static int reply_u64(struct vhost_user *vu, uint64_t value)
{
	vu->payload.u64 = value;
	return reply(vu, sizeof(value));
}

static uint64_t offered(const struct vhost_user *vu)
{
	return vu->dev->ops->features | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_INDIRECT_DESC | VIRTIO_F_RING_EVENT_IDX |
	       VHOST_USER_F_PROTOCOL_FEATURES;
}

static uint64_t offered_protocol(const struct vhost_user *vu)
{
	return (1ULL << VHOST_USER_PROTOCOL_F_MQ) | (1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK) |
	       (vu->options.config ? 1ULL << VHOST_USER_PROTOCOL_F_CONFIG : 0);
}

static int set_features(struct vhost_user *vu)
{
	if (vu->payload.u64 & ~offered(vu))
		return vhost_user__refuse(vu, "features %#llx that were not offered",
					  (unsigned long long)(vu->payload.u64 & ~offered(vu)));
	if (!(vu->payload.u64 & VHOST_USER_F_PROTOCOL_FEATURES))
		return vhost_user__refuse(vu, "a front end without protocol features (QEMU before 7.2)");
	vu->features = vu->payload.u64;
	return 0;
}

static int set_vring_num(struct vhost_user *vu)
{
	struct ring *ring = ring_at(vu, vu->payload.vring.index);
	unsigned num = vu->payload.vring.num;
	if (!ring)
		return -EPROTO;
	if (ring->running || !num || num > VIRTQUEUE_MAX_SIZE || (num & (num - 1)))
		return vhost_user__refuse(vu, "a ring of %u entries", num);
	ring->size = num;
	return 0;
}

static int set_vring_addr(struct vhost_user *vu)
{
	const struct vhost_user_vring_addr *addr = &vu->payload.addr;
	struct ring *ring = ring_at(vu, addr->index);
	if (!ring)
		return -EPROTO;
	if (ring->running)
		return vhost_user__refuse(vu, "ring %u is moved while it runs", ring->index);
	ring->desc = addr->desc;
	ring->used = addr->used;
	ring->avail = addr->avail;
	ring->addressed = true;
	return 0;
}

static int set_vring_base(struct vhost_user *vu)
{
	struct ring *ring = ring_at(vu, vu->payload.vring.index);
	if (!ring)
		return -EPROTO;
	if (ring->running || vu->payload.vring.num > UINT16_MAX)
		return vhost_user__refuse(vu, "base %u", vu->payload.vring.num);
	ring->base = (uint16_t)vu->payload.vring.num;
	return 0;
}

static int get_vring_base(struct vhost_user *vu)
{
	struct ring *ring = ring_at(vu, vu->payload.vring.index);
	if (!ring)
		return -EPROTO;
	ring__take_back(ring);
	int err = rings__settle(vu);
	if (err)
		return err;
	vu->payload.vring.num = ring->base;
	return reply(vu, sizeof(vu->payload.vring));
}

/* The ring's descriptor that came with the message: *fd is -1 when the front end said there is none. */
static int take_fd(struct vhost_user *vu, struct ring **ring, int *fd)
{
	*ring = ring_at(vu, vu->payload.u64 & 0xff);
	if (!*ring)
		return -EPROTO;
	bool none = vu->payload.u64 & VHOST_USER_NO_FD;
	if (vu->fd_count != (none ? 0U : 1U))
		return vhost_user__refuse(vu, "%u descriptors", vu->fd_count);
	*fd = none ? -1 : vu->fds[0];
	if (*fd >= 0 && fcntl(*fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return vhost_user__refuse(vu, "a descriptor that blocks");
	vu->fd_count = 0;
	return 0;
}

static int set_vring_kick(struct vhost_user *vu)
{
	struct ring *ring;
	int fd, err = take_fd(vu, &ring, &fd);
	if (err)
		return err;
	if (fd < 0)
		return vhost_user__refuse(vu, "a ring without kicks");
	ring__stop(ring);
	ring->kick = fd;
	ring->started = true;
	return rings__settle(vu);
}

static int set_vring_call(struct vhost_user *vu)
{
	struct ring *ring;
	int fd, err = take_fd(vu, &ring, &fd);
	if (err)
		return err;
	fd__drop(&ring->call);
	ring->call = fd;
	if (ring->running)
		vu->dev->queues[ring->index].notify.fd = fd;
	return 0;
}

/* Errors are told by closing the connection: the descriptor for them is not kept. */
static int set_vring_err(struct vhost_user *vu)
{
	struct ring *ring;
	int fd, err = take_fd(vu, &ring, &fd);
	if (!err)
		fd__drop(&fd);
	return err;
}

static int set_vring_enable(struct vhost_user *vu)
{
	struct ring *ring = ring_at(vu, vu->payload.vring.index);
	if (!ring)
		return -EPROTO;
	if (vu->payload.vring.num > 1)
		return vhost_user__refuse(vu, "state %u", vu->payload.vring.num);
	ring->on = vu->payload.vring.num;
	return rings__settle(vu);
}

/* Whether the message names a part of the device's configuration space; else nothing of it is touched. */
static bool config_range(const struct vhost_user *vu)
{
	const struct vhost_user_config *c = &vu->payload.config;
	size_t room = vu->dev->ops->config_size;
	return c->size && c->size <= sizeof(c->region) &&
	       vu->header.size == offsetof(struct vhost_user_config, region) + c->size && c->offset <= room &&
	       c->size <= room - c->offset;
}

static int get_config(struct vhost_user *vu)
{
	struct vhost_user_config *c = &vu->payload.config;
	if (!config_range(vu)) /* "size of zero" is the protocol's word for an error */
		return reply(vu, 0);
	vu->dev->ops->read_config(vu->dev, c->offset, c->region, c->size);
	return reply(vu, vu->header.size);
}

static int set_config(struct vhost_user *vu)
{
	const struct vhost_user_config *c = &vu->payload.config;
	if (!config_range(vu) || !vu->dev->ops->write_config)
		return vhost_user__refuse(vu, "a part of the configuration that cannot be written");
	vu->dev->ops->write_config(vu->dev, c->offset, c->region, c->size);
	return 0;
}

/* Size of a request's payload: exact, or -1 where its handler checks it; -2 for a request that is not served. */
static int payload_size(const struct vhost_user *vu)
{
	switch (vu->header.request) {
	case VHOST_USER_GET_FEATURES:
	case VHOST_USER_SET_OWNER:
	case VHOST_USER_RESET_OWNER:
	case VHOST_USER_GET_PROTOCOL_FEATURES:
	case VHOST_USER_GET_QUEUE_NUM:
		return 0;
	case VHOST_USER_SET_FEATURES:
	case VHOST_USER_SET_PROTOCOL_FEATURES:
	case VHOST_USER_SET_VRING_KICK:
	case VHOST_USER_SET_VRING_CALL:
	case VHOST_USER_SET_VRING_ERR:
		return sizeof(uint64_t);
	case VHOST_USER_SET_VRING_NUM:
	case VHOST_USER_SET_VRING_BASE:
	case VHOST_USER_GET_VRING_BASE:
	case VHOST_USER_SET_VRING_ENABLE:
		return sizeof(struct vhost_user_vring);
	case VHOST_USER_SET_VRING_ADDR:
		return sizeof(struct vhost_user_vring_addr);
	case VHOST_USER_SET_MEM_TABLE:
		return -1;
	case VHOST_USER_GET_CONFIG:
	case VHOST_USER_SET_CONFIG:
		return vu->options.config ? -1 : -2;
	default:
		return -2;
	}
}

static int dispatch(struct vhost_user *vu)
{
	switch (vu->header.request) {
	case VHOST_USER_GET_FEATURES:
		return reply_u64(vu, offered(vu));
	case VHOST_USER_SET_FEATURES:
		return set_features(vu);
	case VHOST_USER_SET_MEM_TABLE:
		return memory__set(vu);
	case VHOST_USER_SET_VRING_NUM:
		return set_vring_num(vu);
	case VHOST_USER_SET_VRING_ADDR:
		return set_vring_addr(vu);
	case VHOST_USER_SET_VRING_BASE:
		return set_vring_base(vu);
	case VHOST_USER_GET_VRING_BASE:
		return get_vring_base(vu);
	case VHOST_USER_SET_VRING_KICK:
		return set_vring_kick(vu);
	case VHOST_USER_SET_VRING_CALL:
		return set_vring_call(vu);
	case VHOST_USER_SET_VRING_ERR:
		return set_vring_err(vu);
	case VHOST_USER_GET_PROTOCOL_FEATURES:
		return reply_u64(vu, offered_protocol(vu));
	case VHOST_USER_SET_PROTOCOL_FEATURES:
		if (vu->payload.u64 & ~offered_protocol(vu))
			return vhost_user__refuse(vu, "protocol features that were not offered");
		vu->protocol_features = vu->payload.u64;
		return 0;
	case VHOST_USER_GET_QUEUE_NUM:
		return reply_u64(vu, vu->dev->ops->num_queues);
	case VHOST_USER_SET_VRING_ENABLE:
		return set_vring_enable(vu);
	case VHOST_USER_GET_CONFIG:
		return get_config(vu);
	case VHOST_USER_SET_CONFIG:
		return set_config(vu);
	default: /* SET_OWNER and RESET_OWNER: there is one front end, and nothing to do */
		return 0;
	}
}

static bool answers_itself(uint32_t request)
{
	return request == VHOST_USER_GET_FEATURES || request == VHOST_USER_GET_PROTOCOL_FEATURES ||
	       request == VHOST_USER_GET_QUEUE_NUM || request == VHOST_USER_GET_VRING_BASE ||
	       request == VHOST_USER_GET_CONFIG;
}

int message__handle(struct vhost_user *vu)
{
	bool takes_fds =
		vu->header.request == VHOST_USER_SET_MEM_TABLE ||
		(vu->header.request >= VHOST_USER_SET_VRING_KICK && vu->header.request <= VHOST_USER_SET_VRING_ERR);
	if (vu->fd_count && !takes_fds)
		return vhost_user__refuse(vu, "descriptors where none belong");
	int size = payload_size(vu);
	if (size == -2)
		return vhost_user__refuse(vu, "a request that is not served");
	if (size >= 0 && vu->header.size != (uint32_t)size)
		return vhost_user__refuse(vu, "a payload of %u bytes", vu->header.size);
	bool acknowledge = (vu->header.flags & VHOST_USER_NEED_REPLY) &&
			   (vu->protocol_features & (1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK)) &&
			   !answers_itself(vu->header.request);
	int err = dispatch(vu);
	return err || !acknowledge ? err : reply_u64(vu, 0);
}
