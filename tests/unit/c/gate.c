/* The gate and the policy behind it: what may pass, what is answered, what is dropped, and what is told of it. */
#include "net/gate.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_clock.h"
#include "net/dns.h"
#include "net/flows.h"
#include "net_frames.h"

#define SYN 2
#define FIN 1
#define RST 4
#define ACK 0x10
#define SERVER "127.0.53.53"
#define HOUR_MS 3600000
#define SOCKET 77

static struct {
	struct loop *loop;
	struct policy *policy;
	struct net_addresses addresses;
	struct egress egress;
	struct gate *gate;
	uint64_t now;
	unsigned passed, resets, answered, refused, told;
	bool busy, broken;
	bool runs; /* the loop, on a thread of its own */
	pthread_t thread;
	unsigned stop_after;      /* answers */
	unsigned max_connections; /* for the next gate */
	struct gate_notice last;
	char name[256];
	uint8_t answer[PACKET_MAX], pass[PACKET_MAX];
	size_t answer_len;
	int server;            /* socket of the host's name server */
	struct address own[2]; /* the host's addresses */
	unsigned own_asked;
	bool sockets[DATAGRAMS];
	unsigned socket_count, place; /* of which that was sent by last */
	int send_error;
	struct address sent_to;
} world;

static uint8_t frame[PACKET_MAX], message[2048];

static uint64_t now(void)
{
	return world.now;
}

static int on_pass(void *arg, const uint8_t *bytes, size_t len)
{
	(void)arg;
	memcpy(world.pass, bytes, len);
	world.passed++;
	return SOCKET;
}

static void on_reset(void *arg, const uint8_t *bytes, size_t len)
{
	world.resets++;
	(void)on_pass(arg, bytes, len);
}

static bool is_busy(void *arg, int socket)
{
	(void)arg;
	CHECK_EQ(socket, SOCKET);
	return world.busy;
}

static bool is_broken(void *arg, int socket)
{
	(void)arg, (void)socket;
	return world.broken;
}

static int on_send(void *arg, unsigned place, const struct packet *packet, const struct address *to)
{
	(void)arg;
	CHECK(place < DATAGRAMS && packet->payload);
	world.socket_count += !world.sockets[place];
	world.sockets[place] = true;
	world.place = place;
	world.sent_to = *to;
	world.passed++;
	return world.send_error;
}

static void on_hang_up(void *arg, unsigned place)
{
	(void)arg;
	CHECK(place < DATAGRAMS && world.sockets[place]);
	world.sockets[place] = false;
	world.socket_count--;
}

static void on_answer(void *arg, const uint8_t *bytes, size_t len)
{
	(void)arg;
	memcpy(world.answer, bytes, len);
	world.answer_len = len;
	if (++world.answered == world.stop_after)
		loop__stop(world.loop);
}

static void on_notice(void *arg, const struct gate_notice *notice)
{
	(void)arg;
	*(notice->why ? &world.refused : &world.told) += 1;
	world.last = *notice;
	snprintf(world.name, sizeof(world.name), "%s", notice->name ? notice->name : "");
}

static bool is_own(void *arg, const struct address *address, bool fresh, uint64_t when)
{
	(void)arg;
	CHECK(fresh || when == world.now);
	world.own_asked++;
	return egress__is(address, world.own);
}

static struct policy_rule by_name(bool allow, const char *name, unsigned port)
{
	return (struct policy_rule){.allow = allow,
				    .name = name,
				    .protocol = port ? POLICY_TCP : POLICY_ANY,
				    .first_port = (uint16_t)port,
				    .last_port = port ? (uint16_t)port : 65535};
}

static struct policy_rule by_network(bool allow, const char *network, unsigned port)
{
	struct policy_rule rule = by_name(allow, NULL, port);
	CHECK_EQ(network__parse(network, &rule.network), 0);
	return rule;
}

static struct policy_rule rules[8];

static void set_up_with(unsigned rule_count, bool otherwise, bool host_loopback)
{
	unsigned max_connections = world.max_connections;
	memset(&world, 0, sizeof(world));
	world.max_connections = max_connections;
	world.now = 1000000;
	world.server = -1;
	CHECK_EQ(loop__new(&world.loop), 0);
	const struct policy_own own = {is_own, NULL};
	CHECK_EQ(policy__new(rules, rule_count, otherwise, &own, &world.policy), 0);
	world.addresses = (struct net_addresses){
		.guest = {at(GUEST4), at(GUEST6)},
		.host = {at(HOST4), at(HOST6)},
		.name_server = {at(NAMES4), at(NAMES6)},
		.network = {{at("10.0.2.0"), 96 + 24}, {at("fd63:6170:7361::"), 64}},
	};
	memcpy(world.addresses.mac, guest_mac, 6);
	world.egress =
		(struct egress){.addresses = &world.addresses, .policy = world.policy, .host_loopback = host_loopback};
	struct gate_options options = {
		.egress = &world.egress,
		.max_connections = world.max_connections,
		.published = {53},
		.published_count = 1,
		.servers = {.at = {{.address = at(SERVER)}}, .count = 1},
		.loop = world.loop,
		.now = now,
		.pass = on_pass,
		.reset = on_reset,
		.is_busy = is_busy,
		.is_broken = is_broken,
		.send = on_send,
		.hang_up = on_hang_up,
		.answer = on_answer,
		.notice = on_notice,
	};
	CHECK_EQ(gate__new(&options, &world.gate), 0);
}

static void set_up(unsigned rule_count, bool otherwise)
{
	set_up_with(rule_count, otherwise, false);
}

static void tear_down(void)
{
	if (world.runs) {
		loop__stop(world.loop);
		CHECK_EQ(pthread_join(world.thread, NULL), 0);
	}
	gate__free(world.gate);
	policy__free(world.policy);
	CHECK_EQ(world.socket_count, 0);
	loop__free(world.loop);
	if (world.server >= 0)
		close(world.server);
}

static bool passes(size_t len)
{
	unsigned before = world.passed;
	gate__from_guest(world.gate, frame, len);
	return world.passed > before;
}

/* It does not pass, and it was told why. */
static void is_refused(size_t len, const char *why)
{
	unsigned before = world.refused;
	world.now += 20000; /* so that it is told again */
	CHECK(!passes(len));
	CHECK_EQ(world.refused, before + 1);
	if (!strstr(world.last.why, why))
		printf("# %s\n", world.last.why);
	CHECK(strstr(world.last.why, why) != NULL);
}

static void everything_passes_where_nothing_is_denied(void)
{
	set_up(0, true);
	CHECK(passes(frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN)));
	CHECK(passes(frame__tcp(frame, GUEST6, "2001:db8::1", 443, SYN)));
	CHECK(passes(frame__udp(frame, GUEST4, 5000, "203.0.113.1", 123, "x", 1)));
	CHECK(passes(frame__icmp(frame, GUEST4, "203.0.113.1", 8)));
	CHECK(passes(frame__arp(frame, GUEST4, HOST4)));
	CHECK(passes(frame__icmp(frame, GUEST6, HOST6, 135)));
	CHECK_EQ(world.refused, 0);
	tear_down();
}

static void the_first_rule_that_matches_decides(void)
{
	rules[0] = by_network(false, "203.0.113.1", 443);
	rules[1] = by_network(true, "203.0.113.0/24", 443);
	rules[2] = by_network(true, "2001:db8::/32", 0);
	rules[3] = by_network(false, "203.0.113.0/24", 0);
	set_up(4, false);
	is_refused(frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN), "a rule denies it");
	CHECK(passes(frame__tcp(frame, GUEST4, "203.0.113.2", 443, SYN)));
	is_refused(frame__tcp(frame, GUEST4, "203.0.113.2", 80, SYN), "a rule denies it");
	is_refused(frame__udp(frame, GUEST4, 5000, "203.0.113.2", 443, "", 0), "a rule denies it");
	CHECK(passes(frame__udp(frame, GUEST6, 5000, "2001:db8:1::2", 443, "", 0)));
	is_refused(frame__tcp(frame, GUEST4, "198.51.100.1", 443, SYN), "no rule allows it");
	CHECK_STR(world.last.allow, "198.51.100.1:443");
	is_refused(frame__tcp(frame, GUEST6, "2001:db9::1", 443, SYN), "no rule allows it");
	CHECK_STR(world.last.allow, "[2001:db9::1]:443");
	is_refused(frame__udp(frame, GUEST4, 5000, "198.51.100.1", 53, "", 0), "no rule allows it");
	CHECK_STR(world.last.allow, "198.51.100.1:53/udp");
	is_refused(frame__icmp(frame, GUEST4, "198.51.100.1", 8), "no rule allows it");
	CHECK_STR(world.last.allow, "198.51.100.1/icmp");
	tear_down();
}

static void a_refusal_is_answered(void)
{
	set_up(0, false);
	size_t len = frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN);
	CHECK(!passes(len));
	CHECK_EQ(world.answered, 1);
	const uint8_t *ip = world.answer + 14, *icmp = ip + 20;
	CHECK(memcmp(world.answer, guest_mac, 6) == 0 && memcmp(world.answer + 6, host_mac, 6) == 0);
	CHECK_EQ(world.answer_len, 14 + 20 + 8 + 40);
	CHECK(memcmp(ip + 12, frame + 30, 4) == 0 && memcmp(ip + 16, frame + 26, 4) == 0);
	CHECK(icmp[0] == 3 && icmp[1] == 13);
	CHECK(memcmp(icmp + 8, frame + 14, 40) == 0);
	CHECK_EQ(checksum__end(checksum__add(0, ip, 20)), 0xffff);
	CHECK_EQ(checksum__end(checksum__add(0, icmp, 48)), 0xffff);
	len = frame__udp(frame, GUEST6, 5, "2001:db8::1", 6, message, 900);
	CHECK(!passes(len));
	const uint8_t *ip6 = world.answer + 14;
	CHECK_EQ(world.answer_len, 14 + 40 + 8 + 128);
	CHECK(ip6[6] == 58 && ip6[40] == 1 && ip6[41] == 1);
	uint8_t tail[4] = {0, 58, 0, 8 + 128};
	CHECK_EQ(checksum__end(checksum__add(checksum__add(checksum__add(0, ip6 + 8, 32), tail, 4), ip6 + 40, 136)),
		 0xffff);
	tear_down();
}

