/* A private network as one member sees it: who may say what to whom, who comes and goes, and what is asked of the
 * cable.
 */
#include "net/lan_switch.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "net/dns.h"
#include "net/lan_hello.h"
#include "net_frames.h"

#define SYN 2
#define OWN4 "10.202.1.2"
#define OWN6 "fd63:6170:7361:1::2"
#define PEER4 "10.202.1.3"
#define PEER6 "fd63:6170:7361:1::3"
#define LATE4 "10.202.1.4"
#define LATE6 "fd63:6170:7361:1::4"
#define SERVER4 "10.202.1.1"
#define SERVER6 "fd63:6170:7361:1::1"

static const uint8_t own_mac[6] = {2, 0x63, 0x70, 0x6e, 1, 2}, peer_mac[6] = {2, 0x63, 0x70, 0x6e, 1, 3},
		     late_mac[6] = {2, 0x63, 0x70, 0x6e, 1, 4};
static const uint8_t token[LAN_TOKEN] = "0123456789abcde";

static struct {
	struct names *names;
	struct lan_switch *lan;
	int peer; /* the far end of the port of the member that is there from the start */
	unsigned received, flushed;
	uint8_t last[PACKET_MAX];
	size_t last_len;
} world;

static uint8_t frame[PACKET_MAX];

static void on_receive(void *arg, const uint8_t *bytes, size_t len)
{
	(void)arg;
	CHECK(len <= sizeof(world.last));
	memcpy(world.last, bytes, len);
	world.last_len = len;
	world.received++;
}

static void on_flush(void *arg)
{
	(void)arg;
	world.flushed++;
}

static struct lan_member member(const char *name, const uint8_t mac[6], const char *ipv4, const char *ipv6)
{
	struct lan_member one = {.address = {at(ipv4), at(ipv6)}};
	snprintf(one.name, sizeof(one.name), "%s", name);
	memcpy(one.mac, mac, sizeof(one.mac));
	return one;
}

/* A port; the far end is returned. */
static int add(const struct lan_member *one)
{
	int pair[2];
	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	CHECK_EQ(lan_switch__add(world.lan, pair[0], one), 0);
	return pair[1];
}

static void set_up(void)
{
	const struct lan_member peer = member("peer", peer_mac, PEER4, PEER6);
	struct lan_switch_options options = {
		.self = member("own", own_mac, OWN4, OWN6),
		.name_server = {at(SERVER4), at(SERVER6)},
		.receive = on_receive,
		.flush = on_flush,
	};
	memset(&world, 0, sizeof(world));
	memcpy(options.token, token, sizeof(options.token));
	CHECK_EQ(names__new(&world.names), 0);
	options.names = world.names;
	CHECK_EQ(lan_switch__new(&options, &world.lan), 0);
	world.peer = add(&peer);
}

static void tear_down(void)
{
	lan_switch__free(world.lan);
	close(world.peer);
	names__free(world.names);
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
	CHECK_EQ(loop__timer(loop, 0, stop, NULL, &timer), 0);
}

/* All that has come is taken: between one timer and the next, each descriptor has its turn. A loop runs once. */
static void turn(void)
{
	uint64_t timer;
	CHECK_EQ(loop__new(&loop), 0);
	lan_switch__watch(world.lan, loop);
	CHECK_EQ(loop__timer(loop, 0, stop_next, NULL, &timer), 0);
	CHECK_EQ(loop__run(loop), 0);
	lan_switch__unwatch(world.lan);
	loop__free(loop);
}

static void between(const uint8_t from[6], const uint8_t to[6])
{
	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
}

/* Whether the guest gets what is in `frame` when it comes by `port`. */
static bool comes(int port, size_t len)
{
	unsigned before = world.received;
	CHECK_EQ(send(port, frame, len, 0), (ssize_t)len);
	turn();
	return world.received > before;
}

/* Whether the peer gets what is in `frame` when the guest sends it. */
static bool goes(size_t len)
{
	static uint8_t got[PACKET_MAX];
	CHECK_EQ(lan_switch__wait(world.lan), 0);
	lan_switch__from_guest(world.lan, frame, len);
	ssize_t n = recv(world.peer, got, sizeof(got), 0);
	return n == (ssize_t)len && memcmp(got, frame, len) == 0;
}

