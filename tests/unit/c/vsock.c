/* virtio-vsock: opening, carrying and ending streams, both ways, with a well-behaved guest and with others. */
#include <sys/ioctl.h>

#include "vsock_guest.h"

#define PORT 1024
#define HOST_PORT 777

static uint8_t *pattern(size_t len, unsigned seed)
{
	uint8_t *bytes = malloc(len);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)rand_r(&seed);
	return bytes;
}

static void host_to_guest_and_back(void)
{
	uint32_t hp;
	char got[GUEST_RX_BUF], answer[8];
	struct vsock_hdr hdr;
	guest__set_up(32);
	CHECK_EQ(guest__listen(PORT), 0);
	CHECK_EQ(guest__listen(PORT), -EEXIST);
	int fd = guest__accept(PORT, &hp);
	CHECK_EQ(write(fd, "ping", 4), 4);
	CHECK(guest__receive(&hdr, got, 5000));
	CHECK_EQ(hdr.op, VSOCK_OP_RW);
	CHECK_EQ(hdr.len, 4);
	CHECK(memcmp(got, "ping", 4) == 0);
	guest__send_data(PORT, hp, "pong!", 5);
	CHECK_EQ(host__read(fd, answer, 5), 5);
	CHECK(memcmp(answer, "pong!", 5) == 0);
	close(fd);
	hdr = guest__expect(VSOCK_OP_SHUTDOWN);
	CHECK_EQ(hdr.flags, VSOCK_NEITHER);
	guest__send(PORT, hp, VSOCK_OP_RST, 0);
	guest__expect_silence();
	guest__tear_down();
}

static void guest_to_host_and_back(void)
{
	char got[GUEST_RX_BUF];
	struct vsock_hdr hdr;
	guest__set_up(32);
	int server = host__listen(HOST_PORT);
	int fd = guest__connect(5000, HOST_PORT, server);
	guest__send_data(5000, HOST_PORT, "hello", 5);
	CHECK_EQ(host__read(fd, got, 5), 5);
	CHECK_EQ(write(fd, "you", 3), 3);
	CHECK(guest__receive(&hdr, got, 5000));
	CHECK(hdr.op == VSOCK_OP_RW && hdr.len == 3);
	/* the guest closes: the host sees the end, the guest a reset */
	guest__send(5000, HOST_PORT, VSOCK_OP_SHUTDOWN, VSOCK_NEITHER);
	guest__expect(VSOCK_OP_RST);
	CHECK(host__at_end(fd));
	close(fd);
	host__unlisten(HOST_PORT, server);
	guest__tear_down();
}

static void a_port_without_a_host_socket_is_reset(void)
{
	guest__set_up(8);
	guest__send(5000, HOST_PORT, VSOCK_OP_REQUEST, 0);
	struct vsock_hdr hdr = guest__expect(VSOCK_OP_RST);
	CHECK_EQ(hdr.src_port, HOST_PORT);
	CHECK_EQ(hdr.dst_port, 5000);
	guest__tear_down();
}

static void a_client_of_a_port_without_listener_sees_end_of_file(void)
{
	guest__set_up(8);
	CHECK_EQ(guest__listen(PORT), 0);
	int fd = host__connect(PORT);
	CHECK_EQ(write(fd, "early", 5), 5); /* unread bytes must not turn the end into an error */
	struct vsock_hdr hdr = guest__expect(VSOCK_OP_REQUEST);
	guest__send(PORT, hdr.src_port, VSOCK_OP_RST, 0);
	CHECK(host__at_end(fd));
	close(fd);
	guest__tear_down();
}

static void bytes_sent_before_the_guest_answers_arrive(void)
{
	char got[GUEST_RX_BUF];
	struct vsock_hdr hdr;
	guest__set_up(8);
	CHECK_EQ(guest__listen(PORT), 0);
	int fd = host__connect(PORT);
	CHECK_EQ(write(fd, "early", 5), 5);
	close(fd);
	hdr = guest__expect(VSOCK_OP_REQUEST);
	guest__expect_silence();
	guest__send(PORT, hdr.src_port, VSOCK_OP_RESPONSE, 0);
	CHECK(guest__receive(&hdr, got, 5000));
	CHECK(hdr.op == VSOCK_OP_RW && hdr.len == 5 && memcmp(got, "early", 5) == 0);
	hdr = guest__expect(VSOCK_OP_SHUTDOWN);
	CHECK_EQ(hdr.flags, VSOCK_NEITHER);
	guest__tear_down();
}

