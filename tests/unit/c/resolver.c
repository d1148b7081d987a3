/* The guest's name server: which of the host's it asks, what it does when they fail, and what the guest hears. */
#include "net/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/resolv_conf.h"
#include "net_frames.h"

#define FIRST "127.0.53.1"
#define SECOND "127.0.53.2"

static struct {
	struct resolver_options options;
	struct resolver *resolver;
	int servers[2];
	uint64_t now;
	struct name_servers later;
	bool has_later;
	unsigned lookups, answers, failures;
	char why[256];
	uint8_t answer[PACKET_MAX]; /* the last one's IP packet */
	size_t len;
	pthread_t thread; /* of the loop */
	int heard[2];     /* a pipe: a byte for each answer */
} world;

static const struct services no_services = {.count = 0};

static uint64_t now(void)
{
	return world.now;
}

static bool look_up(void *owner, struct name_servers *servers)
{
	(void)owner;
	world.lookups++;
	*servers = world.later;
	return world.has_later;
}

static void answer(void *arg, const uint8_t *frame, size_t len)
{
	(void)arg;
	world.answers++;
	memcpy(world.answer, frame + 14, len - 14);
	world.len = len - 14;
	CHECK_EQ(write(world.heard[1], "", 1), 1);
}

static void told(void *arg, const struct resolver_news *news)
{
	(void)arg;
	world.failures += news->failed;
	snprintf(world.why, sizeof(world.why), "%s", news->why ? news->why : "");
}

static bool is_own(void *arg, const struct address *address, bool fresh, uint64_t at_ms)
{
	(void)arg, (void)address, (void)fresh, (void)at_ms;
	return false;
}

/* A name server of this machine's loopback; -1 where port 53 is not to be had. */
static int listen_at(const char *text)
{
	struct sockaddr_storage to;
	struct address address = at(text);
	socklen_t len = address__socket(&address, 53, &to);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&to, len) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static void *run(void *loop)
{
	loop__run(loop);
	return NULL;
}

static void make_resolver(void)
{
	CHECK_EQ(loop__new(&world.options.loop), 0);
	CHECK_EQ(resolver__new(&world.options, &world.resolver), 0);
	loop__await(world.options.loop);
	CHECK_EQ(pthread_create(&world.thread, NULL, run, world.options.loop), 0);
}

static void end_resolver(void)
{
	loop__stop(world.options.loop);
	pthread_join(world.thread, NULL);
	resolver__free(world.resolver);
	loop__free(world.options.loop);
}

/* With other options. */
static void make_it_anew(void)
{
	end_resolver();
	make_resolver();
}

static void tear_down(void)
{
	end_resolver();
	policy__free(world.options.policy);
	close(world.heard[0]);
	close(world.heard[1]);
	for (unsigned i = 0; i < 2; i++)
		if (world.servers[i] >= 0)
			close(world.servers[i]);
}

/* Both servers are known; `there`: so many of them exist. */
static void set_up(unsigned there)
{
	const struct policy_own own = {.holds = is_own};
	memset(&world, 0, sizeof(world));
	world.now = 5000;
	for (unsigned i = 0; i < 2; i++)
		world.servers[i] = i < there ? listen_at(i ? SECOND : FIRST) : -1;
	world.options = (struct resolver_options){
		.services = &no_services,
		.servers = {.at = {{.address = at(FIRST)}, {.address = at(SECOND)}}, .count = 2},
		.source = {look_up, NULL},
		.now = now,
		.answer = answer,
		.told = told,
	};
	/* so that a silent one has the next asked soon */
	world.options.servers.timeout = world.options.servers.attempts = 1;
	CHECK_EQ(pipe(world.heard), 0);
	CHECK_EQ(policy__new(NULL, 0, true, &own, &world.options.policy), 0);
	make_resolver();
	for (unsigned i = 0; i < there; i++) {
		if (world.servers[i] >= 0)
			continue;
		tear_down();
		SKIP("port 53 of 127.0.53.0/24 is not to be had by this user");
	}
}

static uint8_t query[512], message[65535];

static void ask_on_loop(void *arg)
{
	resolver__ask(world.resolver, arg);
}

/* Of the name example.org, with `more` behind the question. */
static void ask_with(const void *more, size_t more_len)
{
	static const uint8_t macs[12] = {2};
	size_t len = dns_message(query, 0x1234, "Example.org", NULL);
	if (more_len)
		memcpy(query + len, more, more_len);
	put16(query + 10, more_len ? 1 : 0);
	struct packet packet = {.kind = PACKET_UDP,
				.to_mac = macs,
				.from_mac = macs + 6,
				.source = at(GUEST4),
				.destination = at(NAMES4),
				.source_port = 5000,
				.destination_port = 53,
				.payload = query,
				.payload_len = len + more_len};
	CHECK_EQ(loop__call(world.options.loop, ask_on_loop, &packet), 0);
}

