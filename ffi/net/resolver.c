/* The guest's name server: a query goes out from a fresh port under a fresh number, so that an answer cannot be
 * guessed. */
#include "net/resolver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/dns.h"

#define DNS_PORT 53
#define PATIENCE_MS 2000 /* with one server, before the next is asked */
#define QUERY_MAX 1024
#define ANSWER_MAX 65000
#define STREAM_ANSWER_MAX 32000 /* by TCP: a datagram of the guest's cable holds it */
#define LENGTH 2                /* bytes before a message on a stream (RFC 1035 section 4.2.2) */

struct query {
	struct resolver *resolver;
	int fd;         /* -1: free */
	uint64_t timer; /* 0: none */
	uint64_t begun;
	unsigned server; /* asked now */
	uint16_t guest_id, id;
	/* what the answer is a reply to */
	struct packet packet;
	uint8_t macs[2 * PACKET_MAC];
	size_t len;
	uint8_t message[QUERY_MAX];
	uint8_t *stream; /* what has come by TCP; NULL: it is not asked by that */
	size_t stream_len;
};

struct resolver {
	struct resolver_options options;
	struct query queries[RESOLVER_OPEN];
	uint64_t looked; /* when the servers were looked up, milliseconds; 0: not yet */
	uint64_t full;   /* when RESOLVER_BURST names may be asked for at once, milliseconds */
	uint8_t answer[ANSWER_MAX];
	uint8_t frame[PACKET_MAX];
};

int resolver__new(const struct resolver_options *options, struct resolver **out)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	(*out)->options = *options;
	for (unsigned i = 0; i < RESOLVER_OPEN; i++) {
		(*out)->queries[i].fd = -1;
		(*out)->queries[i].resolver = *out;
	}
	return 0;
}

static void query__hang_up(struct query *query)
{
	struct loop *loop = query->resolver->options.loop;
	loop__timer_cancel(loop, query->timer);
	query->timer = 0;
	free(query->stream);
	query->stream = NULL;
	if (query->fd < 0)
		return;
	loop__del(loop, query->fd);
	close(query->fd);
	query->fd = -1;
}

void resolver__free(struct resolver *resolver)
{
	if (!resolver)
		return;
	for (unsigned i = 0; i < RESOLVER_OPEN; i++)
		query__hang_up(&resolver->queries[i]);
	free(resolver);
}

static void reply(struct resolver *resolver, const struct packet *to, const uint8_t *message, size_t len)
{
	size_t n = packet__reply(to, message, len, resolver->frame);
	resolver->options.answer(resolver->options.arg, resolver->frame, n);
}

static void refuse(struct query *query)
{
	struct dns_question question;
	dns__set_id(query->message, query->guest_id);
	if (dns__question(query->message, query->len, false, &question))
		reply(query->resolver, &query->packet, query->message, dns__refuse(query->message, &question));
}

/* Answers */

struct learning {
	struct resolver *resolver;
	const char *name;
};

static bool learn(void *arg, const struct address *address, uint32_t ttl)
{
	const struct learning *learning = arg;
	const struct resolver_options *options = &learning->resolver->options;
	if (policy__learn(options->policy, learning->name, address, ttl, options->now()))
		return true;
	options->told(options->arg, learning->name, address,
		      address__is_local(address) ? "the name leads to the host itself"
						 : "the name leads to a private address");
	return false;
}

/* Whether the answer is one to this query. */
static bool belongs(const struct query *query, const uint8_t *answer, size_t len, struct dns_question *question)
{
	struct dns_question asked;
	return dns__question(query->message, query->len, false, &asked) && dns__question(answer, len, true, question) &&
	       dns__id(answer) == query->id && question->type == asked.type && strcmp(question->name, asked.name) == 0;
}

static void ask_next(struct query *query);

/* It is for this query: the guest gets it, unless the policy minds what it says. */
static void take_answer(struct query *query, uint8_t *answer, size_t len, const struct dns_question *question)
{
	struct resolver *resolver = query->resolver;
	struct learning learning = {.resolver = resolver, .name = question->name};
	if (dns__addresses(answer, len, learn, &learning)) {
		dns__set_id(answer, query->guest_id);
		reply(resolver, &query->packet, answer, len);
	} else {
		refuse(query);
	}
	query__hang_up(query);
}

/* The same by TCP: nobody but the server can say anything there, and what is no answer ends it. */

