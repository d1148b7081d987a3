/* vhost-user back end: the messages of one front end, each checked, turned into a virtio device's rings and life. */
#include "engine/vhost_user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/vhost_user_protocol.h"

#define MESSAGES_A_TURN 16 /* then other sources of the loop have theirs */

struct ring {
	struct vhost_user *vu;
	unsigned index;
	unsigned size; /* entries; 0 until told */
	bool addressed;
	uint64_t desc, used, avail; /* in the front end's space */
	uint16_t base;              /* next available index to begin with */
	int kick, call;             /* -1: none */
	bool started;               /* has a kick descriptor */
	bool on;                    /* SET_VRING_ENABLE */
	bool running;               /* the device works on it */
};

/* What a stopped ring was like; started again with the same, the device goes on where it was. */
struct place {
	unsigned size;
	uint64_t desc, used, avail;
	uint16_t base;
	bool used_before;
};

struct vhost_user {
	struct virtio_device *dev;
	struct vhost_user_options options;
	uint64_t features;
	uint64_t protocol_features;
	struct guest_memory mem;
	struct {
		void *at;
		size_t len;
	} maps[VHOST_USER_MAX_REGIONS];
	struct ring rings[VIRTIO_MAX_QUEUES];
	struct place places[VIRTIO_MAX_QUEUES];
	bool active;    /* the device was activated and rings run */
	bool suspended; /* it was activated, and every ring was stopped since */

	/* The message under way. */
	struct vhost_user_header header;
	union vhost_user_payload payload;
	size_t have; /* bytes of header and payload */
	int fds[VHOST_USER_MAX_REGIONS];
	unsigned fd_count;
	struct failure why;
};