static void a_client_that_leaves_before_the_answer_is_forgotten(void)
{
	guest__set_up(8);
	CHECK_EQ(guest__listen(PORT), 0);
	int fd = host__connect(PORT);
	struct vsock_hdr hdr = guest__expect(VSOCK_OP_REQUEST);
	close(fd);
	guest__expect(VSOCK_OP_RST);
	guest__send(PORT, hdr.src_port, VSOCK_OP_RESPONSE, 0);
	guest__expect(VSOCK_OP_RST);
	guest__tear_down();
}

static void each_half_closes_by_itself(void)
{
	uint32_t hp;
	char got[GUEST_RX_BUF];
	struct vsock_hdr hdr;
	guest__set_up(16);
	CHECK_EQ(guest__listen(PORT), 0);
	/* the host ends its half first */
	int fd = guest__accept(PORT, &hp);
	CHECK_EQ(write(fd, "q", 1), 1);
	CHECK_EQ(shutdown(fd, SHUT_WR), 0);
	CHECK(guest__receive(&hdr, got, 5000) && hdr.op == VSOCK_OP_RW);
	hdr = guest__expect(VSOCK_OP_SHUTDOWN);
	CHECK_EQ(hdr.flags, VSOCK_NO_SEND);
	guest__send_data(PORT, hp, "answer", 6);
	CHECK_EQ(host__read(fd, got, 6), 6);
	guest__send(PORT, hp, VSOCK_OP_SHUTDOWN, VSOCK_NO_SEND);
	CHECK(host__at_end(fd));
	close(fd);
	hdr = guest__expect(VSOCK_OP_SHUTDOWN);
	CHECK_EQ(hdr.flags, VSOCK_NEITHER);
	guest__send(PORT, hp, VSOCK_OP_RST, 0);
	/* the guest ends its half first */
	fd = guest__accept(PORT, &hp);
	guest__send(PORT, hp, VSOCK_OP_SHUTDOWN, VSOCK_NO_SEND);
	CHECK(host__at_end(fd));
	CHECK_EQ(write(fd, "late", 4), 4);
	CHECK(guest__receive(&hdr, got, 5000) && hdr.op == VSOCK_OP_RW && hdr.len == 4);
	/* and then the other */
	guest__send(PORT, hp, VSOCK_OP_SHUTDOWN, VSOCK_NO_RECEIVE);
	guest__expect(VSOCK_OP_RST);
	CHECK_EQ(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	close(fd);
	guest__expect_silence();
	guest__tear_down();
}

static void a_guest_that_will_not_receive_stops_the_host_writer(void)
{
	uint32_t hp;
	char got[4];
	guest__set_up(16);
	CHECK_EQ(guest__listen(PORT), 0);
	int fd = guest__accept(PORT, &hp);
	guest__send(PORT, hp, VSOCK_OP_SHUTDOWN, VSOCK_NO_RECEIVE);
	CHECK_EQ(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	CHECK_EQ(errno, EPIPE);
	guest__send_data(PORT, hp, "more", 4);
	CHECK_EQ(host__read(fd, got, 4), 4);
	close(fd);
	guest__tear_down();
}

/* Take packets of data until `len` bytes came, acknowledging them as Linux does; they must equal `want`. */
static void take_all(uint32_t port, uint32_t hp, const uint8_t *want, size_t len)
{
	size_t done = 0;
	uint32_t told = guest_taken;
	while (done < len) {
		uint8_t got[GUEST_RX_BUF];
		struct vsock_hdr hdr;
		CHECK(guest__receive(&hdr, got, 5000));
		CHECK_EQ(hdr.op, VSOCK_OP_RW);
		CHECK(hdr.len <= len - done);
		CHECK(memcmp(got, want + done, hdr.len) == 0);
		done += hdr.len;
		guest_taken += hdr.len;
		if (guest_taken - told > GUEST_WINDOW / 2 || done == len) {
			told = guest_taken;
			guest__send(port, hp, VSOCK_OP_CREDIT_UPDATE, 0);
		}
	}
}

struct writer {
	int fd;
	const uint8_t *bytes;
	size_t len;
	bool failed;
};

static void *write_all(void *arg)
{
	struct writer *w = arg;
	for (size_t done = 0; done < w->len && !w->failed;) {
		ssize_t n = send(w->fd, w->bytes + done, w->len - done, MSG_NOSIGNAL);
		w->failed = n < 0;
		done += n > 0 ? (size_t)n : 0;
	}
	return NULL;
}

static void much_data_to_the_guest(void)
{
	enum { LEN = 8 << 20 };
	uint32_t hp;
	guest__set_up(48);
	CHECK_EQ(guest__listen(PORT), 0);
	int fd = guest__accept(PORT, &hp);
	uint8_t *bytes = pattern(LEN, 1);
	struct writer w = {.fd = fd, .bytes = bytes, .len = LEN};
	pthread_t thread;
	CHECK_EQ(pthread_create(&thread, NULL, write_all, &w), 0);
	take_all(PORT, hp, bytes, LEN);
	pthread_join(thread, NULL);
	CHECK(!w.failed);
	free(bytes);
	close(fd);
	guest__tear_down();
}

struct reader {
	int fd;
	const uint8_t *want;
	size_t len;
	bool equal;
	unsigned pause_us;
};

static void *read_all(void *arg)
{
	struct reader *r = arg;
	uint8_t *got = malloc(r->len);
	for (size_t done = 0; done < r->len;) {
		size_t part = r->len - done < 100000 ? r->len - done : 100000;
		if (host__read(r->fd, got + done, part) != part)
			break;
		done += part;
		usleep(r->pause_us);
		r->equal = done == r->len && memcmp(got, r->want, r->len) == 0;
	}
	free(got);
	return NULL;
}

/* Send as a guest must: never more than the device's window; packets of many sizes. */
static void send_all(uint32_t port, uint32_t hp, const uint8_t *bytes, size_t len)
{
	uint32_t sent = 0, taken = 0, window = VSOCK_WINDOW;
	unsigned seed = 7;
	while (sent < len) {
		uint32_t room = window - (sent - taken);
		struct vsock_hdr hdr;
		while (!room || guest__receive(&hdr, NULL, 0)) {
			if (!room)
				CHECK(guest__receive(&hdr, NULL, 5000));
			CHECK_EQ(hdr.op, VSOCK_OP_CREDIT_UPDATE);
			taken = hdr.fwd_cnt;
			window = hdr.buf_alloc;
			room = window - (sent - taken);
		}
		uint32_t part = 1 + (uint32_t)rand_r(&seed) % GUEST_TX_BUF;
		if (part > room)
			part = room;
		if (part > len - sent)
			part = (uint32_t)(len - sent);
		guest__send_data(port, hp, bytes + sent, part);
		sent += part;
	}
}

static void much_data_to_the_host(unsigned pause_us)
{
	enum { LEN = 8 << 20 };
	uint32_t hp;
	guest__set_up(32);
	CHECK_EQ(guest__listen(PORT), 0);
	int fd = guest__accept(PORT, &hp);
	uint8_t *bytes = pattern(LEN, 2);
	struct reader r = {.fd = fd, .want = bytes, .len = LEN, .pause_us = pause_us};
	pthread_t thread;
	CHECK_EQ(pthread_create(&thread, NULL, read_all, &r), 0);
	send_all(PORT, hp, bytes, LEN);
	pthread_join(thread, NULL);
	CHECK(r.equal);
	free(bytes);
	close(fd);
	guest__tear_down();
}

static void much_data_to_a_fast_host(void)
{
	much_data_to_the_host(0);
}

static void much_data_to_a_slow_host(void)
{
	much_data_to_the_host(2000);
}

static void the_guests_window_is_honoured(void)
{
	enum { LEN = 400 << 10 };
	uint32_t hp;
	size_t got = 0;
	struct vsock_hdr hdr;
	guest__set_up(48);
	CHECK_EQ(guest__listen(PORT), 0);
	int fd = guest__accept(PORT, &hp);
	uint8_t *bytes = pattern(LEN, 3);
	struct writer w = {.fd = fd, .bytes = bytes, .len = LEN};
	pthread_t thread;
	CHECK_EQ(pthread_create(&thread, NULL, write_all, &w), 0);
	while (guest__receive(&hdr, NULL, 100)) {
		CHECK_EQ(hdr.op, VSOCK_OP_RW);
		got += hdr.len;
	}
	CHECK_EQ(got, GUEST_WINDOW);
	/* a fwd_cnt nobody could have reached gives no room either */
	guest_taken = 2 * GUEST_WINDOW;
	guest__send(PORT, hp, VSOCK_OP_CREDIT_UPDATE, 0);
	guest__expect_silence();
	guest_taken = GUEST_WINDOW;
	guest__send(PORT, hp, VSOCK_OP_CREDIT_UPDATE, 0);
	while (got < LEN && guest__receive(&hdr, NULL, 1000))
		got += hdr.len;
	CHECK_EQ(got, LEN);
	pthread_join(thread, NULL);
	free(bytes);
	close(fd);
	guest__tear_down();
}

static void more_than_our_window_is_a_reset(void)
{
	uint32_t hp;
	struct vsock_hdr hdr;
	guest__set_up(16);
	CHECK_EQ(guest__listen(PORT), 0);
	int fd = guest__accept(PORT, &hp); /* which does not read */
	uint8_t *bytes = pattern(GUEST_TX_BUF, 4);
	unsigned sent = 0;
	for (; sent < 64; sent++) {
		guest__send_data(PORT, hp, bytes, GUEST_TX_BUF);
		if (guest__receive(&hdr, NULL, 0) && hdr.op == VSOCK_OP_RST)
			break;
	}
	/* what the socket took, and one window: no more is ever held */
	CHECK(sent >= 4 && sent * GUEST_TX_BUF <= VSOCK_WINDOW + (512U << 10));
	free(bytes);
	close(fd);
	guest__tear_down();
}

static void a_slow_reader_blocks_nobody(void)
{
	uint32_t slow_hp, fast_hp;
	char got[8];
	guest__set_up(16);
	CHECK_EQ(guest__listen(PORT), 0);
	int slow = guest__accept(PORT, &slow_hp), fast = guest__accept(PORT, &fast_hp);
	uint8_t *bytes = pattern(GUEST_TX_BUF, 5);
	for (unsigned i = 0; i < VSOCK_WINDOW / GUEST_TX_BUF; i++)
		guest__send_data(PORT, slow_hp, bytes, GUEST_TX_BUF);
	guest__send_data(PORT, fast_hp, "quick", 5);
	CHECK_EQ(host__read(fast, got, 5), 5);
	/* and the other way round: one stream is out of credit, the other is not */
	struct vsock_hdr hdr;
	for (uint32_t total = 0; total < GUEST_WINDOW;) {
		if (total % GUEST_TX_BUF == 0)
			CHECK_EQ(write(slow, bytes, GUEST_TX_BUF), GUEST_TX_BUF);
		CHECK(guest__receive(&hdr, NULL, 1000));
		total += hdr.op == VSOCK_OP_RW ? hdr.len : 0;
	}
	CHECK_EQ(write(slow, "stuck", 5), 5);
	guest__expect_silence();
	CHECK_EQ(write(fast, "go", 2), 2);
	hdr = guest__expect(VSOCK_OP_RW);
	CHECK_EQ(hdr.src_port, fast_hp);
	free(bytes);
	close(slow);
	close(fast);
	guest__tear_down();
}

static void a_guest_without_buffers_gets_everything_later(void)
{
	uint32_t hp[3];
	int fd[3];
	guest__set_up(4);
	CHECK_EQ(guest__listen(PORT), 0);
	for (unsigned i = 0; i < 3; i++)
		fd[i] = guest__accept(PORT, &hp[i]);
	guest_offers = false;
	uint8_t *bytes = pattern(64 << 10, 6);
	for (unsigned i = 0; i < 3; i++)
		CHECK_EQ(write(fd[i], bytes, 64 << 10), 64 << 10);
	struct vsock_hdr hdr;
	size_t got[3] = {0};
	unsigned packets = 0;
	while (guest__receive(&hdr, NULL, 100)) {
		for (unsigned i = 0; i < 3; i++)
			got[i] += hdr.src_port == hp[i] ? hdr.len : 0;
		packets++;
	}
	CHECK_EQ(packets, 4);
	guest_offers = true;
	for (unsigned i = 0; i < 4; i++)
		guest__offer();
	driver_device__kick(&guest_dd, VSOCK_RX);
	while (guest__receive(&hdr, NULL, 300))
		for (unsigned i = 0; i < 3; i++)
			got[i] += hdr.src_port == hp[i] ? hdr.len : 0;
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(got[i], 64 << 10);
		close(fd[i]);
	}
	free(bytes);
	guest__tear_down();
}

static void what_the_guest_sent_before_its_end_arrives(void)
{
	enum { LEN = VSOCK_WINDOW };
	/* ends: a close (flags, answered by a reset once all is delivered), a reset */
	for (unsigned end = 0; end < 2; end++) {
		uint32_t hp;
		guest__set_up(16);
		CHECK_EQ(guest__listen(PORT), 0);
		int fd = guest__accept(PORT, &hp);
		uint8_t *bytes = pattern(LEN, 8), *got = malloc(LEN);
		for (unsigned i = 0; i < LEN / GUEST_TX_BUF; i++)
			guest__send_data(PORT, hp, bytes + (size_t)i * GUEST_TX_BUF, GUEST_TX_BUF);
		if (end == 0)
			guest__send(PORT, hp, VSOCK_OP_SHUTDOWN, VSOCK_NEITHER);
		else
			guest__send(PORT, hp, VSOCK_OP_RST, 0);
		CHECK_EQ(host__read(fd, got, LEN), LEN);
		CHECK(memcmp(got, bytes, LEN) == 0);
		CHECK(host__at_end(fd));
		struct vsock_hdr hdr = {0};
		while (guest__receive(&hdr, NULL, 50) && hdr.op == VSOCK_OP_CREDIT_UPDATE)
			continue;
		CHECK_EQ(hdr.op == VSOCK_OP_RST, end == 0);
		free(bytes);
		free(got);
		close(fd);
		guest__tear_down();
	}
}

static void a_host_that_left_is_told_to_the_guest(void)
{
	uint32_t hp;
	guest__set_up(16);
	CHECK_EQ(guest__listen(PORT), 0);
	int fd = guest__accept(PORT, &hp);
	uint8_t *bytes = pattern(GUEST_TX_BUF, 9);
	for (unsigned i = 0; i < VSOCK_WINDOW / GUEST_TX_BUF; i++)
		guest__send_data(PORT, hp, bytes, GUEST_TX_BUF);
	close(fd);
	struct vsock_hdr hdr;
	unsigned flags = 0;
	while (flags != VSOCK_NEITHER && guest__receive(&hdr, NULL, 2000))
		flags |= hdr.op == VSOCK_OP_SHUTDOWN ? hdr.flags : 0;
	CHECK_EQ(flags, VSOCK_NEITHER);
	/* what it still sends is swallowed, its window with it */
	for (unsigned i = 0; i < 8; i++)
		guest__send_data(PORT, hp, bytes, GUEST_TX_BUF);
	guest__send(PORT, hp, VSOCK_OP_SHUTDOWN, VSOCK_NEITHER);
	do
		CHECK(guest__receive(&hdr, NULL, 2000));
	while (hdr.op == VSOCK_OP_CREDIT_UPDATE);
	CHECK_EQ(hdr.op, VSOCK_OP_RST);
	free(bytes);
	guest__tear_down();
}

static void strange_packets_are_refused(void)
{
	uint32_t hp;
	struct vsock_hdr hdr;
	guest__set_up(16);
	CHECK_EQ(guest__listen(PORT), 0);
	/* for streams that are none */
	static const uint16_t ops[] = {0,           VSOCK_OP_RESPONSE,      VSOCK_OP_SHUTDOWN,
				       VSOCK_OP_RW, VSOCK_OP_CREDIT_UPDATE, 99};
	for (unsigned i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		guest__send(PORT, 12345, ops[i], 0);
		guest__expect(VSOCK_OP_RST);
	}
	guest__send(PORT, 12345, VSOCK_OP_RST, 0);
	/* from or for somebody else, of another type, or cut off */
	hdr = guest__hdr(PORT, 12345, VSOCK_OP_RW);
	hdr.src_cid = 4;
	guest__send_raw(&hdr, NULL, 0);
	hdr = guest__hdr(PORT, 12345, VSOCK_OP_RW);
	hdr.dst_cid = 1;
	guest__send_raw(&hdr, NULL, 0);
	hdr = guest__hdr(PORT, 12345, VSOCK_OP_RW);
	hdr.len = 1;
	guest__send_raw(&hdr, NULL, 0);
	struct driver_buf shorter = {guest_tx_gpa, 43};
	CHECK(driver_queue__add(&guest_tx, &shorter, 1, 0) >= 0);
	driver_device__kick(&guest_dd, VSOCK_TX);
	CHECK(driver_queue__wait(&guest_tx, NULL, 5000) >= 0);
	guest__expect_silence();
	hdr = guest__hdr(PORT, 12345, VSOCK_OP_REQUEST);
	hdr.type = 2;
	guest__send_raw(&hdr, NULL, 0);
	hdr = guest__expect(VSOCK_OP_RST);
	CHECK_EQ(hdr.type, 2);
	/* for a stream that is one */
	static const uint16_t wrong[] = {0, VSOCK_OP_REQUEST, VSOCK_OP_RESPONSE, 99};
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		int fd = guest__accept(PORT, &hp);
		guest__send(PORT, hp, wrong[i], 0);
		guest__expect(VSOCK_OP_RST);
		CHECK(host__at_end(fd));
		close(fd);
	}
	/* data before the answer */
	int fd = host__connect(PORT);
	hdr = guest__expect(VSOCK_OP_REQUEST);
	guest__send_data(PORT, hdr.src_port, "x", 1);
	guest__expect(VSOCK_OP_RST);
	CHECK(host__at_end(fd));
	close(fd);
	guest__tear_down();
}