static void forged_senders_are_dropped(void)
{
	set_up(0, true);
	is_refused(frame__tcp(frame, "10.0.2.16", "203.0.113.1", 443, SYN), "a forged sender");
	is_refused(frame__tcp(frame, "203.0.113.9", "203.0.113.1", 443, ACK), "a forged sender");
	is_refused(frame__udp(frame, "fd63:6170:7361::16", 1, "2001:db8::1", 2, "", 0), "a forged sender");
	is_refused(frame__arp(frame, "10.0.2.2", "10.0.2.3"), "a forged sender");
	is_refused(frame__icmp(frame, "fe80::1", "2001:db8::1", 128), "a forged sender");
	size_t len = frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN);
	frame[11] ^= 1;
	is_refused(len, "a forged sender");
	len = frame__arp(frame, GUEST4, HOST4);
	frame[14 + 8] ^= 4;
	is_refused(len, "an ARP packet of another sender");
	CHECK_EQ(world.answered, 0);
	tear_down();
}

static void fragments_options_and_strange_protocols_are_dropped(void)
{
	set_up(0, true);
	size_t len = frame__udp(frame, GUEST4, 1, "203.0.113.1", 2, "abcd", 4);
	frame[14 + 6] = 0x20;
	is_refused(len, "an IPv4 fragment");
	frame[14 + 6] = 0;
	frame[14 + 7] = 1;
	is_refused(len, "an IPv4 fragment");
	frame[14 + 7] = 0;
	CHECK(passes(len));
	frame[14] = 0x46;
	is_refused(len, "IPv4 options");
	frame[14] = 0x44;
	is_refused(len, "IPv4 options");
	frame__ip(frame, GUEST4, "203.0.113.1", 47, 20);
	is_refused(14 + 40, "an IP protocol other than");
	frame__ip(frame, GUEST6, "2001:db8::1", 44, 20);
	is_refused(14 + 60, "an IPv6 fragment");
	frame__ip(frame, GUEST6, "2001:db8::1", 0, 20);
	is_refused(14 + 60, "an IPv6 extension header");
	len = frame__udp(frame, GUEST6, 1, "2001:db8::1", 2, "", 0);
	memcpy(frame + 14 + 24, at("127.0.0.1").bytes, 16);
	is_refused(len, "an IPv4 address in an IPv6 header");
	is_refused(frame__icmp(frame, GUEST4, "203.0.113.1", 5), "not an echo request");
	is_refused(frame__icmp(frame, GUEST6, "2001:db8::1", 134), "neither an echo request nor");
	frame__ethernet(frame, 0x88f8); /* NC-SI, which libslirp would serve */
	is_refused(60, "neither ARP nor IP");
	tear_down();
}

static void what_is_cut_short_is_dropped(void)
{
	set_up(0, true);
	size_t len = frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN);
	for (size_t i = 0; i < len; i++)
		CHECK(!passes(i));
	len = frame__udp(frame, GUEST6, 1, "2001:db8::1", 2, "abcd", 4);
	for (size_t i = 0; i < len; i++)
		CHECK(!passes(i));
	frame[14 + 40 + 4] = 1; /* UDP's own length */
	is_refused(len, "a UDP header that is cut short");
	len = frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN);
	frame[14 + 20 + 12] = 6 << 4;
	is_refused(len, "a TCP header that is cut short");
	CHECK_EQ(world.answered, 0);
	tear_down();
}

static void what_is_local_is_never_reached(void)
{
	rules[0] = by_network(true, "0.0.0.0/0", 0);
	rules[1] = by_network(true, "::/0", 0);
	set_up(2, true);
	is_refused(frame__tcp(frame, GUEST4, "127.0.0.1", 22, SYN), "never leaves a machine");
	is_refused(frame__tcp(frame, GUEST4, "0.0.0.0", 22, SYN), "never leaves a machine");
	is_refused(frame__udp(frame, GUEST6, 1, "::1", 22, "", 0), "never leaves a machine");
	is_refused(frame__tcp(frame, GUEST6, "::", 22, SYN), "never leaves a machine");
	is_refused(frame__tcp(frame, GUEST6, "::7f00:1", 22, SYN), "never leaves a machine");
	is_refused(frame__tcp(frame, GUEST6, "64:ff9b::7f00:1", 22, SYN), "never leaves a machine");
	is_refused(frame__tcp(frame, GUEST6, "2002:7f00:1::", 22, SYN), "never leaves a machine");
	is_refused(frame__tcp(frame, GUEST6, "2001:db8::5efe:7f00:1", 22, SYN), "never leaves a machine");
	is_refused(frame__tcp(frame, GUEST4, HOST4, 22, SYN), "hostLoopback");
	is_refused(frame__udp(frame, GUEST6, 1, HOST6, 22, "", 0), "hostLoopback");
	is_refused(frame__tcp(frame, GUEST4, "10.0.2.200", 22, SYN), "nothing at this address");
	is_refused(frame__tcp(frame, GUEST6, "fd63:6170:7361::99", 22, SYN), "nothing at this address");
	is_refused(frame__tcp(frame, GUEST6, "fe80::2", 22, SYN), "nothing at this address");
	is_refused(frame__tcp(frame, GUEST4, NAMES4, 22, SYN), "nothing at this address");
	is_refused(frame__tcp(frame, GUEST6, NAMES6, 53, SYN), "by IPv4 only");
	CHECK(passes(frame__icmp(frame, GUEST4, HOST4, 8)));
	CHECK(!passes(frame__udp(frame, GUEST4, 1, "224.0.0.251", 5353, "", 0)));
	CHECK(!passes(frame__udp(frame, GUEST4, 1, "255.255.255.255", 9, "", 0)));
	/* to others the ports of DHCP are ports like any */
	CHECK(passes(frame__udp(frame, "0.0.0.0", 68, "255.255.255.255", 67, "", 0)));
	is_refused(frame__udp(frame, "0.0.0.0", 68, "203.0.113.1", 67, "", 0), "a forged sender");
	tear_down();
}

static void the_hosts_loopback_is_for_the_policy_where_it_is_open(void)
{
	rules[0] = by_network(true, HOST4, 8080);
	set_up_with(1, false, true);
	CHECK(passes(frame__tcp(frame, GUEST4, HOST4, 8080, SYN)));
	is_refused(frame__tcp(frame, GUEST4, HOST4, 22, SYN), "no rule allows it");
	is_refused(frame__tcp(frame, GUEST4, "10.0.2.200", 8080, SYN), "nothing at this address");
	tear_down();
}

static void a_refusal_is_told_once_and_a_scan_does_not_fill_the_log(void)
{
	set_up(0, false);
	for (unsigned i = 0; i < 5; i++)
		CHECK(!passes(frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN)));
	CHECK_EQ(world.refused, 1);
	CHECK_EQ(world.answered, 5);
	for (unsigned port = 1; port < 1000; port++)
		CHECK(!passes(frame__tcp(frame, GUEST4, "203.0.113.1", port, SYN)));
	CHECK_EQ(world.refused, 100);
	world.now += 20000;
	CHECK(!passes(frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN)));
	CHECK_EQ(world.refused, 101);
	tear_down();
}

/* By the socket that was sent by last. Whether the guest gets it. */
static bool comes_back(const char *from, unsigned port)
{
	const struct datagram datagram = {
		.from = at(from), .port = (uint16_t)port, .bytes = (const uint8_t *)"answer", .len = 6};
	unsigned before = world.answered;
	gate__received(world.gate, world.place, &datagram);
	return world.answered > before;
}

static void only_those_that_could_be_asked_may_answer(void)
{
	rules[0] = by_network(true, "203.0.113.1", 0);
	set_up(1, false);
	CHECK(passes(frame__udp(frame, GUEST4, 5000, "203.0.113.1", 7, "", 0)));
	CHECK(comes_back("203.0.113.1", 99));
	CHECK(!comes_back("203.0.113.2", 99));
	CHECK(!comes_back("127.0.0.1", 99));
	CHECK(!gate__to_guest(world.gate, frame, frame__udp(frame, "203.0.113.1", 99, GUEST4, 5000, "", 0), SOCKET));
	CHECK(gate__to_guest(world.gate, frame, frame__udp(frame, HOST4, 67, GUEST4, 68, "", 0), SOCKET));
	CHECK(gate__to_guest(world.gate, frame, frame__arp(frame, NAMES4, GUEST4), SOCKET));
	CHECK(!gate__to_guest(world.gate, frame, frame__udp(frame, "203.0.113.2", 67, GUEST4, 68, "", 0), SOCKET));
	/* a published port: whoever has asked is answered, for a while */
	is_refused(frame__udp(frame, GUEST4, 53, "198.51.100.7", 1234, "", 0), "no rule allows it");
	CHECK(gate__to_guest(world.gate, frame, frame__udp(frame, "198.51.100.7", 1234, GUEST4, 53, "", 0), SOCKET));
	CHECK(passes(frame__udp(frame, GUEST4, 53, "198.51.100.7", 1234, "", 0)));
	is_refused(frame__udp(frame, GUEST4, 53, "198.51.100.7", 1235, "", 0), "no rule allows it");
	is_refused(frame__udp(frame, GUEST4, 54, "198.51.100.7", 1234, "", 0), "no rule allows it");
	for (unsigned i = 0; i < 300; i++)
		CHECK(gate__to_guest(world.gate, frame, frame__udp(frame, "198.51.100.8", i + 1, GUEST4, 53, "", 0),
				     SOCKET));
	is_refused(frame__udp(frame, GUEST4, 53, "198.51.100.7", 1234, "", 0), "no rule allows it");
	CHECK(passes(frame__udp(frame, GUEST4, 53, "198.51.100.8", 300, "", 0)));
	world.now += 200000;
	is_refused(frame__udp(frame, GUEST4, 53, "198.51.100.8", 300, "", 0), "no rule allows it");
	tear_down();
}

/* Connections */

#define PEER "203.0.113.1"

