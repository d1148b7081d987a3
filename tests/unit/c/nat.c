/* The guest's TCP through libslirp to sockets of this machine's loopback: what peers see of a guest's connection's end,
 * and what is left of it. The test plays the guest, a segment at a time. */
#include "net/nat.h"

#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "driver.h"
#include "fake_clock.h"
#include "net_frames.h"

#define HDR 12
#define MTU 9000
#define BUFFERS 32
#define BUFFER (HDR + 14 + MTU)
#define MSS (MTU - 40)
#define GUEST_PORT 40000
#define PUBLISHED 7000
#define MOST 3

static struct driver d;
static struct driver_queue rx, tx;
static struct driver_device dd;
static uint64_t buffers[BUFFERS], out; /* guest addresses; buffers by head */
static struct virtio_device *device;
static struct nat *nat;
static struct nat_counters counters;
static struct nat_publish publish;
static int listener;
static unsigned port; /* of the listener */
static unsigned refused;
static char why[128];

/* The guest's end of the connection at hand. */
static struct {
	unsigned port, peer_port;
	uint32_t next, acknowledged; /* of what it sends, by whom it sends to; of what it expects */
	uint32_t expected;
	unsigned window;
} guest;

static uint8_t frame[14 + MTU];
static struct packet got;
static uint8_t got_bytes[14 + MTU];

static void on_notice(void *arg, const struct gate_notice *notice)
{
	(void)arg;
	refused++;
	snprintf(why, sizeof(why), "%s", notice->why);
}

static void offer(uint64_t gpa)
{
	int head = driver_queue__add(&rx, &(struct driver_buf){gpa, BUFFER}, 0, 1);
	CHECK(head >= 0 && head < BUFFERS);
	buffers[head] = gpa;
}

static void send_frame(size_t len)
{
	memset(driver__at(&d, out), 0, HDR);
	memcpy((uint8_t *)driver__at(&d, out) + HDR, frame, len);
	CHECK(driver_queue__add(&tx, &(struct driver_buf){out, (uint32_t)(HDR + len)}, 1, 0) >= 0);
	driver_device__kick(&dd, 1);
	CHECK(driver_queue__wait(&tx, NULL, 20000) >= 0);
}

/* The next segment for the guest, within so many milliseconds. */
static bool receive(int ms)
{
	for (;;) {
		uint32_t len;
		int head = driver_queue__wait(&rx, &len, ms);
		if (head < 0)
			return false;
		CHECK(len > HDR && len <= BUFFER);
		memcpy(got_bytes, (uint8_t *)driver__at(&d, buffers[head]) + HDR, len - HDR);
		offer(buffers[head]);
		if (packet__parse(got_bytes, len - HDR, &got) || got.kind != PACKET_TCP)
			continue;
		guest.window = (unsigned)(got_bytes[14 + 20 + 14] << 8 | got_bytes[14 + 20 + 15]);
		return true;
	}
}

static void receive_with(unsigned flags)
{
	while (receive(20000))
		if ((got.flags & flags) == flags)
			return;
	CHECK(!"the segment has come");
}

static void put32(uint8_t *to, uint32_t value)
{
	put16(to, value >> 16);
	put16(to + 2, value & 0xffff);
}

static void say(unsigned flags, size_t bytes)
{
	size_t len = 20 + bytes;
	uint8_t *tcp = frame__ip(frame, GUEST4, HOST4, 6, len);
	uint8_t tail[4] = {0, 6, (uint8_t)(len >> 8), (uint8_t)len};
	memset(tcp, 0, 20);
	put16(tcp, guest.port);
	put16(tcp + 2, guest.peer_port);
	put32(tcp + 4, guest.next);
	put32(tcp + 8, guest.expected);
	tcp[12] = 5 << 4;
	tcp[13] = (uint8_t)flags;
	put16(tcp + 14, 65535);
	memset(tcp + 20, 'x', bytes);
	uint16_t sum = checksum__end(checksum__add(checksum__add(checksum__add(0, frame + 26, 8), tail, 4), tcp, len));
	memcpy(tcp + 16, &sum, 2);
	guest.next += (uint32_t)bytes + !!(flags & TH_SYN) + !!(flags & TH_FIN);
	send_frame((size_t)(tcp - frame) + len);
}