static void buffers_too_small_are_given_back(void)
{
	guest__set_up(0);
	struct driver_buf small = {driver__alloc(&guest_mem, 43), 43}, readable = {driver__alloc(&guest_mem, 64), 64};
	CHECK(driver_queue__add(&guest_rx, &small, 0, 1) >= 0);
	CHECK(driver_queue__add(&guest_rx, &readable, 1, 0) >= 0);
	guest__send(1, 2, VSOCK_OP_RW, 0);
	uint32_t len = 1;
	for (unsigned i = 0; i < 2; i++) {
		CHECK(driver_queue__wait(&guest_rx, &len, 5000) >= 0);
		CHECK_EQ(len, 0);
	}
	guest__offer();
	driver_device__kick(&guest_dd, VSOCK_RX);
	guest__expect(VSOCK_OP_RST);
	guest__tear_down();
}

/* Header and payload in odd pieces: 40 bytes, 10 bytes, the rest. */
static void buffers_in_pieces_are_filled(void)
{
	uint32_t hp, len;
	guest__set_up(8);
	CHECK_EQ(guest__listen(PORT), 0);
	int fd = guest__accept(PORT, &hp);
	guest_offers = false;
	while (guest_rx.free_count < GUEST_RX_SIZE) { /* until none is left */
		CHECK_EQ(write(fd, "x", 1), 1);
		guest__expect(VSOCK_OP_RW);
	}
	struct driver_buf bufs[] = {{driver__alloc(&guest_mem, 40), 40},
				    {driver__alloc(&guest_mem, 10), 10},
				    {driver__alloc(&guest_mem, 100), 100}};
	CHECK(driver_queue__add(&guest_rx, bufs, 0, 3) >= 0);
	CHECK_EQ(write(fd, "0123456789", 10), 10);
	driver_device__kick(&guest_dd, VSOCK_RX);
	CHECK(driver_queue__wait(&guest_rx, &len, 5000) >= 0);
	CHECK_EQ(len, 54);
	CHECK(memcmp((uint8_t *)driver__at(&guest_mem, bufs[1].gpa) + 4, "012345", 6) == 0);
	CHECK(memcmp(driver__at(&guest_mem, bufs[2].gpa), "6789", 4) == 0);
	close(fd);
	guest__tear_down();
}