static void members_speak_tcp_udp_and_icmp(void)
{
	static const struct {
		const char *own, *peer;
		uint8_t echo, reply, unreachable;
	} families[] = {{OWN4, PEER4, 8, 0, 3}, {OWN6, PEER6, 128, 129, 1}};
	set_up();
	for (unsigned i = 0; i < 2; i++) {
		const char *own = families[i].own, *peer = families[i].peer;
		size_t len = frame__tcp(frame, own, peer, 80, SYN);
		between(own_mac, peer_mac);
		CHECK(goes(len));
		len = frame__udp(frame, own, 1, peer, 53, "x", 1);
		between(own_mac, peer_mac);
		CHECK(goes(len));
		const uint8_t types[] = {families[i].echo, families[i].reply, families[i].unreachable};
		for (unsigned j = 0; j < 3; j++) {
			len = frame__icmp(frame, own, peer, types[j]);
			between(own_mac, peer_mac);
			CHECK(goes(len));
			len = frame__icmp(frame, peer, own, types[j]);
			between(peer_mac, own_mac);
			CHECK(comes(world.peer, len));
		}
		len = frame__tcp(frame, peer, own, 80, SYN);
		between(peer_mac, own_mac);
		CHECK(comes(world.peer, len));
		CHECK_EQ(world.last_len, len);
	}
	CHECK(world.flushed > 0);
	tear_down();
}

static void a_guest_cannot_forge_its_sender(void)
{
	set_up();
	size_t len = frame__tcp(frame, LATE4, PEER4, 80, SYN);
	between(own_mac, peer_mac);
	CHECK(!goes(len));
	len = frame__tcp(frame, OWN4, PEER4, 80, SYN);
	between(late_mac, peer_mac);
	CHECK(!goes(len));
	len = frame__udp(frame, LATE6, 1, PEER6, 2, "x", 1);
	between(own_mac, peer_mac);
	CHECK(!goes(len));
	CHECK_EQ(world.received, 0);
	tear_down();
}

static void what_a_port_brings_is_from_its_member_to_the_guest(void)
{
	set_up();
	struct {
		const char *from, *to;
		const uint8_t *from_mac, *to_mac;
	} wrong[] = {
		{LATE4, OWN4, peer_mac, own_mac},     {PEER4, LATE4, peer_mac, own_mac},
		{PEER4, OWN4, late_mac, own_mac},     {PEER4, OWN4, peer_mac, late_mac},
		{OWN4, OWN4, peer_mac, own_mac},      {SERVER4, OWN4, peer_mac, own_mac},
		{LATE6, OWN6, peer_mac, own_mac},     {PEER6, PEER6, peer_mac, own_mac},
		{"8.8.8.8", OWN4, peer_mac, own_mac},
	};
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		size_t len = frame__tcp(frame, wrong[i].from, wrong[i].to, 80, SYN);
		between(wrong[i].from_mac, wrong[i].to_mac);
		CHECK(!comes(world.peer, len));
	}
	tear_down();
}

static void no_other_protocol_passes(void)
{
	set_up();
	size_t len = frame__arp(frame, PEER4, OWN4);
	between(peer_mac, own_mac);
	memcpy(frame + 14 + 8, peer_mac, 6);
	CHECK(!comes(world.peer, len));
	static const uint8_t types[] = {5 /* redirect */, 9 /* router */, 13, 17};
	for (unsigned i = 0; i < sizeof(types); i++) {
		len = frame__icmp(frame, PEER4, OWN4, types[i]);
		between(peer_mac, own_mac);
		CHECK(!comes(world.peer, len));
		len = frame__icmp(frame, OWN4, PEER4, types[i]);
		between(own_mac, peer_mac);
		CHECK(!goes(len));
	}
	static const uint8_t neighbours[] = {133, 134, 135, 136, 137};
	for (unsigned i = 0; i < sizeof(neighbours); i++) {
		len = frame__icmp(frame, PEER6, OWN6, neighbours[i]);
		between(peer_mac, own_mac);
		CHECK(!comes(world.peer, len));
	}
	frame__ip(frame, PEER4, OWN4, 47, 40); /* GRE */
	between(peer_mac, own_mac);
	CHECK(!comes(world.peer, 14 + 20 + 40));
	len = frame__udp(frame, PEER4, 1, OWN4, 2, "x", 1);
	frame[14 + 6] = 0x20; /* more fragments */
	between(peer_mac, own_mac);
	CHECK(!comes(world.peer, len));
	tear_down();
}

static void nobody_else_is_on_the_cable(void)
{
	struct packet packet;
	set_up();
	static const char *const places[] = {"8.8.8.8", "10.202.1.9", "10.202.2.3", "127.0.0.1", LATE4};
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		unsigned before = world.received;
		size_t len = frame__tcp(frame, OWN4, places[i], 80, SYN);
		between(own_mac, peer_mac); /* as if the peer were a router */
		CHECK(!goes(len));
		CHECK_EQ(world.received, before + 1); /* a reset, as from there */
		CHECK(packet__parse(world.last, world.last_len, &packet) == NULL);
		CHECK_EQ(packet.kind, PACKET_TCP);
		CHECK(packet.flags & 4);
	}
	tear_down();
}