static void put32(uint8_t *to, uint32_t value)
{
	put16(to, value >> 16);
	put16(to + 2, value & 0xffff);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* A segment of the guest's, from its port 40000. */
static size_t guest_tcp(unsigned port, unsigned flags, uint32_t sequence, uint32_t acknowledged)
{
	size_t len = frame__tcp(frame, GUEST4, PEER, port, flags);
	put32(frame + 14 + 20 + 4, sequence);
	put32(frame + 14 + 20 + 8, acknowledged);
	return len;
}

/* And one for it. Whether it gets it. */
static bool host_tcp(unsigned port, unsigned flags, uint32_t sequence, uint32_t acknowledged)
{
	size_t len = frame__tcp(frame, PEER, GUEST4, 40000, flags);
	put16(frame + 14 + 20, port);
	put32(frame + 14 + 20 + 4, sequence);
	put32(frame + 14 + 20 + 8, acknowledged);
	return gate__to_guest(world.gate, frame, len, SOCKET);
}

static void connect_to(unsigned port)
{
	CHECK(passes(guest_tcp(port, SYN, 100, 0)));
	CHECK(host_tcp(port, SYN | ACK, 5000, 101));
	CHECK(passes(guest_tcp(port, ACK, 101, 5001)));
}

/* The last frame that went this way is a reset with this sequence number, with sums that are right. */
static void is_reset(const uint8_t *bytes, uint32_t sequence)
{
	const uint8_t *ip = bytes + 14, *tcp = ip + 20;
	uint8_t tail[4] = {0, 6, 0, 20};
	CHECK(tcp[13] & RST);
	CHECK_EQ(get32(tcp + 4), sequence);
	CHECK_EQ(checksum__end(checksum__add(0, ip, 20)), 0xffff);
	CHECK_EQ(checksum__end(checksum__add(checksum__add(checksum__add(0, ip + 12, 8), tail, 4), tcp, 20)), 0xffff);
}

/* As src/network/rules.ts has it: what opens an own address, what refuses all others, and what is for any address. */
static void the_hosts_own_addresses_are_those_that_it_has_now(void)
{
	rules[0] = by_network(true, "203.0.113.9", 443);
	rules[0].own = true;
	rules[1] = by_network(false, "0.0.0.0/0", 0);
	rules[2] = by_network(false, "::/0", 0);
	rules[1].own = rules[2].own = true;
	rules[1].why = rules[2].why = "the host's own address";
	rules[3] = by_network(true, "0.0.0.0/0", 0);
	rules[4] = by_network(true, "2001:db8::/32", 0);
	rules[5] = by_name(true, "own.example", 443);
	set_up(6, false);
	CHECK(passes(frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN)));
	world.own[0] = at("203.0.113.1");
	is_refused(frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN), "the host's own address");
	CHECK_STR(world.last.allow, "203.0.113.1:443");
	is_refused(frame__udp(frame, GUEST4, 5000, "203.0.113.1", 53, "", 0), "the host's own address");
	is_refused(frame__icmp(frame, GUEST4, "203.0.113.1", 8), "the host's own address");
	CHECK(passes(frame__udp(frame, GUEST4, 5000, "203.0.113.2", 53, "", 0)));
	CHECK(comes_back("203.0.113.2", 53) && !comes_back("203.0.113.1", 53));
	CHECK(passes(frame__tcp(frame, GUEST4, "203.0.113.2", 443, SYN)));
	world.own[0] = at("203.0.113.9");
	CHECK(passes(frame__tcp(frame, GUEST4, "203.0.113.9", 443, SYN)));
	is_refused(frame__tcp(frame, GUEST4, "203.0.113.9", 80, SYN), "the host's own address");
	world.own[1] = at("2001:db8::1");
	is_refused(frame__tcp(frame, GUEST6, "2001:db8::1", 443, SYN), "the host's own address");
	/* a name leads to it as little; a private one of its own is not even told to the guest */
	CHECK(policy__learn(world.policy, "own.example", &world.own[1], 60, world.now));
	is_refused(frame__tcp(frame, GUEST6, "2001:db8::1", 443, SYN), "the host's own address");
	CHECK_STR(world.name, "own.example");
	CHECK(!egress__to_name(&world.egress, POLICY_TCP, "own.example", 443).why);
	world.own[0] = at("10.1.2.3");
	CHECK(!policy__learn(world.policy, "own.example", &world.own[0], 60, world.now));
	world.own[0] = at("10.1.2.4");
	const struct address inside = at("10.1.2.3");
	CHECK(policy__learn(world.policy, "own.example", &inside, 60, world.now));
	/* one connection, one question, and none where no rule needs it */
	world.own_asked = 0;
	connect_to(443);
	CHECK(passes(guest_tcp(443, ACK, 101, 5001)));
	CHECK_EQ(world.own_asked, 1);
	tear_down();
}

static void segments_of_no_connection_do_not_pass(void)
{
	set_up(0, true);
	CHECK(!passes(guest_tcp(443, ACK, 7, 77)));
	is_reset(world.answer, 77);
	CHECK(!passes(guest_tcp(443, SYN | ACK, 7, 78)));
	is_reset(world.answer, 78);
	CHECK(!passes(guest_tcp(443, FIN, 7, 0)));
	is_reset(world.answer, 0);
	CHECK_EQ(get32(world.answer + 14 + 20 + 8), 8);
	unsigned answered = world.answered;
	CHECK(!passes(guest_tcp(443, RST, 7, 0)));
	CHECK_EQ(world.answered, answered);
	CHECK(!host_tcp(443, ACK, 1, 1));
	connect_to(443);
	CHECK(!host_tcp(444, ACK, 1, 1));
	CHECK(!passes(guest_tcp(444, ACK, 101, 5001)));
	CHECK_EQ(world.refused, 0);
	tear_down();
}

static void a_connection_ends_with_both_its_sides_or_with_a_reset(void)
{
	set_up(0, true);
	connect_to(443);
	CHECK(passes(guest_tcp(443, FIN | ACK, 101, 5001)));
	CHECK(host_tcp(443, FIN | ACK, 5001, 102));
	CHECK(passes(guest_tcp(443, ACK, 102, 5002)));
	CHECK(host_tcp(443, ACK, 5002, 102));
	connect_to(443); /* from the same port */
	CHECK(host_tcp(443, RST, 5001, 101));
	CHECK(!passes(guest_tcp(443, ACK, 101, 5001)));
	/* the guest's own reset: the host's side is told by the number that it goes by */
	connect_to(443);
	CHECK(passes(guest_tcp(443, RST, 0x7fffffff, 0)));
	is_reset(world.pass, 101);
	CHECK(!host_tcp(443, ACK, 5001, 101));
	/* one that cannot be had: ICMP says so, and quotes what the guest has sent */
	CHECK(passes(guest_tcp(443, SYN, 100, 0)));
	uint8_t quoted[28];
	memcpy(quoted, frame + 14, sizeof(quoted));
	size_t len = frame__icmp(frame, HOST4, GUEST4, 3);
	memcpy(frame + 14 + 28, quoted, sizeof(quoted));
	put16(frame + 14 + 2, 20 + 8 + sizeof(quoted));
	CHECK(gate__to_guest(world.gate, frame, len + sizeof(quoted), SOCKET));
	CHECK(!host_tcp(443, SYN | ACK, 5000, 101));
	tear_down();
}

static void what_a_published_port_lets_in_is_answered(void)
{
	set_up(0, false);
	CHECK(host_tcp(999, SYN, 5000, 0));
	CHECK(passes(guest_tcp(999, SYN | ACK, 100, 5001)));
	CHECK(host_tcp(999, ACK, 5001, 101));
	gate__recheck(world.gate); /* no rule is for it, and none needs to be */
	CHECK(passes(guest_tcp(999, ACK, 101, 5001)));
	/* a port on which nobody listens */
	CHECK(host_tcp(998, SYN, 5000, 0));
	CHECK(passes(guest_tcp(998, RST | ACK, 0, 5001)));
	CHECK_EQ(get32(world.pass + 14 + 20 + 8), 5001);
	CHECK(!passes(guest_tcp(998, ACK, 101, 5001)));
	tear_down();
}

static void other_rules_cut_what_they_do_not_allow(void)
{
	static char name[] = "203.0.113.0/24", text[] = "text";
	rules[0] = by_network(true, name, 443);
	rules[0].text = text;
	rules[1] = by_network(true, PEER, 80);
	set_up(2, false);
	memset(text, 'x', sizeof(text) - 1); /* the policy has its own */
	unsigned count;
	CHECK_STR(policy__rules(world.policy, &count)[0].text, "text");
	CHECK_EQ(count, 2);
	connect_to(443);
	connect_to(80);
	CHECK(host_tcp(443, ACK, 6000, 101));
	CHECK_EQ(policy__replace(world.policy, rules + 1, 1, false), 0);
	world.answered = world.passed = 0;
	gate__recheck(world.gate);
	CHECK_EQ(world.answered, 1);
	is_reset(world.answer, 6000);
	CHECK_EQ(world.passed, 1);
	is_reset(world.pass, 101);
	CHECK(!host_tcp(443, ACK, 6000, 101));
	CHECK(!passes(guest_tcp(443, ACK, 101, 6000)));
	is_refused(guest_tcp(443, SYN, 100, 0), "no rule allows it");
	CHECK(passes(guest_tcp(80, ACK, 101, 5001)));
	CHECK(passes(frame__tcp(frame, GUEST4, PEER, 80, SYN)));
	tear_down();
}

static void other_rules_hold_for_what_names_have_led_to(void)
{
	struct address outside = at(PEER), inside = at("10.1.2.3");
	rules[0] = by_name(true, "one.example", 443);
	rules[1] = by_network(true, "10.0.0.0/8", 443);
	set_up(2, false);
	CHECK(policy__learn(world.policy, "one.example", &outside, 60, world.now));
	CHECK(policy__learn(world.policy, "one.example", &inside, 60, world.now));
	connect_to(443);
	world.now += 3600000; /* nobody has asked for it again */
	CHECK_EQ(policy__replace(world.policy, rules, 1, false), 0);
	gate__recheck(world.gate);
	CHECK(passes(guest_tcp(443, ACK, 101, 5001)));
	/* a name that may lead inside no more has not led there */
	CHECK(policy__name_of(world.policy, &inside) == NULL);
	CHECK_STR(policy__name_of(world.policy, &outside), "one.example");
	rules[0] = by_name(true, "two.example", 443);
	CHECK_EQ(policy__replace(world.policy, rules, 1, false), 0);
	gate__recheck(world.gate);
	CHECK(!passes(guest_tcp(443, ACK, 101, 5001)));
	tear_down();
}

static void there_is_a_limit_to_connections(void)
{
	world.max_connections = 3;
	set_up(0, true);
	for (unsigned i = 1; i <= 3; i++)
		connect_to(i);
	is_refused(guest_tcp(4, SYN, 100, 0), "3 connections are open, which is the limit");
	CHECK_STR(world.last.allow, "");
	CHECK(!host_tcp(999, SYN, 5000, 0));
	CHECK(passes(guest_tcp(3, SYN, 100, 0))); /* said again */
	/* those that are over do not count; when there is no room left for them, the first is forgotten */
	for (unsigned i = 3; i < 2000; i++) {
		world.now++;
		CHECK(passes(guest_tcp(i, FIN | ACK, 101, 5001)));
		CHECK(host_tcp(i, FIN | ACK, 5001, 102));
		connect_to(i + 1);
	}
	CHECK(!host_tcp(3, ACK, 5002, 102));
	CHECK(host_tcp(1999, ACK, 5002, 102));
	tear_down();
	world.max_connections = 0;
}

/* Connections that are silent */