static void many_streams(void)
{
	enum { STREAMS = 300 };
	static int fd[STREAMS];
	static uint32_t hp[STREAMS];
	guest__set_up(32);
	CHECK_EQ(guest__listen(PORT), 0);
	for (unsigned i = 0; i < STREAMS; i++) {
		fd[i] = guest__accept(PORT, &hp[i]);
		CHECK(i == 0 || hp[i] != hp[i - 1]);
	}
	for (unsigned i = 0; i < STREAMS; i++) {
		unsigned got = 0;
		guest__send_data(PORT, hp[i], &i, sizeof(i));
		CHECK_EQ(host__read(fd[i], &got, sizeof(got)), sizeof(got));
		CHECK_EQ(got, i);
		CHECK_EQ(write(fd[i], &i, sizeof(i)), sizeof(i));
		struct vsock_hdr hdr = guest__expect(VSOCK_OP_RW);
		CHECK_EQ(hdr.src_port, hp[i]);
	}
	for (unsigned i = 0; i < STREAMS; i++)
		close(fd[i]);
	guest__tear_down();
}

/* The guest opens streams until it is refused; the host's descriptors end first or the table does. */
static void a_guest_cannot_open_streams_without_end(void)
{
	unsigned opened = 0;
	guest__set_up(32);
	int server = host__listen(HOST_PORT);
	int fds[200];
	for (uint32_t port = 1; port <= 200; port++) { /* the listen queue holds 128 that nobody accepts */
		guest__send(port, HOST_PORT, VSOCK_OP_REQUEST, 0);
		struct vsock_hdr hdr;
		CHECK(guest__receive(&hdr, NULL, 5000));
		if (hdr.op == VSOCK_OP_RST)
			break;
		CHECK_EQ(hdr.op, VSOCK_OP_RESPONSE);
		opened++;
	}
	CHECK(opened >= 128 && opened < 200);
	for (unsigned i = 0; i < opened; i++) {
		fds[i] = accept4(server, NULL, NULL, SOCK_CLOEXEC);
		close(fds[i]);
	}
	host__unlisten(HOST_PORT, server);
	guest__tear_down();
}