static void it_answers_who_is_where(void)
{
	set_up();
	size_t len = frame__arp(frame, OWN4, PEER4);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, own_mac, 6);
	memcpy(frame + 14 + 8, own_mac, 6);
	CHECK(!goes(len));
	CHECK_EQ(world.received, 1);
	CHECK(memcmp(world.last, own_mac, 6) == 0);
	CHECK_EQ(world.last[14 + 7], 2);
	CHECK(memcmp(world.last + 14 + 8, peer_mac, 6) == 0);
	CHECK(memcmp(world.last + 14 + 14, at(PEER4).bytes + 12, 4) == 0);
	/* of an address that nobody has, and of its own */
	memcpy(frame + 14 + 24, at(LATE4).bytes + 12, 4);
	CHECK(!goes(len));
	memcpy(frame + 14 + 24, at(OWN4).bytes + 12, 4);
	CHECK(!goes(len));
	CHECK_EQ(world.received, 1);
	/* RFC 4861: a solicitation, to a multicast address, is answered with an advertisement */
	len = frame__icmp(frame, OWN6, "ff02::1:ff00:3", 135);
	memcpy(frame, "\x33\x33\xff\0\0\3", 6);
	memcpy(frame + 6, own_mac, 6);
	memcpy(frame + 14 + 40 + 8, at(PEER6).bytes, 16);
	CHECK(!goes(len));
	CHECK_EQ(world.received, 2);
	CHECK_EQ(world.last[14 + 7], 255);
	CHECK_EQ(world.last[14 + 40], 136);
	CHECK(memcmp(world.last + 14 + 8, at(PEER6).bytes, 16) == 0);
	CHECK(memcmp(world.last + 14 + 40 + 8, at(PEER6).bytes, 16) == 0);
	CHECK(memcmp(world.last + 14 + 40 + 26, peer_mac, 6) == 0);
	CHECK_EQ(checksum__end(checksum__add(checksum__add(0, world.last + 14 + 8, 32), "\0\x20\0\x3a", 4) +
			       checksum__add(0, world.last + 14 + 40, 32)),
		 0xffff);
	tear_down();
}

/* What the name server says: the code and the count of answers, which follow the question. */
static unsigned ask(const char *name, unsigned type, unsigned *answers)
{
	uint8_t message[512];
	struct packet packet;
	size_t n = dns_message(message, 7, name, NULL);
	put16(message + n - 4, type);
	size_t len = frame__udp(frame, OWN4, 4000, SERVER4, 53, message, n);
	static const uint8_t ours[6] = {0x52, 0x55};
	between(own_mac, ours);
	unsigned before = world.received;
	CHECK(!goes(len));
	CHECK_EQ(world.received, before + 1);
	CHECK(packet__parse(world.last, world.last_len, &packet) == NULL);
	CHECK_EQ(packet.source_port, 53);
	*answers = (unsigned)(packet.payload[6] << 8 | packet.payload[7]);
	return packet.payload[3] & 15;
}

static void it_knows_the_members_names_and_no_others(void)
{
	unsigned answers;
	set_up();
	CHECK_EQ(ask("peer", DNS_A, &answers), 0);
	CHECK_EQ(answers, 1);
	CHECK(memcmp(world.last + world.last_len - 4, at(PEER4).bytes + 12, 4) == 0);
	CHECK_EQ(ask("PEER", DNS_AAAA, &answers), 0);
	CHECK_EQ(answers, 1);
	CHECK(memcmp(world.last + world.last_len - 16, at(PEER6).bytes, 16) == 0);
	CHECK_EQ(ask("own", DNS_A, &answers), 0);
	CHECK_EQ(answers, 1);
	CHECK_EQ(ask("peer", 16 /* TXT */, &answers), 0);
	CHECK_EQ(answers, 0);
	CHECK_EQ(ask("example.org", DNS_A, &answers), 3);
	CHECK_EQ(answers, 0);
	tear_down();
}

static void whoever_knows_the_token_joins(void)
{
	const struct lan_member late = member("late", late_mac, LATE4, LATE6);
	uint8_t hello[LAN_HELLO];
	unsigned answers;
	set_up();
	int port = add(NULL);
	lan_hello__write(hello, token, &late);
	CHECK_EQ(send(port, hello, sizeof(hello), 0), (ssize_t)sizeof(hello));
	turn();
	CHECK_EQ(ask("late", DNS_A, &answers), 0);
	size_t len = frame__tcp(frame, LATE4, OWN4, 80, SYN);
	between(late_mac, own_mac);
	CHECK(comes(port, len));
	/* the same member again, before the end of its first life was seen */
	int again = add(NULL);
	CHECK_EQ(send(again, hello, sizeof(hello), 0), (ssize_t)sizeof(hello));
	turn();
	CHECK_EQ(recv(port, frame, sizeof(frame), 0), 0);
	close(port);
	CHECK_EQ(ask("late", DNS_A, &answers), 0);
	CHECK_EQ(answers, 1);
	/* it goes, and its name with it */
	close(again);
	turn();
	CHECK_EQ(ask("late", DNS_A, &answers), 3);
	tear_down();
}

