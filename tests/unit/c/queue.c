/* Split virtqueue: chains as a driver makes them, chains as an attacker makes them, and who is notified when. */
#include "virtio/queue.h"

#include <errno.h>

#include "driver.h"

static struct driver d;
static struct virtqueue vq;
static struct driver_queue q;
static struct virtqueue_chain chain;

static void set_up(unsigned size, unsigned options)
{
	driver__init(&d, 1 << 20);
	driver_queue__init(&q, &d, &vq, size, options);
}

static void tear_down(void)
{
	virtqueue__disable(&vq);
	driver_queue__free(&q);
	driver__free(&d);
}

/* One descriptor at `at`, as it stands. */
static void put(uint16_t at, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	q.desc[at] = (struct driver_desc){.addr = addr, .len = len, .flags = flags, .next = next};
}

static void chains_are_split_by_direction(void)
{
	for (unsigned options = 0; options <= DRIVER_INDIRECT; options += DRIVER_INDIRECT) {
		set_up(8, options);
		uint64_t a = driver__alloc(&d, 100), b = driver__alloc(&d, 200), c = driver__alloc(&d, 300);
		struct driver_buf bufs[] = {{a, 100}, {b, 200}, {c, 300}};
		int head = driver_queue__add(&q, bufs, 1, 2);
		CHECK(virtqueue__pending(&vq));
		CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
		CHECK_EQ(chain.head, head);
		CHECK_EQ(chain.readable_count, 1);
		CHECK_EQ(chain.readable_bytes, 100);
		CHECK(chain.readable[0].iov_base == driver__at(&d, a));
		CHECK_EQ(chain.writable_count, 2);
		CHECK_EQ(chain.writable_bytes, 500);
		CHECK(chain.writable[1].iov_base == driver__at(&d, c));
		CHECK_EQ(virtqueue__pop(&vq, &chain), 0);
		CHECK(!virtqueue__pending(&vq));
		virtqueue__push(&vq, (uint16_t)head, 7);
		uint32_t len;
		CHECK_EQ(driver_queue__used(&q, &len), head);
		CHECK_EQ(len, 7);
		tear_down();
	}
}

static void indices_wrap(void)
{
	set_up(4, 0);
	uint64_t buf = driver__alloc(&d, 16);
	for (unsigned i = 0; i < 70000; i++) {
		struct driver_buf bufs[] = {{buf, 16}, {buf, 1 + i % 16}};
		int head = driver_queue__add(&q, bufs, 1, 1);
		CHECK(head >= 0);
		CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
		CHECK_EQ(chain.writable_bytes, 1 + i % 16);
		virtqueue__push(&vq, chain.head, i);
		uint32_t len;
		CHECK_EQ(driver_queue__used(&q, &len), head);
		CHECK_EQ(len, i);
	}
	tear_down();
}

static void what_was_put_back_comes_again(void)
{
	set_up(8, 0);
	struct driver_buf buf = {driver__alloc(&d, 64), 64};
	int first = driver_queue__add(&q, &buf, 1, 0), second = driver_queue__add(&q, &buf, 1, 0);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
	virtqueue__unpop(&vq);
	virtqueue__unpop(&vq);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
	CHECK_EQ(chain.head, first);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
	CHECK_EQ(chain.head, second);
	tear_down();
}

/* The chain at descriptor 0 is refused, given back with length 0, and a good one behind it still arrives. */
static void a_chain_is_found_again_by_its_head(void)
{
	for (unsigned options = 0; options <= DRIVER_INDIRECT; options += DRIVER_INDIRECT) {
		struct virtqueue_chain again;
		set_up(8, options);
		uint64_t a = driver__alloc(&d, 100), b = driver__alloc(&d, 200);
		struct driver_buf bufs[] = {{a, 100}, {b, 200}};
		int head = driver_queue__add(&q, bufs, 1, 1);
		CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
		CHECK(virtqueue__find(&vq, chain.head, &again));
		CHECK_EQ(again.head, head);
		CHECK_EQ(again.readable_bytes, 100);
		CHECK_EQ(again.writable_bytes, 200);
		CHECK(again.writable[0].iov_base == driver__at(&d, b));
		CHECK(!virtqueue__find(&vq, 8, &again));
		q.desc[head].addr = 1; /* the guest has changed it since */
		CHECK(!virtqueue__find(&vq, chain.head, &again));
		q.desc[head].addr = a;
		q.desc[head].flags = 0;
		CHECK(virtqueue__find(&vq, chain.head, &again));
		CHECK_EQ(again.writable_count, 0);
		virtqueue__disable(&vq);
		CHECK(!virtqueue__find(&vq, chain.head, &again));
		tear_down();
	}
}