static void ask(void)
{
	ask_with(NULL, 0);
}

static struct sockaddr_storage from;
static socklen_t from_len;

/* The server's next question, into `message`. */
static bool is_asked_within(unsigned server, int ms)
{
	struct pollfd ready = {.fd = world.servers[server], .events = POLLIN};
	from_len = sizeof(from);
	return poll(&ready, 1, ms) == 1 &&
	       recvfrom(world.servers[server], message, sizeof(message), 0, (struct sockaddr *)&from, &from_len) > 12;
}

static bool is_asked(unsigned server)
{
	return is_asked_within(server, 20000);
}

static bool is_left_alone(unsigned server)
{
	return !is_asked_within(server, 0);
}

static void say(unsigned server, const void *bytes, size_t len)
{
	CHECK_EQ(sendto(world.servers[server], bytes, len, 0, (struct sockaddr *)&from, from_len), (ssize_t)len);
}

/* An answer to what is in `message`; `code` 0 gives an address. */
static void serve(unsigned server, unsigned code)
{
	static uint8_t said[512];
	size_t len = dns_message(said, dns__id(message), "eXample.org", "203.0.113.1");
	said[3] = (uint8_t)code;
	if (code)
		put16(said + 6, 0);
	/* some say no more than their header */
	if (code == DNS_BROKEN_QUERY)
		put16(said + 4, 0);
	say(server, said, code == DNS_BROKEN_QUERY ? 12 : code ? len - 16 : len);
}

static void wait_for_answer(void)
{
	struct pollfd ready = {.fd = world.heard[0], .events = POLLIN};
	char byte;
	CHECK_EQ(poll(&ready, 1, 20000), 1);
	CHECK_EQ(read(world.heard[0], &byte, 1), 1);
}

static const uint8_t *dns(void)
{
	return world.answer + 28;
}

static void the_host_moves_to_another_network(void)
{
	set_up(2);
	world.options.servers.count = 1;
	make_it_anew();
	world.later = (struct name_servers){.at = {{.address = at(SECOND)}}, .count = 1};
	ask(); /* looked up in vain: it goes on with those that it has */
	CHECK(is_asked(0) && world.lookups == 1);
	serve(0, 0);
	wait_for_answer();
	world.has_later = true;
	ask();
	CHECK(is_asked(0) && world.lookups == 1); /* not again so soon */
	serve(0, 0);
	wait_for_answer();
	world.now += RESOLVER_FRESH_MS;
	ask();
	CHECK(is_asked(1) && is_left_alone(0) && world.lookups == 2);
	CHECK(address__equal(&resolver__servers(world.resolver)->at[0].address, &world.later.at[0].address));
	tear_down();
}

static void who_fails_has_the_next_one_asked_at_once(void)
{
	static const enum dns_code failures[] = {DNS_SERVER_FAILED, DNS_REFUSED, DNS_NOT_IMPLEMENTED, DNS_BROKEN_QUERY};
	for (unsigned i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		set_up(2);
		/* so that nothing but its answer has the next one asked so soon */
		world.options.servers.timeout = world.options.servers.attempts = 0;
		make_it_anew();
		ask();
		CHECK(is_asked(0));
		serve(0, failures[i]);
		CHECK(is_asked(1));
		serve(1, 0);
		wait_for_answer();
		CHECK_EQ(dns__id(dns()), 0x1234);
		CHECK_EQ(dns__code(dns()), DNS_FINE);
		CHECK_EQ(world.failures, 0);
		/* when all have failed the guest hears what the last one says */
		ask();
		CHECK(is_asked(0));
		serve(0, DNS_REFUSED);
		CHECK(is_asked(1));
		serve(1, failures[i]);
		wait_for_answer();
		CHECK_EQ(dns__code(dns()), failures[i]);
		CHECK_EQ(world.failures, 1);
		CHECK(strstr(world.why, dns__code_name(failures[i])) && strstr(world.why, SECOND));
		tear_down();
	}
}

