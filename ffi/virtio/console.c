/* virtio-console, one port: the guest's output goes to a socket as it comes, its input is read only as it asks. */
#include "virtio/console.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/writer.h"
#include "ring.h"

#define BACKLOG (64U << 10) /* bytes of output kept for a reader that is away */
#define TURN_MAX 64         /* chains of output handled before other sources of the loop have their turn */

enum { INPUT, OUTPUT };

/* struct virtio_console_config, section 5.3.4: none of its fields is valid without its feature bit. */
struct console_config {
	uint16_t cols, rows;
	uint32_t max_ports, emergency_write;
};

struct console {
	struct virtio_device dev;
	int fd;       /* -1 once the other end has gone */
	bool in_loop; /* fd is known to the loop: from the first activation on */
	bool active;
	bool input_done; /* end of file was read */
	struct ring backlog;
	uint64_t next_turn; /* timer; 0: none */
};

static void hang_up(struct console *c)
{
	if (c->fd < 0)
		return;
	if (c->in_loop)
		loop__del(c->dev.loop, c->fd);
	close(c->fd);
	c->fd = -1;
}

/* Listen for what can be acted upon: input when the guest has room for it, room when output waits. */
static void arm(struct console *c)
{
	if (c->fd < 0 || !c->in_loop)
		return;
	bool input = c->active && !c->input_done && virtqueue__pending(&c->dev.queues[INPUT]);
	if (loop__mod(c->dev.loop, c->fd, (input ? LOOP_READ : 0U) | (c->backlog.len ? LOOP_WRITE : 0U)))
		hang_up(c);
}

/* Send as much as the socket takes; 0 when it takes nothing now. */
static size_t send_some(struct console *c, struct iovec *iov, unsigned count)
{
	if (c->fd < 0)
		return 0;
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
	ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		hang_up(c);
	return n > 0 ? (size_t)n : 0;
}

static void flush(struct console *c)
{
	struct iovec iov[2];
	unsigned count = ring__peek(&c->backlog, iov);
	if (count)
		ring__drop(&c->backlog, send_some(c, iov, count));
}

/* Keep the newest bytes of what the socket does not take. */
static void keep(struct console *c, const uint8_t *from, size_t len)
{
	if (len > BACKLOG) {
		from += len - BACKLOG;
		len = BACKLOG;
	}
	size_t room = BACKLOG - c->backlog.len;
	if (len > room)
		ring__drop(&c->backlog, len - room);
	ring__put(&c->backlog, from, len);
}

static void output(struct console *c, const struct virtqueue_chain *chain)
{
	size_t skip = c->backlog.len ? 0 : send_some(c, chain->readable, chain->readable_count);
	for (unsigned i = 0; i < chain->readable_count; i++) {
		size_t len = chain->readable[i].iov_len;
		if (skip >= len) {
			skip -= len;
			continue;
		}
		keep(c, (const uint8_t *)chain->readable[i].iov_base + skip, len - skip);
		skip = 0;
	}
}

static void serve_output(void *arg)
{
	struct console *c = arg;
	struct virtqueue *vq = &c->dev.queues[OUTPUT];
	struct virtqueue_chain chain;
	unsigned served = 0;
	c->next_turn = 0;
	while (served < TURN_MAX && virtqueue__pop(vq, &chain) > 0) {
		output(c, &chain);
		virtqueue__push(vq, chain.head, 0);
		served++;
	}
	virtqueue__notify(vq);
	/* without memory for the timer the guest's next kick goes on */
	if (served == TURN_MAX && loop__timer(c->dev.loop, 0, serve_output, c, &c->next_turn))
		c->next_turn = 0;
	arm(c);
}

/* Read into one buffer of the guest; the loop comes back for more. */
static void input(struct console *c)
{
	struct virtqueue *vq = &c->dev.queues[INPUT];
	struct virtqueue_chain chain;
	if (virtqueue__pop(vq, &chain) <= 0)
		return;
	if (!chain.writable_count) {
		virtqueue__push(vq, chain.head, 0);
	} else {
		ssize_t n = readv(c->fd, chain.writable, (int)chain.writable_count);
		if (n > 0) {
			virtqueue__push(vq, chain.head, (uint32_t)n);
		} else {
			virtqueue__unpop(vq);
			c->input_done = n == 0 || (errno != EAGAIN && errno != EINTR);
		}
	}
	virtqueue__notify(vq);
}

