/*
 * What a gate does with packets: reads questions, each a length of four bytes and a map { net, host, protocol, ? port,
 * ? led4, ? led6 } of CBOR, whose `net` is net-device of ffi/vmm.cddl; writes a line for each. "passes", "dropped", or
 * "refused" and why; of a host that is a name, which has led to led4 and led6 where it may be asked for, "unasked" and
 * why, or what becomes of packets to the one or the other.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "net/config.h"
#include "net/gate.h"
#include "net/own.h"
#include "net_frames.h"

#define MOST 2000000 /* bytes of a question */

struct asked {
	struct nat_options net;
	const char *host, *led4, *led6;
	enum policy_protocol protocol;
	uint64_t port;
};

static bool passed;
static char why[256];

static uint64_t now(void)
{
	return 1000000;
}

static int on_pass(void *arg, const uint8_t *frame, size_t len)
{
	(void)arg, (void)frame, (void)len;
	passed = true;
	return -1;
}

static int on_send(void *arg, unsigned place, const struct packet *packet, const struct address *to)
{
	(void)arg, (void)place, (void)packet, (void)to;
	passed = true;
	return 0;
}

static void on_hang_up(void *arg, unsigned place)
{
	(void)arg, (void)place;
}

static void on_answer(void *arg, const uint8_t *frame, size_t len)
{
	(void)arg, (void)frame, (void)len;
}

static void on_notice(void *arg, const struct gate_notice *notice)
{
	(void)arg;
	if (notice->why && !notice->failed) /* there is no name server to ask */
		snprintf(why, sizeof(why), "%s", notice->why);
}

static void die(const char *what)
{
	fprintf(stderr, "gate_says: %s\n", what);
	exit(1);
}

/* "passes" and the like, of one packet. */
static const char *send_one(struct gate *gate, const struct asked *asked, const char *to)
{
	static uint8_t frame[PACKET_MAX];
	static char said[300];
	const char *from = strchr(to, ':') ? GUEST6 : GUEST4;
	unsigned port = (unsigned)asked->port;
	size_t len = asked->protocol == POLICY_TCP   ? frame__tcp(frame, from, to, port, 2)
		     : asked->protocol == POLICY_UDP ? frame__udp(frame, from, 5000, to, port, "", 0)
						     : frame__icmp(frame, from, to, strchr(to, ':') ? 128 : 8);
	passed = false;
	why[0] = 0;
	gate__from_guest(gate, frame, len);
	snprintf(said, sizeof(said), "%s%s", passed ? "passes" : *why ? "refused " : "dropped", passed ? "" : why);
	return said;
}

static void ask_for(struct gate *gate, const char *name)
{
	static uint8_t frame[PACKET_MAX], message[512];
	size_t len = dns_message(message, 7, name, NULL);
	why[0] = 0;
	gate__from_guest(gate, frame, frame__udp(frame, GUEST4, 5000, NAMES4, 53, message, len));
}

static void by_name(struct gate *gate, const struct egress *egress, const struct asked *asked)
{
	const struct address *service = services__address_of(&egress->services, asked->host);
	const char *ways[] = {asked->led4, asked->led6};
	char text[ADDRESS_TEXT];
	ask_for(gate, asked->host);
	if (*why) {
		printf("unasked %s\n", why);
		return;
	}
	if (service) {
		puts(send_one(gate, asked, address__print(service, text)));
		return;
	}
	char first[300] = "";
	for (unsigned i = 0; i < 2; i++) {
		const struct address address = at(ways[i]);
		if (!policy__learn(egress->policy, asked->host, &address, 60, now()))
			die("a name may not lead where the test has it lead");
		const char *said = send_one(gate, asked, ways[i]);
		if (!i)
			snprintf(first, sizeof(first), "%s", said);
		if (i || strcmp(said, "passes") == 0) {
			puts(strcmp(said, "passes") == 0 ? said : first);
			return;
		}
	}
}

static void say(const struct asked *asked)
{
	struct loop *loop;
	struct own *own;
	struct policy *policy;
	struct gate *gate;
	struct address address;
	if (loop__new(&loop) || own__new(&own))
		die("no loop, or no routes");
	const struct policy_own is_own = {own__holds, own};
	if (policy__new(asked->net.rules.at, asked->net.rules.count, asked->net.otherwise, &is_own, &policy))
		die("no policy");
	struct net_addresses addresses = asked->net.addresses;
	memcpy(addresses.mac, guest_mac, sizeof(addresses.mac));
	const struct egress egress = {.addresses = &addresses,
				      .policy = policy,
				      .host_loopback = asked->net.host_loopback,
				      .services = asked->net.services};
	const struct gate_options options = {.egress = &egress,
					     .loop = loop,
					     .now = now,
					     .pass = on_pass,
					     .send = on_send,
					     .hang_up = on_hang_up,
					     .answer = on_answer,
					     .notice = on_notice};
	if (gate__new(&options, &gate))
		die("no gate");
	if (address__parse(asked->host, &address) == 0)
		puts(send_one(gate, asked, asked->host));
	else
		by_name(gate, &egress, asked);
	gate__free(gate);
	policy__free(policy);
	own__free(own);
	loop__free(loop);
}

#define ASKED(member) offsetof(struct asked, member)
static const struct cbor_field fields[] = {
	{.key = "net", .kind = CBOR_MAP, .required = true, .offset = ASKED(net), .table = &net_config_table},
	{.key = "host", .kind = CBOR_TEXT, .required = true, .offset = ASKED(host)},
	{.key = "led4", .kind = CBOR_TEXT, .offset = ASKED(led4)},
	{.key = "led6", .kind = CBOR_TEXT, .offset = ASKED(led6)},
	{.key = "protocol",
	 .kind = CBOR_CHOICE,
	 .required = true,
	 .offset = ASKED(protocol),
	 .words = net_config_protocols,
	 .min = POLICY_TCP},
	{.key = "port", .kind = CBOR_U16, .offset = ASKED(port)},
};
#undef ASKED
static const struct cbor_table table = CBOR_TABLE("question", fields);

int main(void)
{
	uint8_t *question = malloc(MOST);
	uint32_t len;
	while (question && fread(&len, sizeof(len), 1, stdin) == 1) {
		len = ntohl(len);
		if (len > MOST || fread(question, 1, len, stdin) != len)
			die("a question that is cut short");
		struct failure failure;
		struct cbor_arena arena = {NULL};
		struct cbor_reader reader = {.arena = &arena, .why = &failure};
		struct asked asked;
		memset(&asked, 0, sizeof(asked));
		if (cbor_table__read(&reader, &table, question, len, &asked))
			die(failure.message);
		say(&asked);
		cbor_arena__free(&arena);
	}
	free(question);
	return 0;
}