static void where_nobody_is_the_guest_hears_at_once(void)
{
	set_up(0);
	ask();
	wait_for_answer();
	CHECK_EQ(world.answer[9], 1); /* ICMP: port unreachable */
	CHECK_EQ(world.answer[20], 3);
	CHECK_EQ(world.answer[21], 3);
	CHECK(strstr(world.why, "no name server is there (" FIRST ", " SECOND ")") != NULL);
	/* nor behind an interface that is not */
	world.options.servers.count = 1;
	CHECK_EQ(name_server__parse("fe80::1%none0", &world.options.servers.at[0]), 0);
	make_it_anew();
	ask();
	wait_for_answer();
	CHECK(strstr(world.why, "fe80::1%none0") != NULL);
	world.options.servers.count = 0;
	make_it_anew();
	ask();
	wait_for_answer();
	CHECK_STR(world.why, "there is no name server to ask");
	tear_down();
}

static void who_is_silent_is_still_heard(void)
{
	set_up(2);
	ask();
	CHECK(is_asked(0));
	struct sockaddr_storage first = from;
	uint16_t id = dns__id(message);
	CHECK(is_asked(1));
	CHECK(dns__id(message) != id || memcmp(&from, &first, sizeof(first)) != 0);
	/* the guest asks again: so are both */
	ask();
	CHECK(is_asked(0) && is_asked(1));
	CHECK(is_left_alone(0) && is_left_alone(1));
	from = first;
	dns__set_id(message, id);
	serve(0, 0);
	wait_for_answer();
	CHECK_EQ(dns__code(dns()), DNS_FINE);
	tear_down();
}

static void answers_of_others_are_ignored(void)
{
	set_up(1);
	ask();
	CHECK(is_asked(0));
	uint16_t id = dns__id(message);
	say(0, "garbage", 7);
	dns__set_id(message, id ^ 1);
	serve(0, 0);
	static uint8_t other[512];
	say(0, other, dns_message(other, id, "other.example", "203.0.113.66"));
	size_t len = dns_message(other, id, "example.org", "203.0.113.66");
	other[len - 5] = 200; /* bytes of its data: a broken one is no answer, but one like a failure is */
	int elsewhere = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); /* from another port */
	CHECK_EQ(sendto(elsewhere, other, len, 0, (struct sockaddr *)&from, from_len), (ssize_t)len);
	close(elsewhere);
	dns__set_id(message, id);
	serve(0, 0);
	wait_for_answer();
	CHECK_EQ(dns__code(dns()), DNS_FINE);
	struct address right = at("203.0.113.1"), wrong = at("203.0.113.66");
	CHECK_STR(policy__name_of(world.options.policy, &right), "example.org");
	CHECK(policy__name_of(world.options.policy, &wrong) == NULL);
	tear_down();
}

/* EDNS (RFC 6891): no name, OPT, bytes of a datagram, nothing else. */
#define OPT(bytes) "\0\0\x29" bytes "\0\0\0\0\0"

/* An answer of `count` addresses and an OPT, to what is in `message`. */
static void serve_many(unsigned count)
{
	static uint8_t said[16384];
	size_t len = dns_message(said, dns__id(message), "example.org", "203.0.113.1");
	for (unsigned i = 1; i < count; i++, len += 16)
		memcpy(said + len, said + len - 16, 16);
	put16(said + 6, count);
	put16(said + 10, 1);
	memcpy(said + len, OPT("\x04\xd0"), 11);
	say(0, said, len + 11);
}

static void an_answer_is_as_long_as_the_guest_takes_it(void)
{
	const size_t head = 12 + 17, record = 16, opt = 11;
	set_up(1);
	ask();
	CHECK(is_asked(0));
	serve_many(20);
	wait_for_answer();
	CHECK_EQ(world.len, 28 + head + 20 * record + opt);
	CHECK(!dns__is_cut(dns()));
	/* whole records up to 512 bytes, and what it says of EDNS */
	ask();
	CHECK(is_asked(0));
	serve_many(100);
	wait_for_answer();
	CHECK_EQ(world.len, 28 + head + 29 * record + opt);
	CHECK(dns__is_cut(dns()) && dns__is_whole(dns(), world.len - 28));
	CHECK_EQ(dns()[7], 29);
	ask_with(OPT("\x06\x00"), 11);
	CHECK(is_asked(0));
	serve_many(100);
	wait_for_answer();
	CHECK_EQ(world.len, 28 + head + 93 * record + opt);
	ask_with(OPT("\x10\x00"), 11);
	CHECK(is_asked(0));
	CHECK(memcmp(message + head, OPT("\x10\x00"), 11) == 0); /* the question goes on as it came */
	CHECK(memcmp(message + 12, query + 12, 17) == 0);
	serve_many(100);
	wait_for_answer();
	CHECK_EQ(world.len, 28 + head + 100 * record + opt);
	CHECK(!dns__is_cut(dns()));
	tear_down();
}

static void open_stream(void *arg)
{
	*(int *)arg = resolver__open_stream(world.resolver);
}

