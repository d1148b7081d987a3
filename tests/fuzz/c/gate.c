/* Fuzzes the gate: frames of a hostile guest and of a hostile network, and the DNS messages in them. What passes must
 * be what the policy lets pass. */
#include "net/gate.h"

#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "net/dns.h"

#define FRAMES 64 /* a bound for inputs that are long */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct net_addresses known;
static struct policy_rule rules[4];
static struct policy *policy;
static uint64_t clock_ms = 1;

static uint64_t now(void)
{
	return clock_ms;
}

static struct address at(const char *text)
{
	struct address address;
	require(address__parse(text, &address) == 0);
	return address;
}

/* From the guest's address, whole, and where a rule lets it go or nothing begins. */
#define SERVICE "api.example"

static void require_allowed(enum policy_protocol protocol, const struct packet *packet)
{
	struct address plain[ADDRESS_PLAIN], about;
	require(!address__is_local(&packet->destination));
	require(policy__match(policy, protocol, &packet->destination, packet->destination_port, clock_ms, &about)
			->allow);
	for (unsigned i = address__plain(&packet->destination, plain); i > 0; i--)
		require(!address__is_local(&plain[i - 1]));
}

static void require_passable(const uint8_t *frame, size_t len)
{
	struct packet packet;
	require(packet__parse(frame, len, &packet) == NULL);
	require(!packet.fragment && memcmp(packet.from_mac, known.mac, PACKET_MAC) == 0);
	if (packet.kind == PACKET_ARP || packet.kind == PACKET_NEIGHBOUR ||
	    (packet.kind == PACKET_TCP && !packet.opens))
		return;
	if (packet.kind == PACKET_UDP) {
		require(packet.source_port == 68 || packet.source_port == 53); /* DHCP; a published port */
		return;
	}
	if (packet.kind == PACKET_ECHO) {
		require(egress__is(&packet.destination, known.host));
		return;
	}
	const struct address service = at("10.0.2.64"), names = at("10.0.2.3");
	if (address__equal(&packet.destination, &names) && packet.destination_port == 53)
		return;
	if (address__equal(&packet.destination, &service)) {
		require(packet.destination_port == 443);
		require(policy__match_name(policy, POLICY_TCP, SERVICE, 443)->allow);
		return;
	}
	require_allowed(POLICY_TCP, &packet);
}

static int on_pass(void *arg, const uint8_t *frame, size_t len)
{
	(void)arg;
	require_passable(frame, len);
	return (int)len;
}

static void on_reset(void *arg, const uint8_t *frame, size_t len)
{
	struct packet packet;
	(void)arg;
	require_passable(frame, len);
	require(packet__parse(frame, len, &packet) == NULL && packet.kind == PACKET_TCP && !packet.opens);
}

static bool is_odd(void *arg, int socket)
{
	(void)arg;
	return socket & 1;
}

static bool sockets[DATAGRAMS];

static int on_send(void *arg, unsigned place, const struct packet *packet, const struct address *to)
{
	(void)arg;
	require(place < DATAGRAMS && (packet->kind == PACKET_UDP || packet->kind == PACKET_ECHO));
	require(address__equal(to, &packet->destination) && packet->hops > 1);
	require_allowed(packet->kind == PACKET_UDP ? POLICY_UDP : POLICY_ICMP, packet);
	sockets[place] = true;
	return place % 8 == 7 ? -1 : 0;
}

static void on_hang_up(void *arg, unsigned place)
{
	(void)arg;
	require(place < DATAGRAMS && sockets[place]);
	sockets[place] = false;
}

/* What comes by a socket: a byte which, a byte for the address, two for the port or an error's type and code, the rest.
 */
static void come_back(struct gate *gate, const uint8_t *bytes, size_t len)
{
	if (len < 4 || !sockets[bytes[0]])
		return;
	struct address from = at(bytes[1] & 1 ? "2001:db8::" : "203.0.113.0");
	from.bytes[15] = bytes[1];
	const struct datagram datagram = {from, (uint16_t)(bytes[2] << 8 | bytes[3]), bytes + 4, len - 4};
	const struct datagram_error error = {datagram, from, bytes[2], bytes[3]};
	if (bytes[1] & 2)
		gate__received(gate, bytes[0], &datagram);
	else
		gate__failed(gate, bytes[0], &error);
}