static void *run(void *arg)
{
	(void)!loop__run(arg);
	return NULL;
}

static void do_nothing(void *arg)
{
	(void)arg;
}

/* So many milliseconds later, with everything done that was due: a call is followed by it, the next one waits for it.
 */
static void later(uint64_t ms)
{
	world.now += ms;
	fake_clock__pass(ms < CONNECTIONS_LOOK_MS ? CONNECTIONS_LOOK_MS : ms);
	if (!world.runs) {
		loop__await(world.loop);
		CHECK_EQ(pthread_create(&world.thread, NULL, run, world.loop), 0);
	}
	world.runs = true;
	for (unsigned i = 0; i < 2; i++)
		CHECK_EQ(loop__call(world.loop, do_nothing, NULL), 0);
}

/* The guest was asked, by what Linux takes for a keepalive, whether it still has the connection: so often by now. */
static void is_asked(unsigned times, uint32_t sequence, uint32_t acknowledged)
{
	const uint8_t *tcp = world.answer + 14 + 20;
	CHECK_EQ(world.answered, times);
	CHECK_EQ(world.answer_len, 14 + 20 + 20);
	CHECK_EQ(tcp[13], ACK);
	CHECK_EQ(get32(tcp + 4), sequence - 1);
	CHECK_EQ(get32(tcp + 8), acknowledged);
}

static unsigned connections(void)
{
	return gate__counts(world.gate).connections;
}

static void what_the_guest_has_forgotten_after_its_last_word_is_over(void)
{
	set_up(0, true);
	connect_to(443);
	CHECK(passes(guest_tcp(443, FIN | ACK, 101, 5001)));
	CHECK(host_tcp(443, ACK, 5001, 102));
	later(CONNECTION_ENDING_MS - 1);
	CHECK_EQ(world.answered, 0);
	later(1);
	is_asked(1, 5001, 102);
	/* a program has it still, and reads */
	CHECK(passes(guest_tcp(443, ACK, 102, 5001)));
	later(CONNECTION_ENDING_MS - 1);
	CHECK(host_tcp(443, ACK, 6001, 102));
	later(CONNECTION_ENDING_MS - 1);
	is_asked(1, 5001, 102);
	CHECK_EQ(connections(), 1);
	later(1);
	is_asked(2, 6001, 102);
	/* none has it any more: the peer has had its last word, and is not reset */
	CHECK(passes(guest_tcp(443, RST, 102, 0)));
	is_reset(world.pass, 102);
	CHECK_EQ(world.resets, 0);
	CHECK_EQ(connections(), 0);
	later(CONNECTION_ENDING_MS);
	is_asked(2, 6001, 102);
	tear_down();
}

static void what_the_guest_said_last_is_given_first(void)
{
	set_up(0, true);
	connect_to(443);
	CHECK(passes(guest_tcp(443, FIN | ACK, 101, 5001)));
	CHECK(host_tcp(443, ACK, 5001, 102));
	world.busy = true;
	for (unsigned i = 1; i < 10; i++) {
		later(CONNECTION_ENDING_MS);
		is_asked(i, 5001, 102);
		CHECK(!passes(guest_tcp(443, RST, 102, 0)));
		CHECK_EQ(connections(), 1);
	}
	world.busy = false;
	later(CONNECTION_ENDING_MS);
	CHECK(passes(guest_tcp(443, RST, 102, 0)));
	CHECK_EQ(connections(), 0);
	tear_down();
}

static void a_connection_that_is_idle_is_asked_for(void)
{
	set_up(0, true);
	connect_to(443);
	later(CONNECTION_IDLE_MS - 1);
	CHECK_EQ(world.answered, 0);
	later(1);
	is_asked(1, 5001, 101);
	/* a guest that stands still says nothing, and has it nevertheless */
	later(CONNECTION_IDLE_MS);
	is_asked(2, 5001, 101);
	CHECK_EQ(connections(), 1);
	/* the peer has ended it: libslirp is to hear of the guest in less than the ten minutes after which it forgets
	 * it */
	CHECK(host_tcp(443, FIN | ACK, 5001, 101));
	later(CONNECTION_ENDING_MS);
	is_asked(3, 5002, 101);
	/* the guest has forgotten it with something to say: for the peer that is a reset */
	CHECK(passes(guest_tcp(443, RST, 101, 0)));
	is_reset(world.pass, 101);
	CHECK_EQ(world.resets, 1);
	CHECK_EQ(connections(), 0);
	tear_down();
}

static void what_never_opened_is_over(void)
{
	set_up(0, true);
	CHECK(host_tcp(999, SYN, 5000, 0));
	CHECK(passes(guest_tcp(443, SYN, 100, 0)));
	later(CONNECTION_OPENING_MS - 1);
	CHECK_EQ(connections(), 2);
	later(1);
	CHECK_EQ(connections(), 0);
	CHECK_EQ(world.answered, 0);
	tear_down();
}

static void a_port_may_be_used_again(void)
{
	set_up(0, true);
	connect_to(443);
	CHECK(passes(guest_tcp(443, FIN | ACK, 101, 5001)));
	CHECK(host_tcp(443, ACK, 5001, 102));
	/* the guest has forgotten it, and begins another: the host's side hears that the first is over */
	unsigned passed = world.passed;
	CHECK(passes(guest_tcp(443, SYN, 900000, 0)));
	CHECK_EQ(world.passed, passed + 2);
	CHECK(host_tcp(443, SYN | ACK, 7000, 900001));
	CHECK(passes(guest_tcp(443, FIN | ACK, 900001, 7001)));
	CHECK(host_tcp(443, FIN | ACK, 7001, 900002));
	CHECK_EQ(connections(), 0);
	passed = world.passed;
	CHECK(passes(guest_tcp(443, SYN, 2000000, 0)));
	CHECK_EQ(world.passed, passed + 2);
	CHECK(passes(guest_tcp(443, SYN, 2000000, 0))); /* said again */
	CHECK_EQ(world.passed, passed + 3);
	CHECK_EQ(connections(), 1);
	/* by a published port */
	CHECK(host_tcp(999, SYN, 5000, 0));
	CHECK(host_tcp(999, SYN, 5000, 0));
	CHECK_EQ(connections(), 2);
	CHECK(passes(guest_tcp(999, SYN | ACK, 100, 5001)));
	CHECK(host_tcp(999, SYN, 600000, 0));
	CHECK(passes(guest_tcp(999, SYN | ACK, 100, 600001)));
	CHECK_EQ(connections(), 2);
	tear_down();
}

static void whoever_knocks_at_a_published_port_in_vain_hears_so(void)
{
	world.max_connections = 2;
	set_up(0, false);
	CHECK(host_tcp(1, SYN, 5000, 0));
	CHECK(host_tcp(2, SYN, 5000, 0));
	/* one too many: its client is reset, which waits until the host's side is not at work */
	for (unsigned i = 0; i < 30; i++)
		CHECK(!host_tcp(100 + i, SYN, 5000 + i, 0));
	CHECK_EQ(world.refused, 1);
	CHECK_STR(world.last.why, "2 connections are open, which is the limit");
	CHECK_STR(world.last.address, GUEST4);
	CHECK_EQ(world.last.port, 40000);
	CHECK_EQ(world.passed, 0);
	later(0);
	CHECK_EQ(world.resets, 16); /* the others are said again */
	CHECK_EQ(world.pass[14 + 20 + 13], RST | ACK);
	CHECK_EQ(get32(world.pass + 14 + 20 + 8), 5016);
	CHECK(!host_tcp(120, SYN, 5020, 0));
	later(0);
	CHECK_EQ(world.resets, 17);
	CHECK_EQ(connections(), 2);
	/* nobody listens in the guest */
	CHECK(passes(guest_tcp(1, RST | ACK, 0, 5001)));
	CHECK(passes(guest_tcp(2, RST | ACK, 0, 5001)));
	CHECK_EQ(world.resets, 19);
	CHECK_EQ(connections(), 0);
	CHECK_EQ(world.refused, 2);
	CHECK(strstr(world.last.why, "on which nothing in the sandbox listens") != NULL);
	CHECK_STR(world.last.address, GUEST4);
	CHECK_EQ(world.last.port, 40000);
	tear_down();
	world.max_connections = 0;
}

static void a_published_port_serves_for_ever(void)
{
	world.max_connections = 2;
	set_up(0, false);
	for (unsigned i = 1; i < 5000; i++) {
		world.now++;
		CHECK(host_tcp(i, SYN, 5000, 0));
		CHECK(passes(guest_tcp(i, SYN | ACK, 100, 5001)));
		CHECK(host_tcp(i, FIN | ACK, 5001, 101));
		CHECK(passes(guest_tcp(i, FIN | ACK, 101, 5002)));
	}
	CHECK_EQ(connections(), 0);
	CHECK_EQ(world.refused, 0);
	tear_down();
	world.max_connections = 0;
}

static void a_peer_that_is_gone_has_not_said_its_last_word(void)
{
	set_up(0, true);
	connect_to(443);
	CHECK(host_tcp(443, ACK, 6000, 101));
	world.broken = true;
	CHECK(!host_tcp(443, FIN | ACK, 6000, 101));
	CHECK_EQ(world.answered, 1);
	is_reset(world.answer, 6000);
	CHECK_EQ(connections(), 0);
	later(0);
	CHECK_EQ(world.resets, 1);
	is_reset(world.pass, 101);
	/* after the guest's own last word it may be that it has */
	connect_to(444);
	CHECK(passes(guest_tcp(444, FIN | ACK, 101, 5001)));
	CHECK(host_tcp(444, FIN | ACK, 5001, 102));
	tear_down();
}

/* A segment of the guest's with a byte. */
static size_t guest_byte(unsigned port, uint32_t sequence)
{
	size_t len = guest_tcp(port, ACK, sequence, 5001);
	put16(frame + 14 + 2, 20 + 20 + 1);
	frame[len] = 'x';
	return len + 1;
}

/* What libslirp keeps for what is before it takes a whole frame's memory, a byte as much as 32 KiB. */
static void little_waits_for_what_is_before_it(void)
{
	set_up(0, true);
	connect_to(1);
	unsigned taken = 0;
	for (unsigned i = 0; i < 60000; i++)
		taken += passes(guest_byte(1, 102 + i));
	CHECK_EQ(taken, FLOW_WAITING);
	CHECK(passes(guest_byte(1, 101))); /* what all wait for */
	CHECK(!passes(guest_byte(1, 103)));
	CHECK(host_tcp(1, ACK, 5001, 102 + FLOW_WAITING));
	CHECK(passes(guest_byte(1, 102 + FLOW_WAITING + 1)));
	for (unsigned port = 2; port < 100; port++) {
		connect_to(port);
		for (unsigned i = 0; i < 300; i++)
			taken += passes(guest_byte(port, 102 + i));
	}
	CHECK_EQ(taken + 1 - FLOW_WAITING, FLOWS_WAITING);
	CHECK(passes(guest_byte(99, 101)));
	/* what ends makes room */
	CHECK(passes(guest_tcp(2, RST, 101, 0)));
	CHECK(passes(guest_byte(99, 200)));
	tear_down();
}