static void nobody_else_joins(void)
{
	uint8_t hello[LAN_HELLO];
	struct {
		struct lan_member one;
		const char *token;
		size_t len;
	} wrong[] = {
		{member("late", late_mac, LATE4, LATE6), "0123456789abcdf", LAN_HELLO},
		{member("late", late_mac, LATE4, LATE6), (const char *)token, LAN_HELLO - 1},
		{member("late", own_mac, LATE4, LATE6), (const char *)token, LAN_HELLO},
		{member("late", late_mac, OWN4, LATE6), (const char *)token, LAN_HELLO},
		{member("late", late_mac, LATE4, SERVER6), (const char *)token, LAN_HELLO},
		{member("not.this", late_mac, LATE4, LATE6), (const char *)token, LAN_HELLO},
		{member("", late_mac, LATE4, LATE6), (const char *)token, LAN_HELLO},
		{member("late", (const uint8_t *)"\1\2\3\4\5\6", LATE4, LATE6), (const char *)token, LAN_HELLO},
	};
	set_up();
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		int port = add(NULL);
		lan_hello__write(hello, (const uint8_t *)wrong[i].token, &wrong[i].one);
		CHECK_EQ(send(port, hello, wrong[i].len, 0), (ssize_t)wrong[i].len);
		turn();
		CHECK_EQ(recv(port, hello, sizeof(hello), 0), 0); /* closed */
		close(port);
	}
	int port = add(NULL);
	size_t len = frame__tcp(frame, PEER4, OWN4, 80, SYN);
	between(peer_mac, own_mac);
	CHECK(!comes(port, len)); /* a frame is no hello */
	close(port);
	tear_down();
}

static void there_is_an_end_to_ports(void)
{
	int pair[2], far[LAN_PEERS];
	set_up();
	for (unsigned i = 1; i < LAN_PEERS; i++)
		far[i] = add(NULL);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	CHECK_EQ(lan_switch__add(world.lan, pair[0], NULL), -ENOSPC);
	CHECK_EQ(recv(pair[1], frame, 1, 0), 0);
	close(pair[1]);
	for (unsigned i = 1; i < LAN_PEERS; i++)
		close(far[i]);
	tear_down();
}

static void a_member_that_takes_nothing_holds_up_nobody_for_long(void)
{
	set_up();
	size_t len = frame__udp(frame, OWN4, 1, PEER4, 2, world.last, 30000);
	between(own_mac, peer_mac);
	unsigned sent = 0;
	while (!lan_switch__wait(world.lan) && sent < 10000) {
		lan_switch__from_guest(world.lan, frame, len);
		sent++;
	}
	CHECK(sent > 1 && sent < 10000);
	uint64_t since = monotonic_ns();
	while (lan_switch__wait(world.lan))
		CHECK(monotonic_ns() - since < 10ULL * 1000 * 1000 * 1000);
	/* from now on what is for it is dropped at once */
	lan_switch__from_guest(world.lan, frame, len);
	CHECK_EQ(lan_switch__wait(world.lan), 0);
	/* until it takes something */
	while (recv(world.peer, world.last, sizeof(world.last), 0) > 0)
		;
	CHECK(goes(len));
	tear_down();
}

static void what_is_broken_is_dropped(void)
{
	set_up();
	memset(frame, 0, sizeof(frame));
	static const size_t lengths[] = {1, 13, 14, 33, 34, 54};
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		frame__tcp(frame, PEER4, OWN4, 80, SYN);
		between(peer_mac, own_mac);
		bool whole = lengths[i] >= 54;
		CHECK_EQ(comes(world.peer, lengths[i]), whole);
		frame__tcp(frame, OWN4, PEER4, 80, SYN);
		between(own_mac, peer_mac);
		CHECK_EQ(goes(lengths[i]), whole);
	}
	tear_down();
}

int main(void)
{
	CASE(members_speak_tcp_udp_and_icmp);
	CASE(a_guest_cannot_forge_its_sender);
	CASE(what_a_port_brings_is_from_its_member_to_the_guest);
	CASE(no_other_protocol_passes);
	CASE(nobody_else_is_on_the_cable);
	CASE(it_answers_who_is_where);
	CASE(it_knows_the_members_names_and_no_others);
	CASE(whoever_knows_the_token_joins);
	CASE(nobody_else_joins);
	CASE(there_is_an_end_to_ports);
	CASE(a_member_that_takes_nothing_holds_up_nobody_for_long);
	CASE(what_is_broken_is_dropped);
	return check__done();
}