static void a_reset_of_the_device_ends_all_streams(void)
{
	uint32_t hp;
	char got[8];
	guest__set_up(16);
	CHECK_EQ(guest__listen(PORT), 0);
	int a = guest__accept(PORT, &hp), b = host__connect(PORT);
	guest__expect(VSOCK_OP_REQUEST);
	driver_device__reset(&guest_dd);
	CHECK(host__at_end(a));
	CHECK(host__at_end(b));
	close(a);
	close(b);
	/* a client that comes while there is no driver is served once there is one */
	a = host__connect(PORT);
	guest__halt();
	guest__boot(16);
	struct vsock_hdr hdr = guest__expect(VSOCK_OP_REQUEST);
	guest__send(PORT, hdr.src_port, VSOCK_OP_RESPONSE, 0);
	guest__send_data(PORT, hdr.src_port, "back", 4);
	CHECK_EQ(host__read(a, got, 4), 4);
	close(a);
	guest__tear_down();
}

static void the_configuration_is_the_cid(void)
{
	uint64_t cid = 0;
	guest__set_up(1);
	guest_dd.dev->ops->read_config(guest_dd.dev, 0, &cid, 8);
	CHECK_EQ(cid, GUEST_CID);
	uint8_t byte = 9;
	guest_dd.dev->ops->read_config(guest_dd.dev, 1, &byte, 1);
	CHECK_EQ(byte, 0);
	guest__tear_down();
	struct virtio_device *dev;
	CHECK_EQ(virtio_vsock__new(&(struct vsock_options){.guest_cid = 2}, &dev), -EINVAL);
}