/* A day's worth: short connections, a tenth of them to peers that never end theirs. */
static void a_hundred_thousand_short_connections_leave_nothing(void)
{
	const unsigned each = 20; /* milliseconds */
	const unsigned kept = CONNECTION_ENDING_MS * 2 / each / 10;
	unsigned asked = 0;
	set_up(0, true);
	for (unsigned i = 0; i < 100000; i++) {
		unsigned port = 1 + i % 60000;
		connect_to(port);
		CHECK(passes(guest_tcp(port, FIN | ACK, 101, 5001)));
		CHECK(host_tcp(port, i % 10 ? FIN | ACK : ACK, 5001, 102));
		world.now += each;
		if (i % 500)
			continue;
		CHECK(connections() <= kept);
		asked = world.answered;
		later(0);
		/* whoever was asked has forgotten it */
		for (unsigned old = 0; world.answered > asked && old <= i; old += 10)
			if (i - old >= CONNECTION_ENDING_MS / each && i - old < 60000)
				(void)passes(guest_tcp(1 + old % 60000, RST, 102, 0));
	}
	CHECK(asked > 0);
	CHECK_EQ(world.refused, 0);
	later(CONNECTION_ENDING_MS);
	for (unsigned port = 1; port <= 60000; port++)
		(void)passes(guest_tcp(port, RST, 102, 0));
	CHECK_EQ(connections(), 0);
	tear_down();
}

/* Datagrams */

static bool sends(unsigned port)
{
	return passes(frame__udp(frame, GUEST4, port, PEER, 53, "", 0));
}

static void datagrams_have_so_many_sockets_and_no_more(void)
{
	set_up(0, true);
	CHECK(sends(9000));
	unsigned talking = world.place;
	for (unsigned i = 0; i < 4000; i++) {
		world.now++;
		CHECK(sends(10000 + i));
		CHECK(comes_back(PEER, 53));
		CHECK(world.socket_count <= DATAGRAMS);
		if (i % 200 == 0) { /* one that goes on talking keeps its socket */
			CHECK(sends(9000));
			CHECK_EQ(world.place, talking);
		}
	}
	CHECK_EQ(world.socket_count, DATAGRAMS);
	CHECK_EQ(gate__counts(world.gate).connections, DATAGRAMS);
	CHECK_EQ(world.refused, 0);
	/* of echo requests each number is one, and the gateway answers itself */
	for (unsigned i = 0; i < 600; i++) {
		size_t len = frame__icmp(frame, GUEST4, PEER, 8);
		put16(frame + 14 + 20 + 4, i);
		CHECK(passes(len));
	}
	CHECK_EQ(world.socket_count, DATAGRAMS);
	/* what is silent for long is closed */
	world.now += DATAGRAMS_SILENT_MS - 1;
	CHECK(sends(9000));
	world.now++;
	CHECK(sends(9001));
	CHECK_EQ(world.socket_count, 2);
	CHECK(passes(frame__icmp(frame, GUEST4, HOST4, 8)));
	CHECK_EQ(world.socket_count, 2);
	/* and a published port has its own */
	CHECK(passes(frame__udp(frame, GUEST4, 53, PEER, 53, "", 0)));
	CHECK_EQ(world.socket_count, 2);
	CHECK(passes(frame__udp(frame, GUEST6, 9000, "2001:db8::1", 53, "", 0)));
	CHECK_EQ(world.socket_count, 3);
	tear_down();
}

static void datagrams_count_as_connections_and_make_room_for_them(void)
{
	world.max_connections = 3;
	set_up(0, true);
	connect_to(1);
	for (unsigned i = 0; i < 5; i++)
		CHECK(sends(9000 + i));
	CHECK_EQ(world.socket_count, 2);
	connect_to(2);
	CHECK_EQ(world.socket_count, 1);
	CHECK(host_tcp(999, SYN, 5000, 0)); /* by a published port */
	CHECK_EQ(world.socket_count, 0);
	is_refused(frame__udp(frame, GUEST4, 9000, PEER, 53, "", 0), "3 connections are open, which is the limit");
	is_refused(guest_tcp(4, SYN, 100, 0), "3 connections are open, which is the limit");
	CHECK(host_tcp(999, RST, 5001, 0));
	CHECK(sends(9000));
	CHECK_EQ(world.socket_count, 1);
	tear_down();
	world.max_connections = 0;
}

/* The last answer is an ICMP error as from `by` about what port 9000 sent to the peer's port 53. */
static void is_error(const char *by, unsigned type, unsigned code)
{
	const uint8_t *ip = world.answer + 14, *icmp = ip + 20, *quoted = icmp + 8, *udp = quoted + 20;
	CHECK(memcmp(ip + 12, at(by).bytes + 12, 4) == 0 && memcmp(ip + 16, at(GUEST4).bytes + 12, 4) == 0);
	CHECK_EQ(icmp[0], type);
	CHECK_EQ(icmp[1], code);
	CHECK_EQ(checksum__end(checksum__add(0, icmp, world.answer_len - 14 - 20)), 0xffff);
	CHECK(quoted[9] == 17 && memcmp(quoted + 12, at(GUEST4).bytes + 12, 4) == 0 &&
	      memcmp(quoted + 16, at(PEER).bytes + 12, 4) == 0);
	CHECK_EQ(udp[0] << 8 | udp[1], 9000);
	CHECK_EQ(udp[2] << 8 | udp[3], 53);
}

static void what_becomes_of_a_datagram_is_told(void)
{
	uint8_t bytes[300] = {0};
	struct datagram_error error = {
		.about = {.from = at(PEER), .port = 53, .bytes = bytes, .len = sizeof(bytes)}, .type = 3, .code = 3};
	set_up(0, true);
	CHECK(sends(9000));
	CHECK(comes_back(PEER, 53));
	CHECK_EQ(world.answer_len, 14 + 28 + 6);
	CHECK(memcmp(world.answer + 14 + 28, "answer", 6) == 0 && memcmp(world.answer, guest_mac, 6) == 0);
	error.by = at(PEER);
	gate__failed(world.gate, world.place, &error);
	is_error(PEER, 3, 3);
	error.by = at("192.0.2.77"); /* a router on the way */
	error.type = 11;
	error.code = 0;
	gate__failed(world.gate, world.place, &error);
	is_error("192.0.2.77", 11, 0);
	/* the first router is the gateway */
	size_t len = frame__udp(frame, GUEST4, 9000, PEER, 53, "", 0);
	frame[14 + 8] = 1;
	CHECK(!passes(len));
	is_error(HOST4, 11, 0);
	world.send_error = -ENETUNREACH;
	CHECK(sends(9000));
	is_error(PEER, 3, 0);
	/* what is about nothing of the guest's, or for the kernel */
	unsigned answered = world.answered;
	error.type = 3;
	error.code = 4;
	gate__failed(world.gate, world.place, &error);
	error.type = 5;
	gate__failed(world.gate, world.place, &error);
	error.by = at("2001:db8::1");
	error.type = 11;
	gate__failed(world.gate, world.place, &error);
	gate__failed(world.gate, world.place + 1, &error);
	CHECK_EQ(world.answered, answered);
	/* an echo's answer has the number that the guest gave */
	uint8_t reply[12] = {0, 0, 1, 2, 0x99, 0x99, 0, 7, 'd', 'a', 't', 'a'};
	const struct datagram echoed = {.from = at(PEER), .bytes = reply, .len = sizeof(reply)};
	world.send_error = 0;
	len = frame__icmp(frame, GUEST4, PEER, 8);
	put16(frame + 14 + 20 + 4, 0x1234);
	CHECK(passes(len));
	gate__received(world.gate, world.place, &echoed);
	const uint8_t *icmp = world.answer + 14 + 20;
	CHECK_EQ(world.answer_len, 14 + 20 + sizeof(reply));
	CHECK(icmp[0] == 0 && icmp[4] == 0x12 && icmp[5] == 0x34 && icmp[7] == 7 && memcmp(icmp + 8, "data", 4) == 0);
	CHECK_EQ(checksum__end(checksum__add(0, icmp, sizeof(reply))), 0xffff);
	reply[0] = 8;
	answered = world.answered;
	gate__received(world.gate, world.place, &echoed);
	CHECK_EQ(world.answered, answered);
	tear_down();
}

/* IPv6 has no room for its own header in the 65,535 bytes that it counts. */
static void no_answer_is_longer_than_a_frame(void)
{
	static const uint8_t bytes[65535 - 8];
	const struct {
		const char *guest, *peer;
		size_t most;
	} families[] = {{GUEST4, PEER, 65535 - 20 - 8}, {GUEST6, "2001:db8::1", 65535 - 40 - 8}};
	set_up(0, true);
	for (unsigned i = 0; i < 2; i++) {
		struct datagram datagram = {.from = at(families[i].peer), .port = 53, .bytes = bytes};
		CHECK(passes(frame__udp(frame, families[i].guest, 9000, families[i].peer, 53, "", 0)));
		unsigned answered = world.answered;
		datagram.len = families[i].most;
		gate__received(world.gate, world.place, &datagram);
		CHECK_EQ(world.answered, answered + 1);
		CHECK_EQ(world.answer_len, PACKET_MAX);
		for (datagram.len++; datagram.len <= sizeof(bytes); datagram.len += 7)
			gate__received(world.gate, world.place, &datagram);
		CHECK_EQ(world.answered, answered + 1);
	}
	tear_down();
}

static void what_needs_no_socket_takes_no_room(void)
{
	world.max_connections = 2;
	set_up(0, true);
	CHECK(sends(9000) && sends(9001));
	/* it gets no further than to the gateway */
	size_t len = frame__udp(frame, GUEST4, 9002, PEER, 53, "", 0);
	frame[14 + 8] = 1;
	CHECK(!passes(len));
	CHECK_EQ(world.socket_count, 2);
	CHECK(world.sockets[0] && world.sockets[1]);
	tear_down();
	/* one that cannot be sent is no connection; one that could be before stays */
	world.max_connections = 2;
	set_up(0, true);
	CHECK(sends(9000));
	world.send_error = -EACCES;
	CHECK(sends(9001) && sends(9002) && sends(9000));
	CHECK_EQ(world.socket_count, 1);
	CHECK_EQ(gate__counts(world.gate).connections, 1);
	tear_down();
	world.max_connections = 0;
}