static void set_up(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t in_len = sizeof(in);
	const int small = 4096;
	struct failure failure;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small)), 0);
	CHECK_EQ(bind(listener, (struct sockaddr *)&in, in_len), 0);
	CHECK_EQ(listen(listener, 64), 0);
	CHECK_EQ(getsockname(listener, (struct sockaddr *)&in, &in_len), 0);
	port = ntohs(in.sin_port);
	publish = (struct nat_publish){.protocol = POLICY_TCP, .host = at("127.0.0.1"), .guest_port = PUBLISHED};
	struct nat_options options = {
		.mtu = MTU,
		.addresses = {.guest = {at(GUEST4), at(GUEST6)},
			      .host = {at(HOST4), at(HOST6)},
			      .name_server = {at(NAMES4), at(NAMES6)},
			      .network = {{at("10.0.2.0"), 96 + 24}, {at("fd63:6170:7361::"), 64}}},
		.otherwise = true,
		.host_loopback = true,
		.publish = {&publish, 1},
		.max_connections = MOST,
		.notice = on_notice,
	};
	memcpy(options.addresses.mac, guest_mac, 6);
	refused = 0;
	driver__init(&d, 1 << 20);
	CHECK_EQ(nat__new(&options, &device, &failure), 0);
	nat = nat__behind(device);
	CHECK(publish.host_port != 0);
	driver_device__start(&dd, device);
	driver_queue__init(&rx, &d, &device->queues[0], BUFFERS, DRIVER_EVENT_IDX);
	driver_queue__init(&tx, &d, &device->queues[1], 16, DRIVER_EVENT_IDX);
	for (unsigned i = 0; i < BUFFERS; i++)
		offer(driver__alloc(&d, BUFFER));
	out = driver__alloc(&d, BUFFER);
	driver_device__activate(&dd);
	send_frame(frame__arp(frame, GUEST4, HOST4)); /* libslirp knows it from then on */
}

static void tear_down(void)
{
	driver_device__stop(&dd);
	driver_queue__free(&rx);
	driver_queue__free(&tx);
	driver__free(&d);
	close(listener);
}

static void do_count(void *arg)
{
	(void)arg;
	counters = nat__counters(nat);
}

static unsigned connections(void)
{
	CHECK_EQ(loop__call(dd.loop, do_count, NULL), 0);
	return counters.connections;
}

static unsigned descriptors(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");
	CHECK(dir != NULL);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* The guest connects to the listener. Returns what that has accepted. */
static int connect_out(unsigned from)
{
	memset(&guest, 0, sizeof(guest));
	guest.port = from;
	guest.peer_port = port;
	guest.next = from * 100000;
	say(TH_SYN, 0);
	receive_with(TH_SYN | TH_ACK);
	guest.expected = got.sequence + 1;
	say(TH_ACK, 0);
	int accepted = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	CHECK(accepted >= 0);
	return accepted;
}

/* A client connects to the published port, and the guest has its segment. Returns the client's end. */
static int knock(void)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(publish.host_port)};
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(connect(client, (struct sockaddr *)&in, sizeof(in)), 0);
	return client;
}

static void hear_knock(void)
{
	receive_with(TH_SYN);
	CHECK_EQ(got.destination_port, PUBLISHED);
	guest.port = PUBLISHED;
	guest.peer_port = got.source_port;
	guest.expected = got.sequence + 1;
	guest.next = 1000;
}

/* What comes out of a socket: 1 a byte, 0 its end, -errno. */
static int outcome(int fd)
{
	char byte;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	CHECK_EQ(poll(&p, 1, 20000), 1);
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);
	return n < 0 ? -errno : (int)n;
}

/* Its kernel has forgotten the connection, is asked for it after a while, and says so. */
static void forget(void)
{
	fake_clock__pass(CONNECTION_ENDING_MS);
	driver_device__sync(&dd);
	driver_device__sync(&dd);
	do
		receive_with(TH_ACK);
	while (got.sequence != guest.expected - 1);
	guest.next = got.acknowledged;
	say(TH_RST, 0);
}

static void a_reset_is_one_for_the_peer(void)
{
	set_up();
	int peer = connect_out(GUEST_PORT);
	say(TH_ACK, 1);
	CHECK_EQ(outcome(peer), 1);
	say(TH_RST, 0);
	CHECK_EQ(outcome(peer), -ECONNRESET);
	CHECK_EQ(connections(), 0);
	close(peer);
	/* its last word is none */
	peer = connect_out(GUEST_PORT);
	say(TH_ACK | TH_FIN, 0);
	CHECK_EQ(outcome(peer), 0);
	CHECK_EQ(connections(), 1);
	close(peer);
	receive_with(TH_FIN);
	CHECK_EQ(connections(), 0);
	tear_down();
}

