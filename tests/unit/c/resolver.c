/* The guest's name server: which of the host's it asks, also after those have changed. */
#include "net/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "net/resolv_conf.h"

static uint64_t clock_ms;
static struct address now_asked;
static unsigned lookups, told_servers;

static uint64_t now(void)
{
	return clock_ms;
}

static unsigned look_up(void *owner, struct address servers[RESOLVER_SERVERS])
{
	(void)owner;
	lookups++;
	servers[0] = now_asked;
	return told_servers;
}

static void answer(void *arg, const uint8_t *frame, size_t len)
{
	(void)arg, (void)frame, (void)len;
}

static void told(void *arg, const char *name, const struct address *address, const char *why)
{
	(void)arg, (void)name, (void)address, (void)why;
}

static bool is_own(void *arg, const struct address *address, bool fresh, uint64_t at)
{
	(void)arg, (void)address, (void)fresh, (void)at;
	return false;
}

/* A name server of this machine's loopback; -1 where port 53 is not to be had. */
static int listen_at(const char *text)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(53)};
	CHECK_EQ(inet_pton(AF_INET, text, &at.sin_addr), 1);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool is_asked(int fd)
{
	uint8_t query[512];
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	return poll(&ready, 1, 200) == 1 && recv(fd, query, sizeof(query), 0) > 12;
}

static void ask(struct resolver *resolver)
{
	/* example.org, A (RFC 1035 section 4.1) */
	static const uint8_t query[] = "\x12\x34\x01\x00\0\x01\0\0\0\0\0\0\x07"
				       "example\x03org\0\0\x01\0\x01";
	static const uint8_t macs[12] = {2};
	const struct packet packet = {.kind = PACKET_UDP,
				      .to_mac = macs,
				      .from_mac = macs + 6,
				      .payload = query,
				      .payload_len = sizeof(query) - 1};
	resolver__ask(resolver, &packet);
}

static void the_host_moves_to_another_network(void)
{
	int first = listen_at("127.0.53.1"), second = listen_at("127.0.53.2");
	if (first < 0 || second < 0) {
		close(first);
		close(second);
		SKIP("port 53 of 127.0.53.0/24 is not to be had by this user");
	}
	const struct policy_own policy_own = {.holds = is_own};
	struct resolver_options options = {
		.server_count = 1, .source = {look_up, NULL}, .now = now, .answer = answer, .told = told};
	struct services none = {.count = 0};
	struct resolver *resolver;
	struct address servers[RESOLVER_SERVERS];
	clock_ms = 5000;
	lookups = told_servers = 0;
	options.services = &none;
	CHECK_EQ(address__parse("127.0.53.1", &options.servers[0]), 0);
	CHECK_EQ(address__parse("127.0.53.2", &now_asked), 0);
	CHECK_EQ(loop__new(&options.loop), 0);
	CHECK_EQ(policy__new(NULL, 0, true, &policy_own, &options.policy), 0);
	CHECK_EQ(resolver__new(&options, &resolver), 0);
	ask(resolver); /* looked up in vain: it goes on with those that it has */
	CHECK(is_asked(first) && lookups == 1);
	told_servers = 1;
	ask(resolver);
	CHECK(is_asked(first) && lookups == 1); /* not again so soon */
	clock_ms += RESOLVER_FRESH_MS;
	ask(resolver);
	CHECK(is_asked(second) && !is_asked(first) && lookups == 2);
	CHECK_EQ(resolver__servers(resolver, servers), 1);
	CHECK(address__equal(&servers[0], &now_asked));
	resolver__free(resolver);
	policy__free(options.policy);
	loop__free(options.loop);
	close(first);
	close(second);
}

static bool reads(const char *text, const char *first, unsigned count)
{
	struct address servers[RESOLVER_SERVERS], wanted;
	return resolv_conf__servers(text, strlen(text), servers) == count && address__parse(first, &wanted) == 0 &&
	       address__equal(&servers[0], &wanted);
}

static void name_servers_are_read_as_the_c_library_does(void)
{
	CHECK(reads("nameserver 192.0.2.1\n", "192.0.2.1", 1));
	CHECK(reads("# nameserver 192.0.2.9\nsearch x\n\tnameserver\t2001:db8::1 # mine\nnameserver 192.0.2.1",
		    "2001:db8::1", 2));
	CHECK(reads("nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4\n", "1.1.1.1", 3));
	CHECK(reads("nameserver fe80::1%eth0\nnameserver 192.0.2.1\n", "192.0.2.1", 1));
	static const char *const none[] = {"",
					   "\n\n",
					   "nameserver",
					   "nameserver \n",
					   "nameserver192.0.2.1\n",
					   "nameservers 192.0.2.1\n",
					   "nameserver 192.0.2\n",
					   "nameserver fe80::1%eth0\n"};
	for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		CHECK(reads(none[i], "127.0.0.1", 1));
	struct address servers[RESOLVER_SERVERS];
	CHECK_EQ(resolv_conf__servers("nameserver 192.0.2.10", 20, servers), 1); /* no byte behind the end */
	CHECK_EQ(resolv_conf__servers("nameserver \xff\0\x01\n", 14, servers), 1);
}

int main(void)
{
	CASE(the_host_moves_to_another_network);
	CASE(name_servers_are_read_as_the_c_library_does);
	return check__done();
}