static void the_gateway_is_the_hosts_loopback_for_datagrams_too(void)
{
	rules[0] = by_network(true, HOST4, 0);
	set_up_with(1, false, true);
	CHECK(passes(frame__udp(frame, GUEST4, 9000, HOST4, 53, "", 0)));
	const struct address loopback = at("127.0.0.1");
	CHECK(address__equal(&world.sent_to, &loopback));
	CHECK(comes_back("127.0.0.1", 53));
	CHECK(memcmp(world.answer + 14 + 12, at(HOST4).bytes + 12, 4) == 0);
	CHECK(!comes_back(PEER, 53));
	tear_down();
}

/* What a place is told to be */

static struct egress_verdict ask_for(const char *place, unsigned port)
{
	struct address address = at(place);
	return egress__to_address(&world.egress, POLICY_TCP, &address, (uint16_t)port, world.now);
}

static void a_verdict_says_whose_it_is(void)
{
	rules[0] = by_name(false, "bad.example.org", 0);
	rules[1] = by_name(true, "*.example.org", 443);
	rules[2] = by_network(true, "0.0.0.0/0", 8080);
	set_up(3, false);
	struct egress_verdict verdict = egress__to_name(&world.egress, POLICY_TCP, "a.example.org", 443);
	unsigned count;
	const struct policy_rule *in_force = policy__rules(world.policy, &count);
	CHECK(!verdict.why && verdict.rule == in_force + 1);
	verdict = egress__to_name(&world.egress, POLICY_TCP, "a.example.org", 80);
	CHECK(verdict.why && verdict.rule == policy__otherwise(world.policy) && !verdict.question);
	verdict = egress__to_name(&world.egress, POLICY_TCP, "a.example.org", 8080);
	CHECK(!verdict.why && verdict.rule == in_force + 2);
	verdict = egress__to_name(&world.egress, POLICY_TCP, "bad.example.org", 443);
	CHECK(verdict.why && verdict.rule == in_force && verdict.question);
	verdict = egress__to_name(&world.egress, POLICY_TCP, "example.com", 8080);
	CHECK(verdict.why && verdict.rule == policy__otherwise(world.policy) && verdict.question);
	CHECK(ask_for("203.0.113.1", 8080).rule == in_force + 2);
	CHECK(ask_for("127.0.0.1", 8080).rule == NULL && ask_for("127.0.0.1", 8080).why);
	CHECK(ask_for("10.0.2.2", 8080).rule == NULL && ask_for("10.0.2.2", 8080).why);
	tear_down();
}

/* Names */

static void be_name_server(void)
{
	struct sockaddr_storage to;
	struct address address = at(SERVER);
	socklen_t len = address__socket(&address, 53, &to);
	world.server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK(world.server >= 0);
	if (bind(world.server, (struct sockaddr *)&to, len) < 0)
		SKIP("port 53 of 127.0.53.53 cannot be bound here");
}

static void ask(const char *name, unsigned id)
{
	size_t len = dns_message(message, id, name, NULL);
	CHECK(!passes(frame__udp(frame, GUEST4, 5000, NAMES4, 53, message, len)));
}

/* What the resolver has asked the server, answered with `address`; with `id` instead of the query's where that is not
 * 0.
 */
static void serve(const char *name, const char *address, unsigned id)
{
	struct sockaddr_storage from;
	socklen_t from_len = sizeof(from);
	struct pollfd p = {.fd = world.server, .events = POLLIN};
	CHECK_EQ(poll(&p, 1, 5000), 1);
	ssize_t n = recvfrom(world.server, message, sizeof(message), 0, (struct sockaddr *)&from, &from_len);
	struct dns_question question;
	CHECK(n > 0 && dns__question(message, (size_t)n, false, &question));
	CHECK_STR(question.name, name);
	size_t len = dns_message(message, id ? id : dns__id(message), name, address);
	CHECK(sendto(world.server, message, len, 0, (struct sockaddr *)&from, from_len) == (ssize_t)len);
}

static void give_up(void *arg)
{
	loop__stop(arg);
}

static void run_until_answered(unsigned answers)
{
	uint64_t timer;
	world.stop_after = world.answered + answers;
	CHECK_EQ(loop__timer(world.loop, 20000, give_up, world.loop, &timer), 0);
	CHECK_EQ(loop__run(world.loop), 0);
	CHECK_EQ(world.answered, world.stop_after);
}

static unsigned rcode(void)
{
	return world.answer[14 + 28 + 3] & 15;
}

static void what_is_denied_is_not_mended_by_allowing_it(void)
{
	rules[0] = by_network(false, "203.0.113.0/24", 0);
	rules[1] = by_name(false, "denied.example", 0);
	rules[0].text = "203.0.113.0/24";
	rules[1].text = "denied.example";
	set_up(2, false);
	be_name_server();
	is_refused(frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN), "a rule denies it");
	CHECK_STR(world.last.allow, ""); /* one more that allows it would come too late */
	ask("denied.example", 1);
	CHECK_EQ(rcode(), 5);
	CHECK_STR(world.last.allow, "");
	ask("other.example", 2);
	CHECK_STR(world.last.allow, "other.example");
	tear_down();
}

static void a_name_that_is_allowed_leads_to_its_address(void)
{
	rules[0] = by_name(true, "registry.example", 443);
	set_up(1, false);
	be_name_server();
	is_refused(frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN), "no allowed name has led there");
	ask("Registry.Example", 77);
	serve("registry.example", "203.0.113.1", 0);
	run_until_answered(1);
	const uint8_t *dns = world.answer + 14 + 28;
	CHECK_EQ(dns__id(dns), 77);
	CHECK_EQ(rcode(), 0);
	CHECK(memcmp(world.answer + 14 + 16, at(GUEST4).bytes + 12, 4) == 0);
	CHECK_EQ(world.answer[14 + 20 + 2] << 8 | world.answer[14 + 20 + 3], 5000);
	CHECK(passes(frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN)));
	is_refused(frame__tcp(frame, GUEST4, "203.0.113.1", 80, SYN), "no rule allows it");
	CHECK_STR(world.last.allow, "registry.example:80");
	CHECK_STR(world.name, "registry.example");
	is_refused(frame__tcp(frame, GUEST4, "203.0.113.2", 443, SYN), "no rule allows it");
	/* while it is used it lasts; then it does not */
	for (unsigned i = 0; i < 10; i++) {
		world.now += HOUR_MS - 100000;
		CHECK(passes(frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN)));
	}
	/* a connection that was open for long was in use until it ended */
	world.now += 5 * HOUR_MS;
	passes(frame__tcp(frame, GUEST4, "203.0.113.1", 443, FIN | ACK));
	world.now += HOUR_MS;
	CHECK(passes(frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN)));
	world.now += HOUR_MS;
	is_refused(frame__tcp(frame, GUEST4, "203.0.113.1", 443, SYN), "has to look the name up again");
	CHECK_STR(world.last.allow, "");
	is_refused(frame__tcp(frame, GUEST4, "203.0.113.1", 80, SYN), "no rule allows it");
	CHECK_STR(world.last.allow, "registry.example:80");
	tear_down();
}

static void other_names_are_not_even_asked_for(void)
{
	rules[0] = by_name(false, "bad.example.org", 0);
	rules[1] = by_name(true, "*.example.org", 443);
	set_up(2, false);
	be_name_server();
	static const char *const names[] = {"example.com", "example.org", "xexample.org", "bad.example.org",
					    "secret-data.attacker.test"};
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		unsigned before = world.answered;
		ask(names[i], i);
		CHECK_EQ(world.answered, before + 1);
		CHECK_EQ(rcode(), 5);
		CHECK_STR(world.name, names[i]);
		CHECK_STR(world.last.protocol, "dns");
	}
	CHECK_EQ(recv(world.server, message, sizeof(message), MSG_DONTWAIT), -1);
	ask("a.b.example.org", 9);
	serve("a.b.example.org", "2001:db8::1", 0);
	run_until_answered(1);
	tear_down();
}

static void a_tunnel_in_names_is_narrow(void)
{
	static char label[64], tunnel[160], exact[160];
	memset(label, 'a', 63);
	snprintf(tunnel, sizeof(tunnel), "%s.%s.example.org", label, label);
	snprintf(exact, sizeof(exact), "%s.%s.example.net", label, label);
	rules[0] = by_name(true, "*.example.org", 443);
	rules[1] = by_name(true, exact, 443);
	set_up(2, false);
	be_name_server();
	ask(tunnel, 1);
	CHECK_EQ(rcode(), 5);
	CHECK(strstr(world.last.why, "more than 128 bytes") != NULL);
	CHECK_STR(world.last.allow, tunnel);
	ask(tunnel + 20, 2);
	serve(tunnel + 20, "203.0.113.1", 0);
	ask(exact, 3);
	serve(exact, "203.0.113.1", 0);
	run_until_answered(2);
	/* the one was asked for already; RESOLVER_BURST at once, then RESOLVER_RATE a second */
	unsigned refused = world.refused, answered = world.answered;
	for (unsigned i = 1; i < RESOLVER_BURST; i++)
		ask("a.example.org", i);
	CHECK_EQ(world.answered, answered);
	ask("a.example.org", RESOLVER_BURST);
	CHECK_EQ(world.answered, answered + 1);
	CHECK_EQ(world.refused, refused + 1);
	CHECK(strstr(world.last.why, "more than 50 names a second") != NULL);
	ask(exact, 5);
	CHECK_EQ(world.answered, answered + 1);
	world.now += 1000;
	for (unsigned i = 0; i < RESOLVER_RATE; i++)
		ask("a.example.org", RESOLVER_BURST + 1 + i);
	CHECK_EQ(world.answered, answered + 1);
	ask("a.example.org", 9999);
	CHECK_EQ(world.answered, answered + 2);
	tear_down();
}

