/* A relay: what one side cannot take now is kept, and no more is read from the other until it is gone. */
#include "agent/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	READ_SIZE = 65536, /* bytes read at once, and with that the most that is kept for a side */
	ROUNDS = 8,        /* of reading and writing before others have their turn */
};

static void await(struct relay *relay)
{
	for (int i = 0; i < RELAY_SIDES; i++) {
		struct relay_side *side = &relay->sides[i], *other = &relay->sides[!i];
		side->awaited = (buffer__pending(&side->queued) ? LOOP_WRITE : 0U) |
				(side->silent || buffer__pending(&other->queued) ? 0U : LOOP_READ);
		(void)!loop__mod(relay->agent->loop, side->fd, side->awaited);
	}
}

/* Returns 0, or -errno when the side has broken. */
static int flush(struct relay_side *side)
{
	int err = buffer__flush(&side->queued, side->fd);
	if (!buffer__pending(&side->queued))
		buffer__free(&side->queued);
	return err == -EAGAIN ? 0 : err;
}

static int keep(struct relay_side *side, const uint8_t *bytes, size_t length)
{
	uint8_t *room = buffer__reserve(&side->queued, length);
	if (!room)
		return -ENOMEM;
	memcpy(room, bytes, length);
	buffer__commit(&side->queued, length);
	return 0;
}

/* Read once, and pass on what came. Returns the bytes (0: its end), or -errno, -EAGAIN when nothing is there. */
static ssize_t pass_on(struct relay_side *from, struct relay_side *to)
{
	uint8_t bytes[READ_SIZE];
	ssize_t n = read(from->fd, bytes, sizeof(bytes));
	if (n <= 0)
		return n < 0 ? -errno : 0;
	ssize_t written = write(to->fd, bytes, (size_t)n);
	if (written < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		written = 0;
	}
	int err = written < n ? keep(to, bytes + written, (size_t)(n - written)) : 0;
	return err ? err : n;
}

/* Returns 0, or -errno when a side has broken. */
static int move(struct relay_side *from, struct relay_side *to)
{
	for (int round = 0; round < ROUNDS && !from->silent && !buffer__pending(&to->queued); round++) {
		ssize_t n = pass_on(from, to);
		if (n == -EAGAIN || n == -EINTR)
			return 0;
		if (n < 0)
			return (int)n;
		from->silent = n == 0;
	}
	return 0;
}

/* The end of one side is the end of what the other gets. */
static int pass_end(const struct relay_side *from, const struct relay_side *to)
{
	if (!from->silent || buffer__pending(&to->queued))
		return 0;
	return shutdown(to->fd, SHUT_WR) && errno != ENOTCONN ? -errno : 0;
}

/* Whoever is left is not to take what it has for the whole. */
static void break_off(struct relay *relay)
{
	const struct linger at_once = {.l_onoff = 1};
	for (int i = 0; i < RELAY_SIDES; i++)
		setsockopt(relay->sides[i].fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	relay__close(relay);
}

static bool is_over(const struct relay *relay)
{
	for (int i = 0; i < RELAY_SIDES; i++)
		if (!relay->sides[i].silent || buffer__pending(&relay->sides[i].queued))
			return false;
	return true;
}

static void ready(void *arg, int fd, unsigned what)
{
	struct relay *relay = arg;
	int which = fd == relay->sides[RELAY_GUEST].fd ? RELAY_GUEST : RELAY_HOST;
	struct relay_side *side = &relay->sides[which], *other = &relay->sides[!which];
	bool told = side->silent, was_empty = !buffer__pending(&side->queued);
	int err = 0;
	if (!was_empty && (what & LOOP_WRITE)) {
		err = flush(side);
		if (!err && !buffer__pending(&side->queued))
			err = pass_end(other, side);
	}
	if (!err && (side->awaited & LOOP_READ))
		err = move(side, other);
	if (!err && !told && side->silent)
		err = pass_end(side, other);
	if (err)
		break_off(relay);
	else if (is_over(relay))
		relay__close(relay);
	else
		await(relay);
}

int relay__open(struct agent *agent, int host, int guest, struct buffer *received)
{
	struct relay *relay = calloc(1, sizeof(*relay));
	const int yes = 1;
	int err = relay ? loop__add(agent->loop, host, 0, ready, relay) : -ENOMEM;
	if (!err) {
		err = loop__add(agent->loop, guest, 0, ready, relay);
		if (err)
			loop__del(agent->loop, host);
	}
	if (err) {
		free(relay);
		close(host);
		close(guest);
		return err;
	}
	/* what is small is not to wait for more; of a Unix socket there is no such thing */
	setsockopt(guest, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	setsockopt(host, SOL_SOCKET, SO_RCVLOWAT, &yes, sizeof(yes));
	relay->agent = agent;
	relay->sides[RELAY_HOST].fd = host;
	relay->sides[RELAY_GUEST] = (struct relay_side){.fd = guest, .queued = *received};
	*received = (struct buffer){0};
	relay->next = agent->relays;
	if (relay->next)
		relay->next->prev = relay;
	agent->relays = relay;
	agent->relay_count++;
	await(relay);
	return 0;
}

void relay__close(struct relay *relay)
{
	for (int i = 0; i < RELAY_SIDES; i++) {
		loop__del(relay->agent->loop, relay->sides[i].fd);
		close(relay->sides[i].fd);
		buffer__free(&relay->sides[i].queued);
	}
	if (relay->prev)
		relay->prev->next = relay->next;
	else
		relay->agent->relays = relay->next;
	if (relay->next)
		relay->next->prev = relay->prev;
	relay->agent->relay_count--;
	free(relay);
}