/* By TCP, asked for twice at once, of which one answer comes in parts. */
static void by_tcp_it_is_had_whole(void)
{
	set_up(1);
	struct sockaddr_storage to;
	struct address address = at(FIRST);
	const int on = 1;
	socklen_t len = address__socket(&address, 53, &to);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	CHECK(bind(listener, (struct sockaddr *)&to, len) == 0 && listen(listener, 4) == 0);
	int fd = -1;
	CHECK_EQ(loop__call(world.options.loop, open_stream, &fd), 0);
	CHECK(fd >= 0);
	fcntl(fd, F_SETFL, 0);
	size_t asked = dns_message(query + 2, 0x4321, "example.org", NULL);
	put16(query, (unsigned)asked);
	memcpy(query + 2 + asked, query, 2 + asked);
	CHECK_EQ(send(fd, query, 4 + 2 * asked, MSG_NOSIGNAL), (ssize_t)(4 + 2 * asked));
	for (unsigned i = 0; i < 2; i++) {
		int served = accept(listener, NULL, NULL);
		CHECK_EQ(recv(served, message, sizeof(message), 0), (ssize_t)(asked + 2));
		size_t n = dns_message(message + 2, dns__id(message + 2), "example.org", "203.0.113.1");
		memset(message + 2 + n, 0, 40000); /* what stands behind the records is passed on as well */
		put16(message, (unsigned)n + 40000);
		CHECK_EQ(send(served, message, 1, MSG_NOSIGNAL), 1);
		CHECK_EQ(send(served, message + 1, n + 40001, MSG_NOSIGNAL), (ssize_t)n + 40001);
		CHECK_EQ(recv(fd, message, n + 40002, MSG_WAITALL), (ssize_t)n + 40002);
		CHECK_EQ(dns__id(message + 2), 0x4321);
		close(served);
	}
	close(fd);
	close(listener);
	struct address known = at("203.0.113.1");
	CHECK_STR(policy__name_of(world.options.policy, &known), "example.org");
	tear_down();
}

static bool reads(const char *text, const char *first, unsigned count)
{
	char printed[NAME_SERVER_TEXT];
	struct name_servers servers;
	resolv_conf__read(text, strlen(text), &servers);
	return servers.count == count && strcmp(name_server__print(&servers.at[0], printed), first) == 0;
}

static void name_servers_are_read_as_the_c_library_does(void)
{
	CHECK(reads("nameserver 192.0.2.1\n", "192.0.2.1", 1));
	CHECK(reads("# nameserver 192.0.2.9\nsearch x\n\tnameserver\t2001:db8::1 # mine\nnameserver 192.0.2.1",
		    "2001:db8::1", 2));
	CHECK(reads("nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4\n", "1.1.1.1", 3));
	CHECK(reads("nameserver fe80::1%eth0\nnameserver 192.0.2.1\n", "fe80::1%eth0", 2));
	CHECK(reads("nameserver fe80::1%2\n", "fe80::1%2", 1));
	static const char *const none[] = {"",
					   "\n\n",
					   "nameserver",
					   "nameserver \n",
					   "nameserver192.0.2.1\n",
					   "nameservers 192.0.2.1\n",
					   "nameserver 192.0.2\n",
					   "nameserver 192.0.2.1%eth0\n",
					   "nameserver fe80::1%\n",
					   "nameserver fe80::1%a-name-of-no-interface\n"};
	for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		CHECK(reads(none[i], "127.0.0.1", 1));
	struct name_servers servers;
	resolv_conf__read("nameserver 192.0.2.10", 20, &servers); /* no byte behind the end */
	CHECK(servers.count == 1 && servers.at[0].address.bytes[15] == 1);
	resolv_conf__read("nameserver \xff\0\x01\n", 14, &servers);
	CHECK_EQ(servers.count, 1);
	static const char options[] = "options timeout:99 ndots:3\noptions attempts:0 rotate edns0\n";
	resolv_conf__read(options, sizeof(options) - 1, &servers);
	CHECK(servers.timeout == 30 && servers.attempts == 1 && servers.rotate);
}

int main(void)
{
	CASE(the_host_moves_to_another_network);
	CASE(who_fails_has_the_next_one_asked_at_once);
	CASE(where_nobody_is_the_guest_hears_at_once);
	CASE(who_is_silent_is_still_heard);
	CASE(answers_of_others_are_ignored);
	CASE(an_answer_is_as_long_as_the_guest_takes_it);
	CASE(by_tcp_it_is_had_whole);
	CASE(name_servers_are_read_as_the_c_library_does);
	return check__done();
}