static void refused(void)
{
	uint64_t before = vq.refused;
	put(7, DRIVER_BASE, 8, 0, 0);
	driver_queue__offer(&q, 0);
	driver_queue__offer(&q, 7);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
	CHECK_EQ(chain.head, 7);
	CHECK_EQ(vq.refused, before + 1);
	virtqueue__push(&vq, 7, 0);
	uint32_t len = 99;
	CHECK_EQ(driver_queue__used(&q, &len), 0);
	CHECK_EQ(len, 0);
	CHECK_EQ(driver_queue__used(&q, &len), 7);
}

static void malformed_chains_are_refused(void)
{
	set_up(8, DRIVER_INDIRECT);
	uint64_t end = DRIVER_BASE + d.size, table_gpa = driver__alloc(&d, 64);
	struct driver_desc *table = driver__at(&d, table_gpa);

	put(0, DRIVER_BASE, 8, DRIVER_NEXT, 0); /* a loop of one */
	refused();
	put(0, DRIVER_BASE, 8, DRIVER_NEXT, 1); /* a loop of two */
	put(1, DRIVER_BASE, 8, DRIVER_NEXT, 0);
	refused();
	put(0, DRIVER_BASE, 8, DRIVER_NEXT, 8); /* past the table */
	refused();
	put(0, DRIVER_BASE, 8, DRIVER_NEXT, 0xffff);
	refused();
	put(0, 0, 8, 0, 0); /* outside memory */
	refused();
	put(0, end - 7, 8, 0, 0); /* over its end */
	refused();
	put(0, UINT64_MAX - 3, 8, 0, 0); /* round the address space */
	refused();
	put(0, DRIVER_BASE, 0, 0, 0); /* empty */
	refused();
	put(0, DRIVER_BASE, UINT32_MAX, 0, 0);
	refused();
	put(0, DRIVER_BASE, 8, DRIVER_WRITE | DRIVER_NEXT, 1); /* writable before readable */
	put(1, DRIVER_BASE, 8, 0, 0);
	refused();
	put(0, table_gpa, 24, DRIVER_INDIRECT_DESC, 0); /* a table and a half */
	refused();
	put(0, table_gpa, 0, DRIVER_INDIRECT_DESC, 0);
	refused();
	put(0, end - 16, 32, DRIVER_INDIRECT_DESC, 0); /* a table over the end of memory */
	refused();
	put(0, DRIVER_BASE, 16 * (VIRTQUEUE_MAX_SIZE + 1), DRIVER_INDIRECT_DESC, 0); /* longer than any queue */
	refused();
	table[0] = (struct driver_desc){.addr = table_gpa, .len = 16, .flags = DRIVER_INDIRECT_DESC};
	put(0, table_gpa, 16, DRIVER_INDIRECT_DESC, 0); /* nested */
	refused();
	table[0] = (struct driver_desc){.addr = DRIVER_BASE, .len = 8};
	put(0, table_gpa, 16, DRIVER_INDIRECT_DESC | DRIVER_NEXT, 1); /* more after a table */
	refused();
	table[0] = (struct driver_desc){.addr = DRIVER_BASE, .len = 8, .flags = DRIVER_NEXT, .next = 1};
	put(0, table_gpa, 16, DRIVER_INDIRECT_DESC, 0); /* past the end of its table */
	refused();
	table[0].next = 0; /* a loop in the table */
	refused();
	tear_down();

	set_up(8, 0);
	table_gpa = driver__alloc(&d, 16);
	table = driver__at(&d, table_gpa);
	table[0] = (struct driver_desc){.addr = DRIVER_BASE, .len = 8};
	put(0, table_gpa, 16, DRIVER_INDIRECT_DESC, 0); /* not negotiated */
	refused();
	tear_down();
}

