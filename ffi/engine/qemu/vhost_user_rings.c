/* The vhost-user back end's rings and memory: when the device is started, suspended and reset. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/errno_name.h"
#include "engine/qemu/vhost_user_parts.h"
#include "os/bell.h"

void fd__drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Rings */

static void kicked(void *arg, int fd, unsigned ready)
{
	struct ring *ring = arg;
	(void)ready;
	int err = bell__hear(fd);
	if (err == -EAGAIN)
		return;
	if (err) { /* no bell */
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

void ring__stop(struct ring *ring)
{
	ring__halt(ring);
	fd__drop(&ring->kick);
	ring->started = false;
}

/* A front end switches every ring on when it starts the device (QEMU since 7.2), after all were set up: that is the
 * moment at which to start it, so a ring that was taken back is off. */
void ring__take_back(struct ring *ring)
{
	ring__stop(ring);
	ring->on = false;
}

static int ring__run(struct ring *ring)
{
	struct vhost_user *vu = ring->vu;
	struct virtqueue *vq = &vu->dev->queues[ring->index];
	if (!ring->size || !ring->addressed)
		return vhost_user__refuse(vu, "ring %u is started before its size and addresses are set", ring->index);
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
		return vhost_user__refuse(vu, "ring %u is not inside guest memory", ring->index);
	int err = loop__add(vu->dev->loop, ring->kick, LOOP_READ, kicked, ring);
	if (err) {
		virtqueue__disable(vq);
		return vhost_user__refuse(vu, "ring %u: its kick descriptor cannot be polled (%s)", ring->index,
					  errno_name(-err));
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

void rings__reset_device(struct vhost_user *vu)
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
		rings__reset_device(vu);
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
			return vhost_user__refuse(vu, "the device cannot be activated (%s)", errno_name(-err));
	}
	/* a kick from before the ring ran went unheard */
	for (unsigned i = 0; i < count; i++)
		if (vu->rings[i].running)
			vu->dev->ops->queue_ready(vu->dev, i);
	return 0;
}

/* Bring the device in line with what the front end said of its rings. */
int rings__settle(struct vhost_user *vu)
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

/* Memory */

void memory__unmap(struct vhost_user *vu)
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
		return vhost_user__refuse(vu, "memory region %u: its size overflows", i);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || (uint64_t)st.st_size < len)
		return vhost_user__refuse(vu, "memory region %u: its file is shorter than the region", i);
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (at == MAP_FAILED)
		return vhost_user__refuse(vu, "memory region %u cannot be mapped (%s)", i, errno_name(errno));
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
int memory__set(struct vhost_user *vu)
{
	const struct vhost_user_memory *m = &vu->payload.memory;
	if (vu->header.size < offsetof(struct vhost_user_memory, regions) || m->count > VHOST_USER_MAX_REGIONS ||
	    vu->header.size < offsetof(struct vhost_user_memory, regions) + m->count * sizeof(m->regions[0]))
		return vhost_user__refuse(vu, "a table of %u bytes", vu->header.size);
	if (m->count != vu->fd_count)
		return vhost_user__refuse(vu, "%u regions with %u descriptors", m->count, vu->fd_count);
	bool ran[VIRTIO_MAX_QUEUES] = {false};
	for (unsigned i = 0; i < vu->dev->ops->num_queues; i++) {
		ran[i] = vu->rings[i].running;
		ring__halt(&vu->rings[i]);
	}
	memory__unmap(vu);
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