static void on_ready(void *arg, int fd, unsigned ready)
{
	struct console *c = arg;
	(void)fd;
	if (ready & LOOP_WRITE)
		flush(c);
	if (c->fd >= 0 && (ready & LOOP_READ)) {
		if (c->active && !c->input_done && virtqueue__pending(&c->dev.queues[INPUT]))
			input(c);
		else
			hang_up(c); /* reading was not asked for: this is a hang-up */
	}
	arm(c);
}

static void console__read_config(struct virtio_device *dev, size_t offset, void *to, size_t len)
{
	(void)dev;
	struct console_config config = {.max_ports = 1};
	memcpy(to, (const uint8_t *)&config + offset, len);
}

static void console__write_config(struct virtio_device *dev, size_t offset, const void *from, size_t len)
{
	(void)dev, (void)offset, (void)from, (void)len; /* the emergency write was not offered */
}

static int console__activate(struct virtio_device *dev)
{
	struct console *c = (struct console *)dev;
	if (!c->in_loop && c->fd >= 0) {
		int err = loop__add(dev->loop, c->fd, 0, on_ready, c);
		if (err)
			return err;
		c->in_loop = true;
	}
	c->active = true;
	arm(c);
	return 0;
}

static void console__queue_ready(struct virtio_device *dev, unsigned index)
{
	struct console *c = (struct console *)dev;
	if (!c->active)
		return;
	if (index == OUTPUT && !c->next_turn)
		serve_output(c);
	else
		arm(c);
}

/* What the guest has written before is still sent. */
static void console__reset(struct virtio_device *dev)
{
	struct console *c = (struct console *)dev;
	loop__timer_cancel(dev->loop, c->next_turn);
	c->next_turn = 0;
	c->active = false;
	arm(c);
}

static void console__destroy(struct virtio_device *dev)
{
	struct console *c = (struct console *)dev;
	console__reset(dev);
	flush(c);
	hang_up(c);
	ring__close(&c->backlog);
	free(c);
}

/* What the guest has written and no reader has taken. */
struct saved_console {
	struct span backlog;
};

static const struct cbor_field saved_fields[] = {
	{.key = "backlog", .kind = CBOR_BYTES, .required = true, .offset = offsetof(struct saved_console, backlog)},
};
static const struct cbor_table saved_table = CBOR_TABLE("saved-console", saved_fields);

static void console__save(const struct virtio_device *dev, struct writer *out)
{
	const struct console *c = (const struct console *)dev;
	struct iovec iov[2];
	unsigned count = ring__peek(&c->backlog, iov);
	uint8_t *to = writer__open_bytes(out, "backlog", c->backlog.len);
	size_t done = 0;
	for (unsigned i = 0; to && i < count; i++) {
		memcpy(to + done, iov[i].iov_base, iov[i].iov_len);
		done += iov[i].iov_len;
	}
	writer__close_bytes(out, done);
}

static int console__load(struct virtio_device *dev, const void *saved, struct failure *why)
{
	const struct saved_console *from = saved;
	struct console *c = (struct console *)dev;
	if (from->backlog.length > BACKLOG)
		return failure__set(why, EINVAL, NULL, "more of the console was saved than it ever keeps");
	if (from->backlog.length)
		keep(c, from->backlog.at, from->backlog.length);
	arm(c);
	return 0;
}

static const struct virtio_device_ops console_ops = {
	.name = "console",
	.id = VIRTIO_ID_CONSOLE,
	.num_queues = 2,
	.config_size = sizeof(struct console_config),
	.read_config = console__read_config,
	.write_config = console__write_config,
	.activate = console__activate,
	.queue_ready = console__queue_ready,
	.reset = console__reset,
	.destroy = console__destroy,
	.saved = &saved_table,
	.saved_size = sizeof(struct saved_console),
	.save = console__save,
	.load = console__load,
};

int virtio_console__new(int fd, struct virtio_device **out)
{
	struct console *c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	if (ring__open(&c->backlog, BACKLOG)) {
		free(c);
		return -ENOMEM;
	}
	c->dev.ops = &console_ops;
	c->fd = fd;
	*out = &c->dev;
	return 0;
}

static int console__make(const void *config, struct device_maker *maker, struct failure *why)
{
	struct virtio_device *dev;
	if (!*(const bool *)config)
		return 0;
	int err = virtio_console__new(maker->console, &dev);
	if (err)
		return failure__set(why, -err, NULL, "the console device cannot be made");
	maker->console = -1;
	return maker->add(maker, dev, why);
}

const struct device_kind device_console = {
	.id = VIRTIO_ID_CONSOLE,
	.field = {.key = "console", .kind = CBOR_BOOL},
	.size = sizeof(bool),
	.thread = CONFINE_QUIET,
	.make = console__make,
};