__attribute__((format(printf, 2, 3))) static int refuse(struct vhost_user *vu, const char *format, ...)
{
	char what[256];
	va_list args;
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return failure__set(&vu->why, EPROTO, NULL, "vhost-user %s, message %u: %s", vu->dev->ops->name,
			    vu->header.request, what);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void drop_fds(struct vhost_user *vu)
{
	for (unsigned i = 0; i < vu->fd_count; i++)
		close(vu->fds[i]);
	vu->fd_count = 0;
}

/* Rings */

static void kicked(void *arg, int fd, unsigned ready)
{
	struct ring *ring = arg;
	uint64_t count;
	(void)ready;
	ssize_t n = read(fd, &count, sizeof(count));
	if (n < 0 && errno == EAGAIN)
		return;
	if (n != (ssize_t)sizeof(count)) { /* not an eventfd: it would be ready for ever */
		loop__del(ring->vu->dev->loop, fd);
		return;
	}
	ring->vu->dev->ops->queue_ready(ring->vu->dev, ring->index);
}

static void ring__halt(struct ring *ring)
{
	struct vhost_user *vu = ring->vu;
	struct virtqueue *vq = &vu->dev->queues[ring->index];
	if (!ring->running)
		return;
	loop__del(vu->dev->loop, ring->kick);
	ring->base = vq->next_avail;
	vu->places[ring->index] = (struct place){ring->size, ring->desc, ring->used, ring->avail, ring->base, true};
	virtqueue__disable(vq);
	ring->running = false;
}

static void ring__stop(struct ring *ring)
{
	ring__halt(ring);
	close_fd(&ring->kick);
	ring->started = false;
}

/* A front end switches every ring on when it starts the device (QEMU since 7.2), after all were set up: that is the
 * moment at which to start it, so a ring that was taken back is off. */
static void ring__take_back(struct ring *ring)
{
	ring__stop(ring);
	ring->on = false;
}

static int ring__run(struct ring *ring)
{
	struct vhost_user *vu = ring->vu;
	struct virtqueue *vq = &vu->dev->queues[ring->index];
	if (!ring->size || !ring->addressed)
		return refuse(vu, "ring %u is started before its size and addresses are set", ring->index);
	*vq = (struct virtqueue){
		.mem = &vu->mem,
		.size = ring->size,
		.event_idx = vu->features & VIRTIO_F_RING_EVENT_IDX,
		.indirect = vu->features & VIRTIO_F_RING_INDIRECT_DESC,
		.kick_fd = ring->kick,
		.notify = {.fd = ring->call},
		.next_avail = ring->base,
	};
	/* the ring's parts may differ in length: their first byte is looked up here, the whole in virtqueue__enable */
	if (virtqueue__enable(vq, guest_memory__at_user(&vu->mem, ring->desc, 1),
			      guest_memory__at_user(&vu->mem, ring->avail, 1),
			      guest_memory__at_user(&vu->mem, ring->used, 1)))
		return refuse(vu, "ring %u is not inside guest memory", ring->index);
	int err = loop__add(vu->dev->loop, ring->kick, LOOP_READ, kicked, ring);
	if (err) {
		virtqueue__disable(vq);
		return refuse(vu, "ring %u: its kick descriptor cannot be polled (%s)", ring->index,
			      failure__errno_name(-err));
	}
	ring->running = true;
	return 0;
}

static bool same_place(const struct vhost_user *vu, const struct ring *ring)
{
	const struct place *p = &vu->places[ring->index];
	return p->used_before == ring->started &&
	       (!ring->started || (p->size == ring->size && p->desc == ring->desc && p->used == ring->used &&
				   p->avail == ring->avail && p->base == ring->base));
}

static void reset_device(struct vhost_user *vu)
{
	if (vu->active || vu->suspended)
		vu->dev->ops->reset(vu->dev);
	vu->active = vu->suspended = false;
	memset(vu->places, 0, sizeof(vu->places));
}

/* All started rings are on: put the device to work, as new or where it was. */
static int begin(struct vhost_user *vu)
{
	unsigned count = vu->dev->ops->num_queues;
	bool resume = vu->suspended;
	for (unsigned i = 0; i < count; i++)
		resume = resume && same_place(vu, &vu->rings[i]);
	if (!resume)
		reset_device(vu);
	for (unsigned i = 0; i < count; i++) {
		int err = vu->rings[i].started ? ring__run(&vu->rings[i]) : 0;
		if (err)
			return err;
	}
	vu->active = true;
	vu->suspended = false;
	if (!resume) {
		vu->dev->driver_features = vu->features & vu->dev->ops->features;
		int err = vu->dev->ops->activate(vu->dev);
		if (err)
			return refuse(vu, "the device cannot be activated (%s)", failure__errno_name(-err));
	}
	/* a kick from before the ring ran went unheard */
	for (unsigned i = 0; i < count; i++)
		if (vu->rings[i].running)
			vu->dev->ops->queue_ready(vu->dev, i);
	return 0;
}

/* Bring the device in line with what the front end said of its rings. */
static int settle(struct vhost_user *vu)
{
	unsigned started = 0, on = 0, running = 0;
	for (unsigned i = 0; i < vu->dev->ops->num_queues; i++) {
		struct ring *ring = &vu->rings[i];
		if (ring->running && !(ring->started && ring->on))
			ring__halt(ring);
		started += ring->started;
		on += ring->started && ring->on;
		running += ring->running;
	}
	if (vu->active && running == 0) {
		vu->active = false;
		vu->suspended = true;
	}
	if (!vu->active)
		return started && on == started ? begin(vu) : 0;
	for (unsigned i = 0; i < vu->dev->ops->num_queues; i++) {
		struct ring *ring = &vu->rings[i];
		if (ring->running || !ring->started || !ring->on)
			continue;
		int err = ring__run(ring);
		if (err)
			return err;
		vu->dev->ops->queue_ready(vu->dev, i);
	}
	return 0;
}

static struct ring *ring_at(struct vhost_user *vu, uint64_t index)
{
	if (index < vu->dev->ops->num_queues)
		return &vu->rings[index];
	(void)refuse(vu, "ring %llu of %u", (unsigned long long)index, vu->dev->ops->num_queues);
	return NULL;
}

/* Memory */

static void unmap(struct vhost_user *vu)
{
	for (unsigned i = 0; i < vu->mem.count; i++)
		munmap(vu->maps[i].at, vu->maps[i].len);
	vu->mem.count = 0;
}

static int map_region(struct vhost_user *vu, const struct vhost_user_region *region, int fd)
{
	unsigned i = vu->mem.count;
	uint64_t end, len;
	struct stat st;
	if (!region->size || __builtin_add_overflow(region->gpa, region->size, &end) ||
	    __builtin_add_overflow(region->user, region->size, &end) ||
	    __builtin_add_overflow(region->mmap_offset, region->size, &len) || len > SIZE_MAX / 2)
		return refuse(vu, "memory region %u: its size overflows", i);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size < len)
		return refuse(vu, "memory region %u: its file is shorter than the region", i);
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (at == MAP_FAILED)
		return refuse(vu, "memory region %u cannot be mapped (%s)", i, failure__errno_name(errno));
	madvise(at, len, MADV_DONTDUMP);
	vu->maps[i].at = at;
	vu->maps[i].len = len;
	vu->mem.regions[i] = (struct guest_region){
		.gpa = region->gpa,
		.size = region->size,
		.host = (uint8_t *)at + region->mmap_offset,
		.user = region->user,
	};
	vu->mem.count++;
	return 0;
}