static void a_table_may_end_a_chain(void)
{
	set_up(8, DRIVER_INDIRECT);
	uint64_t table_gpa = driver__alloc(&d, 32);
	struct driver_desc *table = driver__at(&d, table_gpa);
	table[0] = (struct driver_desc){.addr = DRIVER_BASE, .len = 3, .flags = DRIVER_NEXT, .next = 1};
	table[1] = (struct driver_desc){.addr = DRIVER_BASE, .len = 5, .flags = DRIVER_WRITE};
	put(0, DRIVER_BASE, 8, DRIVER_NEXT, 1);
	put(1, table_gpa, 32, DRIVER_INDIRECT_DESC | DRIVER_WRITE, 0); /* the write flag of a table is ignored */
	driver_queue__offer(&q, 0);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
	CHECK_EQ(chain.readable_bytes, 11);
	CHECK_EQ(chain.writable_bytes, 5);
	tear_down();
}

static void heads_past_the_table_are_refused(void)
{
	set_up(8, 0);
	driver_queue__offer(&q, 8);
	driver_queue__offer(&q, 0xffff);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 0);
	CHECK_EQ(vq.refused, 2);
	tear_down();
}

static void an_index_too_far_ahead_stops_the_queue(void)
{
	set_up(8, 0);
	q.avail[1] = 9;
	CHECK_EQ(virtqueue__pop(&vq, &chain), -EIO);
	q.avail[1] = 0;
	CHECK_EQ(virtqueue__pop(&vq, &chain), -EIO);
	CHECK(!virtqueue__pending(&vq));
	tear_down();
}

static bool flood_over;

/* A driver that offers garbage as fast as it is given back. */
static void *flood(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 8; i++)
		q.avail[2 + i] = 0xffff;
	while (!__atomic_load_n(&flood_over, __ATOMIC_RELAXED)) {
		uint16_t used = __atomic_load_n(&q.used[1], __ATOMIC_RELAXED);
		__atomic_store_n(&q.avail[1], (uint16_t)(used + 8), __ATOMIC_RELAXED);
	}
	return NULL;
}

static void endless_garbage_stops_the_queue(void)
{
	set_up(8, 0);
	pthread_t thread;
	CHECK_EQ(pthread_create(&thread, NULL, flood, NULL), 0);
	int got;
	do
		got = virtqueue__pop(&vq, &chain);
	while (got == 0);
	__atomic_store_n(&flood_over, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	CHECK_EQ(got, -EIO);
	tear_down();
}

static void rings_must_lie_in_memory(void)
{
	set_up(8, DRIVER_EVENT_IDX);
	uint8_t *end = d.ram + d.size;
	CHECK_EQ(virtqueue__enable(&vq, end - 16 * 8, q.avail, q.used), 0);
	CHECK_EQ(virtqueue__enable(&vq, end - 16 * 8 + 16, q.avail, q.used), -EINVAL);
	CHECK_EQ(virtqueue__enable(&vq, q.desc, end - (4 + 2 * 8), q.used), -EINVAL);
	CHECK_EQ(virtqueue__enable(&vq, q.desc, q.avail, end - (4 + 8 * 8)), -EINVAL);
	CHECK_EQ(virtqueue__enable(&vq, (uint8_t *)q.desc + 8, q.avail, q.used), -EINVAL);
	CHECK_EQ(virtqueue__enable(&vq, q.desc, (uint8_t *)q.avail + 1, q.used), -EINVAL);
	CHECK_EQ(virtqueue__enable(&vq, q.desc, q.avail, (uint8_t *)q.used + 2), -EINVAL);
	CHECK_EQ(virtqueue__enable(&vq, NULL, q.avail, q.used), -EINVAL);
	CHECK_EQ(virtqueue__enable(&vq, &vq, q.avail, q.used), -EINVAL);
	static const unsigned sizes[] = {0, 3, 7, 2 * VIRTQUEUE_MAX_SIZE};
	for (unsigned i = 0; i < 4; i++) {
		vq.size = sizes[i];
		CHECK_EQ(virtqueue__enable(&vq, q.desc, q.avail, q.used), -EINVAL);
	}
	tear_down();
}

static void a_disabled_queue_gives_nothing(void)
{
	set_up(8, 0);
	struct driver_buf buf = {DRIVER_BASE, 8};
	driver_queue__add(&q, &buf, 1, 0);
	virtqueue__disable(&vq);
	virtqueue__disable(&vq);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 0);
	CHECK(!virtqueue__pending(&vq));
	virtqueue__push(&vq, 0, 0);
	virtqueue__notify(&vq);
	CHECK_EQ(q.used[1], 0);
	tear_down();
}