static void on_answer(void *arg, const uint8_t *frame, size_t len)
{
	(void)arg;
	require(len > 14 && len <= PACKET_MAX && memcmp(frame, known.mac, PACKET_MAC) == 0);
}

static void on_notice(void *arg, const struct gate_notice *notice)
{
	(void)arg;
	require(strlen(notice->allow) < sizeof(notice->allow));
	if (notice->name)
		require(strspn(notice->name, "abcdefghijklmnopqrstuvwxyz0123456789-_.\\") == strlen(notice->name));
}

static bool is_own(void *arg, const struct address *address, bool fresh, uint64_t when)
{
	(void)arg, (void)address, (void)fresh, (void)when;
	return false;
}

static bool learn(void *arg, const struct address *address, uint32_t ttl)
{
	const struct dns_question *question = arg;
	if (policy__learn(policy, question->name, address, ttl, clock_ms))
		require(!address__is_local(address));
	return true;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	known = (struct net_addresses){
		.mac = {2, 0x63, 0x61, 0x70, 0x73, 0x61},
		.guest = {at("10.0.2.15"), at("fd63:6170:7361::15")},
		.host = {at("10.0.2.2"), at("fd63:6170:7361::2")},
		.name_server = {at("10.0.2.3"), at("fd63:6170:7361::3")},
		.network = {{at("10.0.2.0"), 120}, {at("fd63:6170:7361::"), 64}},
	};
	rules[0] = (struct policy_rule){.name = "bad.example", .last_port = 65535};
	rules[1] = (struct policy_rule){.allow = true, .name = "*.example", .first_port = 443, .last_port = 443};
	rules[2] = (struct policy_rule){.allow = true, .network = {at("203.0.113.0"), 120}, .last_port = 1023};
	rules[3] = (struct policy_rule){.allow = true,
					.log = true,
					.network = {at("2001:db8::"), 32},
					.protocol = POLICY_UDP,
					.last_port = 65535};
	return 0;
}

/* The input: records of a byte (what it is), a length of two bytes, and as many bytes. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct loop *loop;
	struct gate *gate;
	require(loop__new(&loop) == 0);
	const struct policy_own own = {is_own, NULL};
	require(policy__new(rules, 4, false, &own, &policy) == 0);
	struct service service = {SERVICE, at("10.0.2.64"), 443, "/run/it"};
	const struct egress egress = {
		.addresses = &known,
		.policy = policy,
		.services = {&service, 1},
	};
	struct gate_options options = {
		.egress = &egress,
		.max_connections = 4,
		.published = {53},
		.published_count = 1,
		.loop = loop,
		.now = now,
		.pass = on_pass,
		.reset = on_reset,
		.is_busy = is_odd,
		.is_broken = is_odd,
		.send = on_send,
		.hang_up = on_hang_up,
		.answer = on_answer,
		.notice = on_notice,
	};
	require(gate__new(&options, &gate) == 0);
	struct input in = {data, len};
	for (unsigned i = 0; i < FRAMES && in.len >= 3; i++) {
		uint8_t what = next8(&in);
		size_t n;
		uint8_t *frame = next_frame(&in, &n);
		struct dns_question question;
		if (what % 4 == 0)
			gate__from_guest(gate, frame, n);
		else if (what % 4 == 1)
			gate__to_guest(gate, frame, n, (int)n);
		else if (what % 4 == 2 && dns__question(frame, n, true, &question))
			(void)!dns__addresses(frame, n, learn, &question);
		else if (what % 16 == 3)
			clock_ms += what * 1000U;
		else if (what % 16 == 11)
			come_back(gate, frame, n);
		else {
			require(policy__replace(policy, rules + what % 3, 2, false) == 0);
			gate__recheck(gate);
		}
		free(frame);
	}
	gate__free(gate);
	policy__free(policy);
	loop__free(loop);
	return 0;
}