static void nobody_listens_behind_a_published_port(void)
{
	set_up();
	int client = knock();
	hear_knock();
	guest.next = 0;
	say(TH_RST | TH_ACK, 0);
	CHECK_EQ(outcome(client), -ECONNRESET);
	CHECK_EQ(connections(), 0);
	CHECK_EQ(refused, 1);
	CHECK(strstr(why, "nothing in the sandbox listens") != NULL);
	close(client);
	tear_down();
}

static void one_too_many_is_reset(void)
{
	int clients[MOST];
	set_up();
	for (unsigned i = 0; i < MOST; i++) {
		clients[i] = knock();
		hear_knock();
		say(TH_SYN | TH_ACK, 0);
	}
	for (unsigned i = 0; i < 3; i++) {
		int client = knock();
		CHECK_EQ(outcome(client), -ECONNRESET);
		close(client);
	}
	CHECK_EQ(connections(), MOST);
	CHECK_EQ(refused, 1);
	CHECK_STR(why, "3 connections are open, which is the limit");
	for (unsigned i = 0; i < MOST; i++)
		close(clients[i]);
	tear_down();
}

/* Of short connections, a tenth to peers that never end theirs. */
static void three_thousand_connections_leave_nothing(void)
{
	set_up();
	unsigned before = descriptors();
	for (unsigned i = 0; i < 3000; i++) {
		int peer = connect_out(GUEST_PORT + i % 3);
		say(TH_ACK | TH_FIN, 0);
		CHECK_EQ(outcome(peer), 0);
		if (i % 10) {
			close(peer);
			receive_with(TH_FIN);
			guest.expected = got.sequence + 1;
			say(TH_ACK, 0);
		} else {
			forget();
			close(peer);
		}
		CHECK_EQ(connections(), 0);
	}
	CHECK_EQ(descriptors(), before);
	CHECK_EQ(refused, 0);
	tear_down();
}

/* The kernel of this machine has what it has taken of libslirp, but libslirp closes with what it has not. */
static void a_slow_peer_gets_all_that_the_guest_has_sent(void)
{
	size_t sent = 0, had = 0;
	static char bytes[1 << 16];
	set_up();
	int peer = connect_out(GUEST_PORT);
	do {
		say(TH_ACK, MSS);
		sent += MSS;
		receive_with(TH_ACK);
	} while (guest.window > 3U * MSS || got.acknowledged != guest.next);
	say(TH_ACK | TH_FIN, 0);
	receive_with(TH_ACK);
	for (unsigned i = 0; i < 3; i++) {
		forget();
		CHECK_EQ(connections(), 1);
	}
	while (had < sent) {
		ssize_t n = recv(peer, bytes, sizeof(bytes), 0);
		CHECK(n > 0);
		had += (size_t)n;
	}
	CHECK_EQ(outcome(peer), 0);
	CHECK_EQ(had, sent);
	forget();
	CHECK_EQ(connections(), 0);
	close(peer);
	tear_down();
}

/* A peer that is gone without a word is found out. */
static void the_kernel_looks_after_the_peer(void)
{
	set_up();
	int peer = connect_out(GUEST_PORT), on = 0;
	struct sockaddr_in in;
	unsigned found = 0;
	for (int fd = 3; fd < 256; fd++) {
		socklen_t in_len = sizeof(in), on_len = sizeof(on);
		if (getpeername(fd, (struct sockaddr *)&in, &in_len) < 0 || in.sin_family != AF_INET ||
		    in.sin_port != htons((uint16_t)port))
			continue;
		CHECK_EQ(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &on_len), 0);
		CHECK_EQ(on, 1);
		found++;
	}
	CHECK_EQ(found, 1);
	close(peer);
	tear_down();
}

int main(void)
{
	CASE(a_reset_is_one_for_the_peer);
	CASE(nobody_listens_behind_a_published_port);
	CASE(one_too_many_is_reset);
	CASE(three_thousand_connections_leave_nothing);
	CASE(a_slow_peer_gets_all_that_the_guest_has_sent);
	CASE(the_kernel_looks_after_the_peer);
	return check__done();
}
