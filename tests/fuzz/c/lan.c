/* Fuzzes a private network's switch: frames of a hostile guest, of hostile members, and of who wants to be one. What
 * the guest gets is from the member whose port it came by, what a member gets is from the guest. */
#include "net/lan_switch.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "input.h"
#include "net/lan_hello.h"
#include "net/packet.h"

#define FRAMES 64 /* a bound for inputs that are long */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct lan_member own = {.name = "own", .mac = {2, 0x63, 0x70, 0x6e, 1, 2}},
			       peer = {.name = "peer", .mac = {2, 0x63, 0x70, 0x6e, 1, 3}};

static struct address at(const char *text)
{
	struct address address;
	require(address__parse(text, &address) == 0);
	return address;
}

static bool by_port; /* what is under way came by the peer's port */

static void on_receive(void *arg, const uint8_t *frame, size_t len)
{
	struct packet packet;
	(void)arg;
	require(len >= 14 && len <= PACKET_MAX && memcmp(frame, own.mac, PACKET_MAC) == 0);
	if (!by_port)
		return;
	const char *wrong = packet__parse(frame, len, &packet);
	require(!wrong || packet__is_icmp_answer(&packet));
	require(packet.kind != PACKET_ARP && packet.kind != PACKET_NEIGHBOUR && !packet.fragment);
	require(memcmp(packet.from_mac, peer.mac, PACKET_MAC) == 0);
	struct address from[2] = {at("10.202.1.3"), at("fd63:6170:7361:1::3")};
	require(address__equal(&packet.source, &from[address__is4(&packet.source) ? 0 : 1]));
}

static void on_flush(void *arg)
{
	(void)arg;
}

static struct loop *loop;

static void stop(void *arg)
{
	(void)arg;
	loop__stop(loop);
}

static void stop_next(void *arg)
{
	uint64_t timer;
	(void)arg;
	require(loop__timer(loop, 0, stop, NULL, &timer) == 0);
}

/* Between one timer and the next each descriptor has its turn. A loop runs once. */
static void turn(struct lan_switch *lan)
{
	uint64_t timer;
	require(loop__new(&loop) == 0);
	lan_switch__watch(lan, loop);
	require(loop__timer(loop, 0, stop_next, NULL, &timer) == 0);
	require(loop__run(loop) == 0);
	lan_switch__unwatch(lan);
	loop__free(loop);
}

/* What the peer gets of the guest. */
static void check_sent(int fd)
{
	static uint8_t frame[PACKET_MAX];
	struct packet packet;
	ssize_t n;
	while ((n = recv(fd, frame, sizeof(frame), MSG_DONTWAIT)) > 0) {
		const char *wrong = packet__parse(frame, (size_t)n, &packet);
		require(!wrong || packet__is_icmp_answer(&packet));
		require(memcmp(packet.from_mac, own.mac, PACKET_MAC) == 0);
		require(memcmp(packet.to_mac, peer.mac, PACKET_MAC) == 0);
	}
}

/* The input: records of a byte (whose it is), a length of two bytes, and as many bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct lan_member there = peer;
	struct lan_switch *lan;
	struct lan_switch_options options = {
		.self = own,
		.name_server = {at("10.202.1.1"), at("fd63:6170:7361:1::1")},
		.receive = on_receive,
		.flush = on_flush,
	};
	int known[2], new[2];
	options.self.address[0] = at("10.202.1.2");
	options.self.address[1] = at("fd63:6170:7361:1::2");
	there.address[0] = at("10.202.1.3");
	there.address[1] = at("fd63:6170:7361:1::3");
	require(names__new(&options.names) == 0);
	require(lan_switch__new(&options, &lan) == 0);
	require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, known) == 0);
	require(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, new) == 0);
	require(lan_switch__add(lan, known[0], &there) == 0 && lan_switch__add(lan, new[0], NULL) == 0);
	struct input in = {data, len};
	for (unsigned i = 0; i < FRAMES && in.len >= 3; i++) {
		uint8_t what = next8(&in) % 3;
		size_t n;
		uint8_t *frame = next_frame(&in, &n);
		by_port = what == 1;
		if (what == 0 && !lan_switch__wait(lan))
			lan_switch__from_guest(lan, frame, n);
		else if (what)
			(void)!send(what == 1 ? known[1] : new[1], frame, n, MSG_NOSIGNAL);
		turn(lan);
		check_sent(known[1]);
		free(frame);
	}
	lan_switch__free(lan);
	close(known[1]);
	close(new[1]);
	names__free(options.names);
	return 0;
}