/* A new memory table; rings that run are stopped for it and found again in it. */
static int set_mem_table(struct vhost_user *vu)
{
	const struct vhost_user_memory *m = &vu->payload.memory;
	if (vu->header.size < offsetof(struct vhost_user_memory, regions) || m->count > VHOST_USER_MAX_REGIONS ||
	    vu->header.size < offsetof(struct vhost_user_memory, regions) + m->count * sizeof(m->regions[0]))
		return refuse(vu, "a table of %u bytes", vu->header.size);
	if (m->count != vu->fd_count)
		return refuse(vu, "%u regions with %u descriptors", m->count, vu->fd_count);
	bool ran[VIRTIO_MAX_QUEUES];
	for (unsigned i = 0; i < vu->dev->ops->num_queues; i++) {
		ran[i] = vu->rings[i].running;
		ring__halt(&vu->rings[i]);
	}
	unmap(vu);
	for (unsigned i = 0; i < m->count; i++) {
		int err = map_region(vu, &m->regions[i], vu->fds[i]);
		if (err)
			return err;
	}
	for (unsigned i = 0; i < vu->dev->ops->num_queues; i++) {
		int err = ran[i] ? ring__run(&vu->rings[i]) : 0;
		if (err)
			return err;
		if (ran[i])
			vu->dev->ops->queue_ready(vu->dev, i);
	}
	return 0;
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
	return n == (ssize_t)(sizeof(header) + size) ? 0 : refuse(vu, "the front end does not take its answer");
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
		return refuse(vu, "features %#llx that were not offered",
			      (unsigned long long)(vu->payload.u64 & ~offered(vu)));
	if (!(vu->payload.u64 & VHOST_USER_F_PROTOCOL_FEATURES))
		return refuse(vu, "a front end without protocol features (QEMU before 7.2)");
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
		return refuse(vu, "a ring of %u entries", num);
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
		return refuse(vu, "ring %u is moved while it runs", ring->index);
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
		return refuse(vu, "base %u", vu->payload.vring.num);
	ring->base = (uint16_t)vu->payload.vring.num;
	return 0;
}

static int get_vring_base(struct vhost_user *vu)
{
	struct ring *ring = ring_at(vu, vu->payload.vring.index);
	if (!ring)
		return -EPROTO;
	ring__take_back(ring);
	int err = settle(vu);
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
		return refuse(vu, "%u descriptors", vu->fd_count);
	*fd = none ? -1 : vu->fds[0];
	if (*fd >= 0 && fcntl(*fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return refuse(vu, "a descriptor that blocks");
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
		return refuse(vu, "a ring without kicks");
	ring__stop(ring);
	ring->kick = fd;
	ring->started = true;
	return settle(vu);
}

static int set_vring_call(struct vhost_user *vu)
{
	struct ring *ring;
	int fd, err = take_fd(vu, &ring, &fd);
	if (err)
		return err;
	close_fd(&ring->call);
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
		close_fd(&fd);
	return err;
}

static int set_vring_enable(struct vhost_user *vu)
{
	struct ring *ring = ring_at(vu, vu->payload.vring.index);
	if (!ring)
		return -EPROTO;
	if (vu->payload.vring.num > 1)
		return refuse(vu, "state %u", vu->payload.vring.num);
	ring->on = vu->payload.vring.num;
	return settle(vu);
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
		return refuse(vu, "a part of the configuration that cannot be written");
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
		return set_mem_table(vu);
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
			return refuse(vu, "protocol features that were not offered");
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

static int handle(struct vhost_user *vu)
{
	bool takes_fds =
		vu->header.request == VHOST_USER_SET_MEM_TABLE ||
		(vu->header.request >= VHOST_USER_SET_VRING_KICK && vu->header.request <= VHOST_USER_SET_VRING_ERR);
	if (vu->fd_count && !takes_fds)
		return refuse(vu, "descriptors where none belong");
	int size = payload_size(vu);
	if (size == -2)
		return refuse(vu, "a request that is not served");
	if (size >= 0 && vu->header.size != (uint32_t)size)
		return refuse(vu, "a payload of %u bytes", vu->header.size);
	bool acknowledge = (vu->header.flags & VHOST_USER_NEED_REPLY) &&
			   (vu->protocol_features & (1ULL << VHOST_USER_PROTOCOL_F_REPLY_ACK)) &&
			   !answers_itself(vu->header.request);
	int err = dispatch(vu);
	drop_fds(vu);
	return err || !acknowledge ? err : reply_u64(vu, 0);
}

/* The connection */

static void hang_up(struct vhost_user *vu)
{
	if (vu->options.fd < 0)
		return;
	loop__del(vu->dev->loop, vu->options.fd);
	close_fd(&vu->options.fd);
	drop_fds(vu);
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++) {
		ring__stop(&vu->rings[i]);
		close_fd(&vu->rings[i].call);
	}
}

static int collect_fds(struct vhost_user *vu, struct msghdr *msg)
{
	int err = msg->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (vu->fd_count < VHOST_USER_MAX_REGIONS) {
				vu->fds[vu->fd_count++] = fd;
			} else {
				close(fd);
				err = -EPROTO;
			}
		}
	}
	return err ? refuse(vu, "too many descriptors") : 0;
}

