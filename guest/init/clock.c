/* The guest's wall clock, held to the host's by questions over vsock: the answer to each lies between two readings of
 * the guest's own. */
#include "init/clock.h"

#include <endian.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

enum {
	QUESTIONS = 8,           /* at most, at a look */
	GOOD_NS = 250000,        /* of doubt; then no more are asked, */
	FIRST_NS = 4000000,      /* nor the first time, while all wait for it */
	START_MS = 1000,         /* for the host to answer, before anything runs */
	PAUSE_FIRST_MS = 250,    /* between two looks, and twice as much each time, */
	PAUSE_LAST_MS = 16000,   /* up to this */
	TICK_US = 10000,         /* the kernel's own */
	DOUBT_MOST_US = 1000000, /* with 16 s the kernel calls the clock out of order */
	READINGS = 4,
	/* what the host says unasked; its answers have the number of the question, a byte */
	STOOD_STILL = 0,
	CLOCK_SET = 256,
};

#define NS 1000000000LL
#define PPM (1 << 16) /* of adjtimex(2)'s frequency; the kernel keeps it within 500 */

static int64_t now(clockid_t id)
{
	struct timespec t;
	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * NS + t.tv_nsec;
}

/* How far the wall clock is ahead of the monotonic one. Of a few readings the one that was disturbed least. */
static int64_t own_lead(void)
{
	int64_t least = INT64_MAX, lead = 0;
	for (int i = 0; i < READINGS; i++) {
		int64_t before = now(CLOCK_MONOTONIC), wall = now(CLOCK_REALTIME), after = now(CLOCK_MONOTONIC);
		if (after - before < least) {
			least = after - before;
			lead = wall - before - least / 2;
		}
	}
	return lead;
}

static void lose(struct clock *clock)
{
	loop__timer_cancel(clock->loop, clock->next);
	clock->next = 0;
	if (clock->fd < 0)
		return;
	loop__del(clock->loop, clock->fd);
	close(clock->fd);
	clock->fd = -1;
}

/* ---- the kernel's side ---- */

/* Hand it over, with what is the same each time: it is in order, and its rate is not the kernel's to guess. */
static void hand_over(struct clock *clock, struct timex timex)
{
	const int64_t doubt_us = lead__doubt(&clock->lead) / 1000 + 1;
	timex.modes |= ADJ_NANO | ADJ_STATUS | ADJ_TIMECONST | ADJ_TICK | ADJ_FREQUENCY | ADJ_MAXERROR | ADJ_ESTERROR;
	timex.status = STA_PLL | STA_FREQHOLD;
	timex.constant = 0; /* a quarter of what is off, each second */
	timex.tick = TICK_US;
	timex.maxerror = timex.esterror = doubt_us < DOUBT_MOST_US ? (long)doubt_us : DOUBT_MOST_US;
	if (adjtimex(&timex) < 0)
		perror("capsa-init: the clock cannot be set");
	clock->left = timex;
}

static void step(struct clock *clock, int64_t by)
{
	struct timex timex = {.modes = ADJ_SETOFFSET, .freq = clock->left.freq};
	timex.time.tv_sec = by / NS;
	timex.time.tv_usec = by % NS; /* ns, as ADJ_NANO says */
	if (timex.time.tv_usec < 0) {
		timex.time.tv_sec--;
		timex.time.tv_usec += NS;
	}
	hand_over(clock, timex);
	clock->right = now(CLOCK_MONOTONIC);
	clock->pause_ms = PAUSE_FIRST_MS;
}

static void slew(struct clock *clock, const struct correction *correction)
{
	struct timex timex = {.modes = correction->by ? ADJ_OFFSET : 0, .offset = (long)correction->by};
	timex.freq = clock->left.freq + (long)(correction->rate * PPM / 1000);
	hand_over(clock, timex);
	if (correction->by)
		clock->right = now(CLOCK_MONOTONIC);
}

/* Setting it makes the kernel say that it is in no order; who disciplines it changes its rate. */
static bool is_as_left(const struct clock *clock, const struct timex *timex)
{
	return timex->status == clock->left.status && timex->freq == clock->left.freq &&
	       timex->tick == clock->left.tick;
}

/* ---- a look at the clock ---- */