/* Used chains without the event index: told unless the driver's flag says no. */
static void flags_suppress_notifications(void)
{
	set_up(8, 0);
	struct driver_buf buf = {driver__alloc(&d, 8), 8};
	driver_queue__add(&q, &buf, 1, 0);
	driver_queue__add(&q, &buf, 1, 0);
	CHECK_EQ(q.used[0], 0);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
	CHECK_EQ(q.used[0], 1); /* no kicks while chains are taken */
	virtqueue__push(&vq, chain.head, 0);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
	virtqueue__push(&vq, chain.head, 0);
	virtqueue__notify(&vq);
	CHECK_EQ(driver_queue__calls(&q), 1);
	virtqueue__notify(&vq); /* nothing new */
	CHECK_EQ(driver_queue__calls(&q), 0);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 0);
	CHECK_EQ(q.used[0], 0);
	q.avail[0] = 1;
	driver_queue__used(&q, NULL);
	driver_queue__add(&q, &buf, 1, 0);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
	virtqueue__push(&vq, chain.head, 0);
	virtqueue__notify(&vq);
	CHECK_EQ(driver_queue__calls(&q), 0);
	tear_down();
}

static void the_event_index_suppresses_notifications(void)
{
	set_up(8, DRIVER_EVENT_IDX);
	struct driver_buf buf = {driver__alloc(&d, 8), 8};
	uint16_t *used_event = &q.avail[2 + 8], *avail_event = &q.used[2 + 4 * 8];
	for (unsigned i = 0; i < 4; i++)
		driver_queue__add(&q, &buf, 1, 0);
	*used_event = 2; /* tell when the third is used */
	for (unsigned i = 0; i < 4; i++) {
		CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
		virtqueue__push(&vq, chain.head, 0);
		virtqueue__notify(&vq);
		/* the first is always told: nothing is known about what came before it */
		CHECK_EQ(driver_queue__calls(&q), i == 0 || i == 2);
	}
	CHECK_EQ(*avail_event, 0);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 0);
	CHECK_EQ(*avail_event, 4); /* kick for the fifth */
	tear_down();
}

static unsigned told;

static void tell(void *arg)
{
	told += *(unsigned *)arg;
}

static void a_function_may_be_told(void)
{
	set_up(8, 0);
	unsigned weight = 3;
	vq.notify = (struct virtqueue_notify){.fd = -1, .fn = tell, .arg = &weight};
	struct driver_buf buf = {driver__alloc(&d, 8), 8};
	driver_queue__add(&q, &buf, 1, 0);
	CHECK_EQ(virtqueue__pop(&vq, &chain), 1);
	virtqueue__push(&vq, chain.head, 0);
	virtqueue__notify(&vq);
	CHECK_EQ(told, 3);
	tear_down();
}

static void bytes_are_copied_across_iovecs(void)
{
	char a[4] = "abcd", b[1] = "e", c[3] = "fgh", out[16] = {0};
	struct iovec iov[] = {{a, 4}, {b, 1}, {c, 3}};
	CHECK_EQ(iov__read(iov, 3, 0, out, 16), 8);
	CHECK_STR(out, "abcdefgh");
	memset(out, 0, sizeof(out));
	CHECK_EQ(iov__read(iov, 3, 3, out, 3), 3);
	CHECK_STR(out, "def");
	CHECK_EQ(iov__read(iov, 3, 8, out, 1), 0);
	CHECK_EQ(iov__write(iov, 3, 4, "XYZW", 4), 4);
	CHECK(b[0] == 'X' && memcmp(c, "YZW", 3) == 0);
	CHECK_EQ(iov__write(iov, 3, 7, "12", 2), 1);
	CHECK_EQ(iov__write(iov, 0, 0, "12", 2), 0);
}