/* Read towards the end of the message under way: 1 when it is whole, 0 when there is no more now, -ECONNRESET at the
 * end of the stream, another -errno when it is broken. */
static int receive(struct vhost_user *vu)
{
	for (;;) {
		size_t want = sizeof(vu->header) + (vu->have < sizeof(vu->header) ? 0 : vu->header.size);
		if (vu->have >= sizeof(vu->header)) {
			if ((vu->header.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION)
				return refuse(vu, "flags %#x", vu->header.flags);
			if (vu->header.size > sizeof(vu->payload))
				return refuse(vu, "a payload of %u bytes", vu->header.size);
			if (vu->have == want)
				return 1;
		}
		uint8_t *to = vu->have < sizeof(vu->header) ? (uint8_t *)&vu->header + vu->have
							    : (uint8_t *)&vu->payload + (vu->have - sizeof(vu->header));
		struct iovec iov = {to, want - vu->have};
		_Alignas(struct cmsghdr) char control[CMSG_SPACE(VHOST_USER_MAX_REGIONS * sizeof(int))];
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
		ssize_t n = recvmsg(vu->options.fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -ECONNRESET;
		if (n == 0)
			return -ECONNRESET;
		vu->have += (size_t)n;
		int err = collect_fds(vu, &msg);
		if (err)
			return err;
	}
}

static void readable(void *arg, int fd, unsigned ready)
{
	struct vhost_user *vu = arg;
	(void)fd;
	(void)ready;
	int err = 0;
	for (int i = 0; i < MESSAGES_A_TURN; i++) {
		err = receive(vu);
		if (err == 0)
			return;
		if (err == 1) {
			vu->have = 0;
			err = handle(vu);
		}
		if (err)
			break;
	}
	if (!err)
		return;
	hang_up(vu);
	if (err ==
	    -ECONNRESET) /* the front end is gone: streams end when the device is freed, after they are drained */
		return;
	reset_device(vu);
	vu->options.broken(vu->options.arg, &vu->why);
}

int vhost_user__new(struct virtio_device *dev, const struct vhost_user_options *options, struct vhost_user **out)
{
	struct vhost_user *vu = calloc(1, sizeof(*vu));
	if (!vu) {
		close(options->fd);
		return -ENOMEM;
	}
	vu->dev = dev;
	vu->options = *options;
	for (unsigned i = 0; i < VIRTIO_MAX_QUEUES; i++)
		vu->rings[i] = (struct ring){.vu = vu, .index = i, .kick = -1, .call = -1};
	int err = loop__add(dev->loop, options->fd, LOOP_READ, readable, vu);
	if (err) {
		close(options->fd);
		free(vu);
		return err;
	}
	dev->transport = vu;
	*out = vu;
	return 0;
}

void vhost_user__free(struct vhost_user *vu)
{
	if (!vu)
		return;
	hang_up(vu);
	reset_device(vu);
	unmap(vu);
	vu->dev->transport = NULL;
	free(vu);
}