static void what_a_rule_tells_of_is_told(void)
{
	struct address address = at(PEER);
	rules[0] = by_name(true, "*", 443);
	rules[0].log = true;
	rules[1] = by_network(true, "10.0.0.0/8", 0);
	rules[1].log = true;
	rules[2] = by_network(true, "0.0.0.0/0", 0);
	set_up(3, false);
	CHECK(policy__learn(world.policy, "one.example", &address, 60, world.now));
	CHECK(passes(frame__tcp(frame, GUEST4, PEER, 443, SYN)));
	CHECK_EQ(world.told, 1);
	CHECK(world.last.why == NULL && !world.last.inside);
	CHECK_STR(world.name, "one.example");
	CHECK_STR(world.last.allow, "one.example:443");
	CHECK(passes(frame__tcp(frame, GUEST4, PEER, 443, SYN)));
	CHECK(passes(frame__tcp(frame, GUEST4, PEER, 80, SYN)));
	CHECK_EQ(world.told, 1);
	CHECK(passes(frame__udp(frame, GUEST4, 5000, "10.1.2.3", 53, "", 0)));
	CHECK_EQ(world.told, 2);
	CHECK_STR(world.last.allow, "10.1.2.3:53/udp");
	CHECK(world.last.inside);
	/* of another name at the same place */
	world.now += 1;
	CHECK(policy__learn(world.policy, "two.example", &address, 60, world.now));
	CHECK(passes(frame__tcp(frame, GUEST4, PEER, 443, SYN)));
	CHECK_EQ(world.told, 3);
	CHECK_STR(world.last.allow, "two.example:443");
	ask("three.example", 1);
	CHECK_EQ(world.told, 4);
	CHECK_STR(world.last.protocol, "dns");
	CHECK_STR(world.name, "three.example");
	CHECK_EQ(world.refused, 0);
	/* when that is too much it is told */
	for (unsigned port = 1; port < 1200; port++)
		CHECK(passes(frame__udp(frame, GUEST4, 5000, "10.1.2.3", port, "", 0)));
	CHECK_EQ(world.told, 999);
	CHECK_EQ(world.refused, 1);
	CHECK_STR(world.last.why, "so much was let through that the rest is not told for up to ten seconds");
	tear_down();
}

/* Addresses of IPv6 that carry one of IPv4 */

static const char *const carriers[] = {
	"64:ff9b::a00:1",          "64:ff9b:1::a00:1",         "64:ff9b:1:fffe::a00:1", "64:ff9b:1:a00:0:100::",
	"64:ff9b:1:120a:0:1::",    "64:ff9b:1:1234:a:0:100:0", "2002:a00:1::5",         "2001:0:cb00:7101::f5ff:fffe",
	"2001:0:a00:1::34ff:8efe", "::ffff:0:a00:1",           "2001:db8::5efe:a00:1",  "2001:db8::200:5efe:a00:1",
};

static void what_carries_an_address_is_what_it_carries_as_well(void)
{
	for (unsigned i = 0; i < sizeof(carriers) / sizeof(carriers[0]); i++) {
		rules[0] = by_network(false, "10.0.0.0/8", 0);
		rules[1] = by_network(true, "::/0", 0);
		rules[2] = by_network(true, "0.0.0.0/0", 0);
		set_up(3, false);
		is_refused(frame__tcp(frame, GUEST6, carriers[i], 443, SYN), "a rule denies it");
		is_refused(frame__udp(frame, GUEST6, 5000, carriers[i], 443, "", 0), "a rule denies it");
		tear_down();
		rules[3] = rules[1];
		set_up(0, true);
		CHECK_EQ(policy__replace(world.policy, rules + 3, 1, false), 0);
		is_refused(frame__tcp(frame, GUEST6, carriers[i], 443, SYN), "no rule allows it");
		CHECK(!strchr(world.last.allow, '[')); /* it is for one of IPv4 that is missing */
		CHECK_EQ(policy__replace(world.policy, rules + 1, 2, false), 0);
		CHECK(passes(frame__tcp(frame, GUEST6, carriers[i], 443, SYN)));
		/* and of this machine when that is */
		rules[1].own = rules[2].own = true;
		rules[1].allow = rules[2].allow = false;
		CHECK_EQ(policy__replace(world.policy, rules + 1, 2, true), 0);
		CHECK(passes(frame__tcp(frame, GUEST6, carriers[i], 80, SYN)));
		world.own[0] = at("10.0.0.1");
		is_refused(frame__tcp(frame, GUEST6, carriers[i], 443, SYN), "a rule denies it");
		tear_down();
	}
	rules[0] = by_network(false, "10.0.0.0/8", 0);
	set_up(1, true);
	CHECK(passes(frame__tcp(frame, GUEST6, "2001:db8::a00:1", 443, SYN)));
	CHECK(passes(frame__tcp(frame, GUEST6, "64:ff9b::cb00:7101", 443, SYN)));
	CHECK(passes(frame__tcp(frame, GUEST6, "64:ff9b:1::cb00:7101", 443, SYN)));
	tear_down();
}

/* A network without IPv4 of its own: its name server makes addresses of IPv6 that its router turns back (RFC 6147). */
static void a_name_leads_through_nat64_as_it_does_without(void)
{
	rules[0] = by_name(true, "registry.example", 443);
	rules[1] = by_network(false, "203.0.113.9", 0);
	rules[2] = by_network(true, "0.0.0.0/0", 8080);
	const struct address there = at("64:ff9b::cb00:7101");
	set_up(3, false);
	CHECK(policy__learn(world.policy, "registry.example", &there, 60, world.now));
	CHECK(passes(frame__tcp(frame, GUEST6, "64:ff9b::cb00:7101", 443, SYN)));
	is_refused(frame__tcp(frame, GUEST6, "64:ff9b::cb00:7101", 80, SYN), "no rule allows it");
	CHECK_STR(world.last.allow, "registry.example:80");
	is_refused(frame__tcp(frame, GUEST6, "64:ff9b::cb00:7109", 443, SYN), "no rule allows it");
	is_refused(frame__tcp(frame, GUEST6, "64:ff9b::cb00:7102", 8080, SYN), "no rule allows it");
	tear_down();
}

/* Services: names that lead to Unix sockets of the host */

static void add_service(const char *name, const char *address, uint16_t port)
{
	static struct service services[SERVICES];
	world.egress.services.at = services;
	services[world.egress.services.count++] =
		(struct service){.name = name, .address = at(address), .port = port, .socket = "/run/it"};
}

/* The answer's first address, "" without one. */
static const char *answered_address(void)
{
	static char text[ADDRESS_TEXT];
	const uint8_t *dns = world.answer + 14 + 28;
	struct dns_question question;
	CHECK(dns__question(dns, world.answer_len - 14 - 28, true, &question));
	if (!dns[7])
		return "";
	struct address address = address__from4(dns + question.len + 12);
	CHECK_EQ(world.answer_len, 14 + 28 + question.len + DNS_ANSWER_MAX - 12);
	return address__print(&address, text);
}

static void a_service_is_reached_by_its_name_at_its_ports(void)
{
	rules[0] = by_name(true, "api.example", 443);
	rules[1] = by_name(true, "api.example", 8443);
	set_up(2, false);
	add_service("api.example", "10.0.2.64", 443);
	add_service("api.example", "10.0.2.64", 8443);
	unsigned answers = world.answered;
	ask("API.example", 7); /* nobody is asked for it: there is no server here */
	CHECK_EQ(world.answered, answers + 1);
	CHECK_EQ(dns__id(world.answer + 14 + 28), 7);
	CHECK_EQ(rcode(), 0);
	CHECK_STR(answered_address(), "10.0.2.64");
	size_t len = dns_message(message, 8, "api.example", NULL);
	message[len - 3] = 28; /* AAAA: there is none */
	CHECK(!passes(frame__udp(frame, GUEST4, 5000, NAMES4, 53, message, len)));
	CHECK_EQ(world.answered, answers + 2);
	CHECK_EQ(rcode(), 0);
	CHECK_STR(answered_address(), "");
	CHECK(passes(frame__tcp(frame, GUEST4, "10.0.2.64", 443, SYN)));
	CHECK(passes(frame__tcp(frame, GUEST4, "10.0.2.64", 8443, SYN)));
	is_refused(frame__tcp(frame, GUEST4, "10.0.2.64", 22, SYN), "secret's port only");
	CHECK_STR(world.name, "api.example");
	CHECK_STR(world.last.allow, "");
	is_refused(frame__udp(frame, GUEST4, 5000, "10.0.2.64", 443, "quic", 4), "secret's port only");
	is_refused(frame__tcp(frame, GUEST4, "10.0.2.65", 443, SYN), "there is nothing at this address");
	CHECK(!egress__to_name(&world.egress, POLICY_TCP, "api.example", 443).why);
	CHECK(egress__to_name(&world.egress, POLICY_TCP, "api.example", 22).why);
	tear_down();
}

static void connect_to_service(const char *address)
{
	CHECK(passes(frame__tcp(frame, GUEST4, address, 443, SYN)));
	size_t len = frame__tcp(frame, address, GUEST4, 40000, SYN | ACK);
	put16(frame + 14 + 20, 443);
	CHECK(gate__to_guest(world.gate, frame, len, SOCKET));
	CHECK(passes(frame__tcp(frame, GUEST4, address, 443, ACK)));
}

static void rules_for_its_name_decide_about_a_service(void)
{
	rules[0] = by_name(false, "api.example", 443);
	rules[1] = by_network(true, "0.0.0.0/0", 0);
	rules[2] = by_name(true, "*.example", 0);
	rules[2].log = true;
	set_up(2, true);
	add_service("api.example", "10.0.2.64", 443);
	is_refused(frame__tcp(frame, GUEST4, "10.0.2.64", 443, SYN), "a rule denies it");
	CHECK_EQ(policy__replace(world.policy, rules + 1, 2, false), 0);
	connect_to_service("10.0.2.64");
	unsigned answers = world.answered, passed = world.passed;
	CHECK_EQ(policy__replace(world.policy, rules + 2, 1, false), 0);
	gate__recheck(world.gate);
	CHECK_EQ(world.answered, answers); /* it may stay */
	CHECK_EQ(policy__replace(world.policy, rules, 1, false), 0);
	gate__recheck(world.gate);
	CHECK_EQ(world.answered, answers + 1); /* both sides are reset */
	CHECK_EQ(world.passed, passed + 1);
	/* a name that may not be asked for is not answered */
	CHECK_EQ(policy__replace(world.policy, rules, 0, false), 0);
	ask("api.example", 9);
	CHECK_EQ(rcode(), 5);
	tear_down();
}

static void a_name_does_not_lead_inside(void)
{
	static const char *const places[] = {
		"127.0.0.1", "10.1.2.3", "192.168.1.1", "172.20.0.1", "169.254.169.254", "100.64.0.1",
		"::1",       "fe80::1",  "fd00::1",     "0.0.0.0",    "64:ff9b::a00:1",  "2002:a9fe:a9fe::1"};
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		rules[0] = by_name(true, "*", 0);
		rules[1] = by_network(true, "10.9.0.0/16", 443);
		set_up(2, false);
		be_name_server();
		ask("rebind.example", 5);
		serve("rebind.example", places[i], 0);
		run_until_answered(1);
		CHECK_EQ(rcode(), 5);
		CHECK_EQ(world.refused, 1);
		CHECK_STR(world.last.address, places[i]);
		CHECK(!passes(frame__tcp(frame, strchr(places[i], ':') ? GUEST6 : GUEST4, places[i], 443, SYN)));
		tear_down();
	}
	/* unless the address is allowed as one */
	rules[1] = by_network(true, "10.1.2.3", 443);
	set_up(2, false);
	be_name_server();
	ask("inside.example", 5);
	serve("inside.example", "10.1.2.3", 0);
	run_until_answered(1);
	CHECK_EQ(rcode(), 0);
	CHECK(passes(frame__tcp(frame, GUEST4, "10.1.2.3", 443, SYN)));
	tear_down();
}