static void ask(struct clock *clock)
{
	clock->number = (uint8_t)(clock->number % 255 + 1);
	clock->questions++;
	clock->asked = now(CLOCK_MONOTONIC);
	if (send(clock->fd, &clock->number, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1)
		lose(clock);
}

static void look(struct clock *clock)
{
	loop__timer_cancel(clock->loop, clock->next);
	clock->next = 0;
	clock->lead = LEAD_UNKNOWN;
	clock->questions = 0;
	ask(clock);
}

static void look_again(void *arg)
{
	look(arg);
}

static void conclude(struct clock *clock)
{
	struct timex timex = {0};
	struct correction correction;
	if (clock->stood) {
		clock->stood = false;
		step(clock, lead__middle(&clock->lead) - own_lead());
	} else {
		adjtimex(&timex);
		if (!is_as_left(clock, &timex)) /* it is somebody else's now: no next look */
			return;
		correction = reckon(&clock->lead, own_lead(), timex.offset, now(CLOCK_MONOTONIC) - clock->right);
		if (correction.step)
			step(clock, correction.by);
		else
			slew(clock, &correction);
	}
	if (loop__timer(clock->loop, clock->pause_ms, look_again, clock, &clock->next)) {
		lose(clock);
		return;
	}
	clock->pause_ms = clock->pause_ms * 2 < PAUSE_LAST_MS ? clock->pause_ms * 2 : PAUSE_LAST_MS;
}

static void hear(struct clock *clock, uint64_t what, int64_t host)
{
	int64_t heard = now(CLOCK_MONOTONIC);
	if (what == STOOD_STILL) { /* programs run: what is certain is set at once, and the rest once that is known */
		clock->stood = true;
		look(clock);
		clock->lead.least = host - heard;
		step(clock, lead__certain(&clock->lead, own_lead()));
	} else if (what == CLOCK_SET) {
		look(clock);
	} else if (what == clock->number && clock->questions) {
		lead__add(&clock->lead, host, clock->asked, heard);
		if (lead__doubt(&clock->lead) > clock->good && clock->questions < QUESTIONS) {
			ask(clock);
			if (clock->stood)
				step(clock, lead__certain(&clock->lead, own_lead()));
			return;
		}
		clock->questions = 0;
		clock->good = GOOD_NS;
		conclude(clock);
	}
}

static void ready(void *arg, int fd, unsigned events)
{
	struct clock *clock = arg;
	(void)events;
	if (!clock->connected) {
		int err = 0;
		socklen_t size = sizeof(err);
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) || err) {
			lose(clock);
			return;
		}
		clock->connected = true;
		(void)!loop__mod(clock->loop, fd, LOOP_READ);
		look(clock);
		return;
	}
	ssize_t n = recv(fd, (uint8_t *)clock->answer + clock->received, sizeof(clock->answer) - clock->received,
			 MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		lose(clock);
		return;
	}
	clock->received += (size_t)n;
	if (clock->received < sizeof(clock->answer))
		return;
	clock->received = 0;
	hear(clock, le64toh(clock->answer[0]), (int64_t)le64toh(clock->answer[1]));
}

bool clock__start(struct clock *clock, struct loop *loop, uint32_t port)
{
	struct sockaddr_vm host = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = port};
	uint64_t deadline = monotonic_ns() + START_MS * 1000000ULL;
	*clock = (struct clock){.loop = loop, .fd = -1, .good = FIRST_NS, .stood = true};
	if (port)
		clock->fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (clock->fd < 0)
		return !port;
	if ((connect(clock->fd, (struct sockaddr *)&host, sizeof(host)) && errno != EINPROGRESS) ||
	    loop__add(loop, clock->fd, LOOP_WRITE, ready, clock))
		lose(clock);
	uint64_t time;
	while (clock->fd >= 0 && clock->stood && (time = monotonic_ns()) < deadline) {
		struct pollfd polled = {.fd = clock->fd, .events = clock->connected ? POLLIN : POLLOUT};
		if (poll(&polled, 1, (int)((deadline - time) / 1000000 + 1)) > 0)
			ready(clock, clock->fd, LOOP_READ | LOOP_WRITE);
	}
	return !clock->stood;
}