int main(void)
{
	CASE(the_configuration_is_the_cid);
	CASE(host_to_guest_and_back);
	CASE(guest_to_host_and_back);
	CASE(a_port_without_a_host_socket_is_reset);
	CASE(a_client_of_a_port_without_listener_sees_end_of_file);
	CASE(bytes_sent_before_the_guest_answers_arrive);
	CASE(a_client_that_leaves_before_the_answer_is_forgotten);
	CASE(each_half_closes_by_itself);
	CASE(a_guest_that_will_not_receive_stops_the_host_writer);
	CASE(much_data_to_the_guest);
	CASE(much_data_to_a_fast_host);
	CASE(much_data_to_a_slow_host);
	CASE(the_guests_window_is_honoured);
	CASE(more_than_our_window_is_a_reset);
	CASE(a_slow_reader_blocks_nobody);
	CASE(a_guest_without_buffers_gets_everything_later);
	CASE(what_the_guest_sent_before_its_end_arrives);
	CASE(a_host_that_left_is_told_to_the_guest);
	CASE(strange_packets_are_refused);
	CASE(buffers_too_small_are_given_back);
	CASE(buffers_in_pieces_are_filled);
	CASE(many_streams);
	CASE(a_guest_cannot_open_streams_without_end);
	CASE(a_reset_of_the_device_ends_all_streams);
	return check__done();
}