static void send_by_stream(struct query *query)
{
	uint8_t message[LENGTH + QUERY_MAX] = {(uint8_t)(query->len >> 8), (uint8_t)query->len};
	memcpy(message + LENGTH, query->message, query->len);
	ssize_t sent = send(query->fd, message, LENGTH + query->len, MSG_NOSIGNAL);
	if (sent != (ssize_t)(LENGTH + query->len) ||
	    loop__mod(query->resolver->options.loop, query->fd, LOOP_READ) < 0)
		ask_next(query);
	else
		query->stream_len = 0;
}

static void receive_by_stream(struct query *query)
{
	struct dns_question question;
	uint8_t *stream = query->stream, *answer = stream + LENGTH;
	ssize_t n = recv(query->fd, stream + query->stream_len, LENGTH + STREAM_ANSWER_MAX - query->stream_len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	query->stream_len += n > 0 ? (size_t)n : 0;
	size_t len = query->stream_len < LENGTH ? 0 : (size_t)(stream[0] << 8 | stream[1]);
	bool ended = n <= 0 || len > STREAM_ANSWER_MAX;
	if (!ended && (query->stream_len < LENGTH || query->stream_len < LENGTH + len))
		return;
	if (!ended && belongs(query, answer, len, &question))
		take_answer(query, answer, len, &question);
	else
		ask_next(query);
}

static void on_stream(void *arg, int fd, unsigned ready)
{
	struct query *query = arg;
	(void)fd, (void)ready;
	if (query->stream_len == SIZE_MAX)
		send_by_stream(query);
	else
		receive_by_stream(query);
}

static void ask_by_stream(struct query *query);

static void on_answer(void *arg, int fd, unsigned ready)
{
	struct query *query = arg;
	struct resolver *resolver = query->resolver;
	struct dns_question question;
	(void)ready;
	ssize_t len = recv(fd, resolver->answer, sizeof(resolver->answer), MSG_DONTWAIT);
	if (len < 0) {
		if (errno != EAGAIN && errno != EINTR) /* nobody listens there */
			ask_next(query);
		return;
	}
	if (!belongs(query, resolver->answer, (size_t)len, &question))
		return;
	if (dns__is_cut(resolver->answer))
		ask_by_stream(query);
	else
		take_answer(query, resolver->answer, (size_t)len, &question);
}

/* Queries */

static void on_silence(void *arg)
{
	struct query *query = arg;
	query->timer = 0;
	ask_next(query);
}

/* A connection to the server that is `query->server`, or the beginning of one. False when it cannot be reached. */
static bool open_socket(struct query *query, int type, unsigned events, loop_fn on_ready)
{
	const struct resolver_options *options = &query->resolver->options;
	struct sockaddr_storage to;
	socklen_t to_len = address__socket(&options->servers[query->server], DNS_PORT, &to);
	query->fd = socket(to.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (query->fd < 0 || (connect(query->fd, (struct sockaddr *)&to, to_len) < 0 && errno != EINPROGRESS) ||
	    getrandom(&query->id, sizeof(query->id), 0) != (ssize_t)sizeof(query->id))
		return false;
	dns__set_id(query->message, query->id);
	return loop__add(options->loop, query->fd, events, on_ready, query) == 0 &&
	       loop__timer(options->loop, PATIENCE_MS, on_silence, query, &query->timer) == 0;
}

/* The server that has said that its answer is cut short. */
static void ask_by_stream(struct query *query)
{
	query__hang_up(query);
	query->stream = malloc(LENGTH + STREAM_ANSWER_MAX);
	query->stream_len = SIZE_MAX; /* the question is still to be sent */
	if (!query->stream || !open_socket(query, SOCK_STREAM, LOOP_WRITE, on_stream))
		ask_next(query);
}

/* Ask the server that is `query->server`. False when it cannot be reached. */
static bool ask(struct query *query)
{
	return open_socket(query, SOCK_DGRAM, LOOP_READ, on_answer) &&
	       send(query->fd, query->message, query->len, MSG_NOSIGNAL) == (ssize_t)query->len;
}

/* Ask the servers from the next one on, until one can be reached. After the last the guest is left to its own patience,
 * or told at once when it was the first that could not be. */
static void ask_next(struct query *query)
{
	do {
		query__hang_up(query);
		query->server++;
	} while (query->server < query->resolver->options.server_count && !ask(query));
	if (query->server >= query->resolver->options.server_count)
		query__hang_up(query);
}

static struct query *free_query(struct resolver *resolver)
{
	struct query *oldest = &resolver->queries[0];
	for (unsigned i = 0; i < RESOLVER_OPEN; i++) {
		struct query *query = &resolver->queries[i];
		if (query->fd < 0)
			return query;
		if (query->begun < oldest->begun)
			oldest = query;
	}
	query__hang_up(oldest);
	return oldest;
}

/* Whether one more may be asked for now: each takes 1/RESOLVER_RATE of a second off what has run up. */
static bool is_too_soon(struct resolver *resolver)
{
	uint64_t now = resolver->options.now(), each = 1000 / RESOLVER_RATE;
	uint64_t from = resolver->full > now ? resolver->full : now;
	if (from + each > now + RESOLVER_BURST * each)
		return true;
	resolver->full = from + each;
	return false;
}

/* Why a name may not be asked for, or NULL. What a rule is for by itself says nothing that the rule does not. */
static const char *refuses(struct resolver *resolver, const char *name)
{
	const struct policy *policy = resolver->options.policy;
	if (!policy__match_question(policy, name)->allow)
		return "no rule allows the name";
	if (policy__names(policy, name))
		return NULL;
	if (strlen(name) > RESOLVER_NAME_MAX)
		return "a name of more than 128 bytes, which only a rule for that very name lets through";
	if (is_too_soon(resolver))
		return "more than 50 names a second, which only rules for those very names let through";
	return NULL;
}

/* Names of sandboxes on the guest's private networks are nobody else's. Whether it was one. */
static bool answer_name(struct resolver *resolver, const struct packet *packet, const struct dns_question *question)
{
	if (!resolver->options.names)
		return false;
	memcpy(resolver->answer, packet->payload, packet->payload_len);
	size_t len = names__answer(resolver->options.names, resolver->answer, question);
	if (len)
		reply(resolver, packet, resolver->answer, len);
	return len > 0;
}

static void answer_for(struct query *query, const struct dns_question *question, const struct address *service)
{
	size_t len = dns__answer(query->message, question, service, question->type == DNS_A);
	reply(query->resolver, &query->packet, query->message, len);
}

/* What goes on with the old ones goes on: a query that is past the last of the new ones ends as after any last. */
static void look_up_servers(struct resolver *resolver)
{
	struct resolver_options *options = &resolver->options;
	struct address servers[RESOLVER_SERVERS];
	uint64_t now = options->now();
	if (!options->source.servers || (resolver->looked && now - resolver->looked < RESOLVER_FRESH_MS))
		return;
	resolver->looked = now ? now : 1;
	unsigned count = options->source.servers(options->source.owner, servers);
	if (!count)
		return;
	memcpy(options->servers, servers, sizeof(servers));
	options->server_count = count;
}

unsigned resolver__servers(const struct resolver *resolver, struct address servers[RESOLVER_SERVERS])
{
	memcpy(servers, resolver->options.servers, sizeof(resolver->options.servers));
	return resolver->options.server_count;
}

void resolver__ask(struct resolver *resolver, const struct packet *packet)
{
	const struct resolver_options *options = &resolver->options;
	struct dns_question question;
	if (packet->payload_len > QUERY_MAX || !dns__question(packet->payload, packet->payload_len, false, &question))
		return;
	if (answer_name(resolver, packet, &question))
		return;
	look_up_servers(resolver);
	struct query *query = free_query(resolver);
	query->begun = options->now();
	query->packet = *packet;
	memcpy(query->macs, packet->to_mac, sizeof(query->macs)); /* the one behind the other, as in the frame */
	query->packet.to_mac = query->macs;
	query->packet.from_mac = query->macs + PACKET_MAC;
	query->packet.payload = query->packet.ip = NULL;
	query->len = packet->payload_len;
	memcpy(query->message, packet->payload, packet->payload_len);
	query->guest_id = dns__id(query->message);
	const char *why = refuses(resolver, question.name);
	if (why) {
		options->told(options->arg, question.name, NULL, why);
		refuse(query);
		return;
	}
	if (policy__match_question(options->policy, question.name)->log)
		options->told(options->arg, question.name, NULL, NULL);
	const struct address *service = services__address_of(options->services, question.name);
	query->server = 0;
	if (service)
		answer_for(query, &question, service);
	else if (!options->server_count)
		refuse(query);
	else if (!ask(query))
		ask_next(query);
}