static void addresses_are_told_apart(void)
{
	static const char *const inside[] = {"127.1.2.3", "10.0.0.1", "169.254.1.1", "::1",
					     "fe80::1",   "fd00::1",  "ff02::1",     "64:ff9b::a00:1"};
	static const char *const outside[] = {"203.0.113.1", "172.32.0.1", "100.128.0.1", "2001:db8::1",
					      "64:ff9b::cb00:7101"};
	for (unsigned i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
		struct address address = at(inside[i]);
		CHECK(address__is_inside(&address));
	}
	for (unsigned i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		struct address address = at(outside[i]);
		CHECK(!address__is_inside(&address));
	}
	struct network network;
	static const char *const wrong[] = {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/ 8", "::/129", "10.0.0/8", "a/8"};
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_EQ(network__parse(wrong[i], &network), -EINVAL);
	CHECK_EQ(network__parse("10.128.0.0/9", &network), 0);
	struct address in = at("10.200.0.1"), out = at("10.100.0.1");
	CHECK(network__holds(&network, &in) && !network__holds(&network, &out));
	CHECK_EQ(network__parse("0.0.0.0/0", &network), 0);
	struct address six = at("2001:db8::1");
	CHECK(network__holds(&network, &out) && !network__holds(&network, &six));
	CHECK_EQ(network__parse("::/0", &network), 0);
	CHECK(network__holds(&network, &six) && !network__holds(&network, &out));
	CHECK_EQ(network__parse("::ffff:10.0.0.0/104", &network), 0);
	CHECK(network__holds(&network, &in) && !network__holds(&network, &six));
}

static void an_answer_that_was_not_asked_for_is_ignored(void)
{
	set_up(0, true);
	be_name_server();
	ask("one.example", 5);
	struct sockaddr_storage from;
	socklen_t from_len = sizeof(from);
	ssize_t n = recvfrom(world.server, message, sizeof(message), 0, (struct sockaddr *)&from, &from_len);
	CHECK(n > 0);
	unsigned id = dns__id(message);
	/* of another number, for another name, no message at all */
	size_t len = dns_message(message, id ^ 1, "one.example", "203.0.113.66");
	CHECK(sendto(world.server, message, len, 0, (struct sockaddr *)&from, from_len) > 0);
	len = dns_message(message, id, "two.example", "203.0.113.66");
	CHECK(sendto(world.server, message, len, 0, (struct sockaddr *)&from, from_len) > 0);
	CHECK(sendto(world.server, message, 5, 0, (struct sockaddr *)&from, from_len) > 0);
	len = dns_message(message, id, "one.example", "203.0.113.1");
	CHECK(sendto(world.server, message, len, 0, (struct sockaddr *)&from, from_len) > 0);
	run_until_answered(1);
	struct address right = at("203.0.113.1"), wrong = at("203.0.113.66");
	CHECK_STR(policy__name_of(world.policy, &right), "one.example");
	CHECK(policy__name_of(world.policy, &wrong) == NULL);
	tear_down();
}

/* The guest's TCP connection to its name server ends in the monitor, whatever the rules; other rules leave it alone. */
static void names_can_be_asked_for_by_tcp(void)
{
	uint8_t answer[64];
	set_up(0, false);
	CHECK(passes(frame__tcp(frame, GUEST4, NAMES4, 53, SYN)));
	CHECK_EQ(policy__replace(world.policy, rules, 0, false), 0);
	unsigned answered = world.answered;
	gate__recheck(world.gate);
	CHECK_EQ(world.answered, answered);
	int fd = gate__open_name_stream(world.gate);
	CHECK(fd >= 0);
	size_t len = dns_message(message + 2, 9, "one.example", NULL);
	put16(message, (unsigned)len);
	CHECK_EQ(send(fd, message, len + 2, MSG_NOSIGNAL), (ssize_t)len + 2);
	uint64_t timer;
	CHECK_EQ(loop__timer(world.loop, 50, give_up, world.loop, &timer), 0);
	CHECK_EQ(loop__run(world.loop), 0);
	CHECK_EQ(recv(fd, answer, sizeof(answer), MSG_DONTWAIT), (ssize_t)len + 2);
	CHECK_EQ(dns__id(answer + 2), 9);
	CHECK_EQ(dns__code(answer + 2), DNS_REFUSED);
	CHECK_STR(world.name, "one.example");
	close(fd);
	tear_down();
}

/* The rcode of what has just been asked, in a message of that many bytes. */
static unsigned code_of(size_t len)
{
	unsigned answered = world.answered;
	world.now += 20000;
	CHECK(!passes(frame__udp(frame, GUEST4, 5000, NAMES4, 53, message, len)));
	CHECK_EQ(world.answered, answered + 1);
	return rcode();
}

static void every_query_is_answered_and_nothing_else(void)
{
	set_up(0, false);
	be_name_server();
	size_t len = dns_message(message, 1, "one.example", NULL);
	for (size_t i = 0; i < DNS_HEADER; i++)
		CHECK(!passes(frame__udp(frame, GUEST4, 5000, NAMES4, 53, message, i)));
	len = dns_message(message, 1, "one.example", "1.2.3.4"); /* an answer */
	CHECK(!passes(frame__udp(frame, GUEST4, 5000, NAMES4, 53, message, len)));
	CHECK_EQ(world.answered, 0);
	len = dns_message(message, 1, "one.example", NULL);
	CHECK_EQ(code_of(len - 1), DNS_BROKEN_QUERY);
	put16(message + 4, 2); /* questions */
	CHECK_EQ(code_of(len), DNS_BROKEN_QUERY);
	put16(message + 4, 0);
	CHECK_EQ(code_of(len), DNS_BROKEN_QUERY);
	len = dns_message(message, 1, "one.example", NULL);
	message[2] |= 5 << 3; /* an update */
	CHECK_EQ(code_of(len), DNS_NOT_IMPLEMENTED);
	len = dns_message(message, 1, "one.example", NULL);
	put16(message + len - 4, 252); /* a transfer of the zone */
	CHECK_EQ(code_of(len), DNS_NOT_IMPLEMENTED);
	CHECK_EQ(world.refused, 0);
	/* names of other bytes are names, and no others than they are */
	len = dns_message(message, 1, "a\n \xc3\xa9.example", NULL);
	CHECK_EQ(code_of(len), DNS_REFUSED);
	CHECK_STR(world.name, "a\\010\\032\\195\\169.example");
	CHECK_STR(world.last.allow, "");
	len = dns_message(message, 1, "bad.example", NULL);
	message[12 + 4] = '.'; /* one label of the whole, "bad.example" */
	message[12] = 11;
	CHECK_EQ(code_of(len), DNS_REFUSED);
	CHECK_STR(world.name, "bad\\046example");
	CHECK_EQ(recv(world.server, message, sizeof(message), MSG_DONTWAIT), -1);
	tear_down();
	set_up(0, true);
	be_name_server();
	/* many at once push the oldest out, and nothing else */
	for (unsigned i = 0; i < 3 * RESOLVER_OPEN; i++)
		ask("one.example", i);
	tear_down();
}

int main(void)
{
	CASE(everything_passes_where_nothing_is_denied);
	CASE(the_first_rule_that_matches_decides);
	CASE(a_refusal_is_answered);
	CASE(forged_senders_are_dropped);
	CASE(fragments_options_and_strange_protocols_are_dropped);
	CASE(what_is_cut_short_is_dropped);
	CASE(what_is_local_is_never_reached);
	CASE(the_hosts_loopback_is_for_the_policy_where_it_is_open);
	CASE(the_hosts_own_addresses_are_those_that_it_has_now);
	CASE(a_refusal_is_told_once_and_a_scan_does_not_fill_the_log);
	CASE(only_those_that_could_be_asked_may_answer);
	CASE(segments_of_no_connection_do_not_pass);
	CASE(a_connection_ends_with_both_its_sides_or_with_a_reset);
	CASE(what_a_published_port_lets_in_is_answered);
	CASE(other_rules_cut_what_they_do_not_allow);
	CASE(other_rules_hold_for_what_names_have_led_to);
	CASE(there_is_a_limit_to_connections);
	CASE(what_the_guest_has_forgotten_after_its_last_word_is_over);
	CASE(what_the_guest_said_last_is_given_first);
	CASE(a_connection_that_is_idle_is_asked_for);
	CASE(what_never_opened_is_over);
	CASE(a_port_may_be_used_again);
	CASE(whoever_knocks_at_a_published_port_in_vain_hears_so);
	CASE(a_published_port_serves_for_ever);
	CASE(a_peer_that_is_gone_has_not_said_its_last_word);
	CASE(little_waits_for_what_is_before_it);
	CASE(a_hundred_thousand_short_connections_leave_nothing);
	CASE(datagrams_have_so_many_sockets_and_no_more);
	CASE(datagrams_count_as_connections_and_make_room_for_them);
	CASE(what_becomes_of_a_datagram_is_told);
	CASE(no_answer_is_longer_than_a_frame);
	CASE(what_needs_no_socket_takes_no_room);
	CASE(the_gateway_is_the_hosts_loopback_for_datagrams_too);
	CASE(a_verdict_says_whose_it_is);
	CASE(addresses_are_told_apart);
	CASE(a_name_that_is_allowed_leads_to_its_address);
	CASE(other_names_are_not_even_asked_for);
	CASE(a_service_is_reached_by_its_name_at_its_ports);
	CASE(rules_for_its_name_decide_about_a_service);
	CASE(what_carries_an_address_is_what_it_carries_as_well);
	CASE(a_name_leads_through_nat64_as_it_does_without);
	CASE(a_name_does_not_lead_inside);
	CASE(a_tunnel_in_names_is_narrow);
	CASE(what_a_rule_tells_of_is_told);
	CASE(an_answer_that_was_not_asked_for_is_ignored);
	CASE(names_can_be_asked_for_by_tcp);
	CASE(every_query_is_answered_and_nothing_else);
	CASE(what_is_denied_is_not_mended_by_allowing_it);
	return check__done();
}