/* Driver and device on two threads: every buffer arrives once and in order, and nobody waits for ever. */
#define RACE_CHAINS 200000
static unsigned race_seen;
static bool race_wrong;

static void *race_device(void *arg)
{
	unsigned expected = 0;
	(void)arg;
	while (expected < RACE_CHAINS) {
		struct virtqueue_chain got;
		while (virtqueue__pop(&vq, &got) == 1) {
			unsigned value;
			memcpy(&value, got.readable[0].iov_base, sizeof(value));
			race_wrong |= value != expected;
			expected++;
			virtqueue__push(&vq, got.head, 0);
			virtqueue__notify(&vq);
		}
		struct pollfd p = {.fd = q.kick_fd, .events = POLLIN};
		uint64_t count;
		if (expected < RACE_CHAINS && (poll(&p, 1, 10000) != 1 || read(q.kick_fd, &count, 8) != 8))
			break;
	}
	race_seen = expected;
	return NULL;
}

static void race(unsigned options)
{
	set_up(16, options);
	uint64_t bufs[16];
	for (unsigned i = 0; i < 16; i++)
		bufs[i] = driver__alloc(&d, 64);
	uint64_t of_head[16] = {0};
	pthread_t thread;
	race_wrong = false;
	CHECK_EQ(pthread_create(&thread, NULL, race_device, NULL), 0);
	unsigned used = 0, next_buf = 16;
	for (unsigned i = 0; i < RACE_CHAINS;) {
		if (next_buf > 0) {
			struct driver_buf buf = {bufs[--next_buf], 4};
			memcpy(driver__at(&d, buf.gpa), &i, sizeof(i));
			uint16_t old = q.avail_idx;
			int head = driver_queue__add(&q, &buf, 1, 0);
			CHECK(head >= 0);
			of_head[head] = buf.gpa;
			i++;
			uint16_t event = __atomic_load_n(&q.used[2 + 4 * 16], __ATOMIC_SEQ_CST);
			bool kick = options & DRIVER_EVENT_IDX
					    ? (uint16_t)(q.avail_idx - event - 1) < (uint16_t)(q.avail_idx - old)
					    : !(__atomic_load_n(&q.used[0], __ATOMIC_SEQ_CST) & 1);
			uint64_t one = 1;
			if (kick)
				CHECK_EQ(write(q.kick_fd, &one, 8), 8);
			continue;
		}
		int head = driver_queue__wait(&q, NULL, 10000);
		CHECK(head >= 0);
		bufs[next_buf++] = of_head[head];
		used++;
	}
	while (used < RACE_CHAINS) {
		CHECK(driver_queue__wait(&q, NULL, 10000) >= 0);
		used++;
	}
	pthread_join(thread, NULL);
	CHECK_EQ(race_seen, RACE_CHAINS);
	CHECK(!race_wrong);
	tear_down();
}

static void two_threads_with_flags(void)
{
	race(0);
}

static void two_threads_with_the_event_index(void)
{
	race(DRIVER_EVENT_IDX);
}

int main(void)
{
	CASE(chains_are_split_by_direction);
	CASE(indices_wrap);
	CASE(what_was_put_back_comes_again);
	CASE(a_chain_is_found_again_by_its_head);
	CASE(malformed_chains_are_refused);
	CASE(a_table_may_end_a_chain);
	CASE(heads_past_the_table_are_refused);
	CASE(an_index_too_far_ahead_stops_the_queue);
	CASE(endless_garbage_stops_the_queue);
	CASE(rings_must_lie_in_memory);
	CASE(a_disabled_queue_gives_nothing);
	CASE(flags_suppress_notifications);
	CASE(the_event_index_suppresses_notifications);
	CASE(a_function_may_be_told);
	CASE(bytes_are_copied_across_iovecs);
	CASE(two_threads_with_flags);
	CASE(two_threads_with_the_event_index);
	return check__done();
}
