/* The guest's name server: whom it asks, what may be asked for, and what it answers itself. */
#include "net/resolver.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/dns.h"
#include "net/name_streams.h"

#define DATAGRAM_MAX 32000 /* bytes of an answer: a frame of the guest's cable holds them */
#define WHY 256
#define NOT_OF_NAME 6 /* bytes of a question, beside those that its name has as text */

/* Who has asked: by a packet of his, or by a stream. */
struct asker {
	struct name_stream *stream; /* NULL: by a packet */
	const struct packet *packet;
};

struct query {
	struct resolver *resolver;
	struct inquiry *inquiry; /* NULL: free */
	uint64_t begun;
	/* what the answer is a reply to */
	struct name_stream *stream;
	struct packet packet;
	uint8_t macs[2 * PACKET_MAC];
	size_t len;
	uint8_t message[INQUIRY_MAX];
};

struct resolver {
	struct resolver_options options;
	struct name_streams *streams;
	struct query queries[RESOLVER_OPEN];
	unsigned turn;   /* who is asked first, where they take turns */
	uint64_t looked; /* when the servers were looked up, milliseconds; 0: not yet */
	uint64_t full;   /* when RESOLVER_BURST names may be asked for at once, milliseconds */
	char why[WHY];
	uint8_t own[INQUIRY_MAX + NAMES_ROOM]; /* an answer of our own */
	uint8_t answer[INQUIRY_ROOM];
	uint8_t frame[PACKET_MAX];
};

static void on_stream(void *arg, struct name_stream *stream, const uint8_t *message, size_t len);
static void on_gone(void *arg, struct name_stream *stream);

int resolver__new(const struct resolver_options *options, struct resolver **out)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));
	if (!resolver)
		return -ENOMEM;
	const struct name_streams_options streams = {
		.loop = options->loop, .asked = on_stream, .gone = on_gone, .arg = resolver};
	int err = name_streams__new(&streams, &resolver->streams);
	if (err) {
		free(resolver);
		return err;
	}
	resolver->options = *options;
	for (unsigned i = 0; i < RESOLVER_OPEN; i++)
		resolver->queries[i].resolver = resolver;
	*out = resolver;
	return 0;
}

static void query__forget(struct query *query)
{
	inquiry__free(query->inquiry);
	query->inquiry = NULL;
}

void resolver__free(struct resolver *resolver)
{
	if (!resolver)
		return;
	name_streams__free(resolver->streams);
	for (unsigned i = 0; i < RESOLVER_OPEN; i++)
		query__forget(&resolver->queries[i]);
	free(resolver);
}

int resolver__open_stream(struct resolver *resolver)
{
	return name_streams__open(resolver->streams);
}

/* Answers. `message` becomes shorter where whoever asked does not take it whole; `room`: what he takes. */
static void reply(struct resolver *resolver, const struct asker *to, uint8_t *message, size_t len, size_t room)
{
	if (to->stream) {
		name_stream__reply(to->stream, message, len);
		return;
	}
	if (room > DATAGRAM_MAX)
		room = DATAGRAM_MAX;
	if (len > room || (dns__is_cut(message) && !dns__is_whole(message, len)))
		len = dns__cut(message, len, room);
	size_t n = packet__reply(to->packet, message, len, resolver->frame);
	if (n)
		resolver->options.answer(resolver->options.arg, resolver->frame, n);
}

/* To a query an answer without records. */
static void deny(struct resolver *resolver, const struct asker *to, const uint8_t *message, size_t len,
		 enum dns_code code)
{
	struct dns_question question;
	memcpy(resolver->own, message, len);
	bool asks = dns__question(message, len, false, &question);
	len = asks ? dns__deny(resolver->own, &question, code) : dns__fail(resolver->own, code);
	reply(resolver, to, resolver->own, len, DNS_PLAIN);
}

/* As a machine answers at whose port 53 nobody listens: a program that hears of it need not wait. */
static void say_nobody(struct resolver *resolver, const struct asker *to, const uint8_t *message, size_t len)
{
	if (to->stream)
		name_stream__close(to->stream);
	if (!to->packet)
		return;
	bool is4 = address__is4(&to->packet->destination);
	struct packet about = *to->packet;
	about.payload = message;
	about.payload_len = len;
	size_t n = packet__error(&about, &about.destination, is4 ? ICMP_DEST_UNREACH : ICMP6_DST_UNREACH,
				 is4 ? ICMP_PORT_UNREACH : ICMP6_DST_UNREACH_NOPORT, resolver->frame);
	resolver->options.answer(resolver->options.arg, resolver->frame, n);
}

static void tell(struct resolver *resolver, const struct resolver_news *news)
{
	resolver->options.told(resolver->options.arg, news);
}

/* What has come of an inquiry */

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
	tell(learning->resolver,
	     &(struct resolver_news){.name = learning->name,
				     .address = address,
				     .why = address__is_local(address) ? "the name leads to the host itself"
								       : "the name leads to a private address"});
	return false;
}

static size_t list_servers(const struct name_servers *servers, char *to, size_t room)
{
	char text[NAME_SERVER_TEXT];
	size_t used = 0;
	for (unsigned i = 0; i < servers->count && used < room; i++)
		used += (size_t)snprintf(to + used, room - used, "%s%s", i ? ", " : "",
					 name_server__print(&servers->at[i], text));
	return used;
}

/* `format` has a place for the name servers. */
__attribute__((format(printf, 3, 0))) static void tell_failure(struct query *query, const char *name,
							       const char *format, const char *what)
{
	struct resolver *resolver = query->resolver;
	char servers[WHY / 2];
	list_servers(&resolver->options.servers, servers, sizeof(servers));
	snprintf(resolver->why, sizeof(resolver->why), format, servers, what);
	tell(resolver, &(struct resolver_news){.name = name, .why = resolver->why, .failed = true});
}

static void on_silent(void *arg)
{
	struct query *query = arg;
	struct dns_question question;
	if (dns__question(query->message, query->len, false, &question))
		tell_failure(query, question.name, "no name server has answered within 5 seconds (%s)%s", "");
}

static void on_ended(void *arg, enum inquiry_end how, uint8_t *answer, size_t len)
{
	struct query *query = arg;
	struct resolver *resolver = query->resolver;
	const struct asker to = {.stream = query->stream, .packet = query->stream ? NULL : &query->packet};
	size_t room = dns__room(query->message, query->len);
	struct inquiry *over = query->inquiry;
	struct dns_question question;
	query->inquiry = NULL;
	if (!dns__question(query->message, query->len, false, &question))
		how = INQUIRY_SILENCE;
	struct learning learning = {.resolver = resolver, .name = question.name};
	switch (how) {
	case INQUIRY_ANSWERED:
		if (dns__addresses(answer, len, learn, &learning))
			reply(resolver, &to, answer, len, room);
		else
			deny(resolver, &to, query->message, query->len, DNS_REFUSED);
		break;
	case INQUIRY_FAILED:
		tell_failure(query, question.name, "the name servers (%s) have answered %s",
			     dns__code(answer) ? dns__code_name(dns__code(answer)) : "with where else to ask");
		reply(resolver, &to, answer, len, room);
		break;
	case INQUIRY_NOBODY:
		tell_failure(query, question.name, "no name server is there (%s)%s", "");
		say_nobody(resolver, &to, query->message, query->len);
		break;
	case INQUIRY_SILENCE: /* he has had enough as well */
		if (to.stream)
			name_stream__close(to.stream);
	}
	inquiry__free(over); /* with its answer */
}

/* Queries */

static struct query *free_query(struct resolver *resolver)
{
	struct query *oldest = &resolver->queries[0];
	for (unsigned i = 0; i < RESOLVER_OPEN; i++) {
		struct query *query = &resolver->queries[i];
		if (!query->inquiry)
			return query;
		if (query->begun < oldest->begun)
			oldest = query;
	}
	query__forget(oldest);
	if (oldest->stream)
		name_stream__close(oldest->stream);
	return oldest;
}

/* The same again, from the same port: a client that has waited, and still listens. */
static struct query *find_repeated(struct resolver *resolver, const struct packet *packet)
{
	for (unsigned i = 0; packet && i < RESOLVER_OPEN; i++) {
		struct query *query = &resolver->queries[i];
		if (query->inquiry && !query->stream && query->packet.source_port == packet->source_port &&
		    address__equal(&query->packet.destination, &packet->destination) &&
		    query->len == packet->payload_len && memcmp(query->message, packet->payload, query->len) == 0)
			return query;
	}
	return NULL;
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
static const char *refuses(struct resolver *resolver, const struct dns_question *question)
{
	const struct policy *policy = resolver->options.policy;
	const char *name = question->name;
	if (!policy__match_question(policy, name)->allow)
		return "no rule allows the name";
	if (policy__names(policy, name))
		return NULL;
	size_t bytes = question->len - DNS_HEADER - NOT_OF_NAME;
	if (bytes > RESOLVER_NAME_MAX || strlen(name) > POLICY_NAME_MAX)
		return "a name of more than 128 bytes, which only a rule for that very name lets through";
	if (is_too_soon(resolver))
		return "more than 50 names a second, which only rules for those very names let through";
	return NULL;
}

/* What goes on with the old ones goes on. */
static void look_up_servers(struct resolver *resolver)
{
	struct resolver_options *options = &resolver->options;
	struct name_servers servers;
	uint64_t now = options->now();
	if (!options->source.servers || (resolver->looked && now - resolver->looked < RESOLVER_FRESH_MS))
		return;
	resolver->looked = now ? now : 1;
	if (options->source.servers(options->source.owner, &servers))
		options->servers = servers;
}

const struct name_servers *resolver__servers(const struct resolver *resolver)
{
	return &resolver->options.servers;
}

static void ask_servers(struct resolver *resolver, const struct asker *by, const uint8_t *message, size_t len)
{
	struct query *query = free_query(resolver);
	const struct inquiry_options inquiry = {
		.loop = resolver->options.loop,
		.servers = &resolver->options.servers,
		.first = resolver->options.servers.rotate ? resolver->turn++ : 0,
		.stream = by->stream != NULL,
		.message = message,
		.len = len,
		.room = resolver->answer,
		.ended = on_ended,
		.silent = on_silent,
		.arg = query,
	};
	if (inquiry__new(&inquiry, &query->inquiry)) {
		deny(resolver, by, message, len, DNS_SERVER_FAILED);
		return;
	}
	query->begun = resolver->options.now();
	query->stream = by->stream;
	query->len = len;
	memcpy(query->message, message, len);
	if (by->packet) {
		query->packet = *by->packet;
		memcpy(query->macs, by->packet->to_mac,
		       sizeof(query->macs)); /* one behind the other, as in the frame */
		query->packet.to_mac = query->macs;
		query->packet.from_mac = query->macs + PACKET_MAC;
		query->packet.payload = query->packet.ip = NULL;
	}
	inquiry__begin(query->inquiry);
}

/* Names of sandboxes are nobody else's, nor are those of services. Whether it was one. */
static bool answer_here(struct resolver *resolver, const struct asker *to, const uint8_t *message, size_t len,
			const struct dns_question *question)
{
	const struct resolver_options *options = &resolver->options;
	memcpy(resolver->own, message, len);
	size_t n = options->names ? names__answer(options->names, resolver->own, question) : 0;
	if (n)
		reply(resolver, to, resolver->own, n, DNS_PLAIN);
	return n > 0;
}

static bool answer_for_service(struct resolver *resolver, const struct asker *to, const uint8_t *message, size_t len,
			       const struct dns_question *question)
{
	const struct address *service = services__address_of(resolver->options.services, question->name);
	if (!service)
		return false;
	memcpy(resolver->own, message, len);
	bool is4 = question->type == DNS_A && question->class == DNS_IN;
	reply(resolver, to, resolver->own, dns__answer(resolver->own, question, service, is4), DNS_PLAIN);
	return true;
}

/* A message of INQUIRY_MAX bytes at most that is a query of some kind. */
static void take(struct resolver *resolver, const struct asker *by, const uint8_t *message, size_t len)
{
	const struct resolver_options *options = &resolver->options;
	struct dns_question question;
	enum dns_code wrong = dns__judge(message, len, &question);
	if (wrong) {
		deny(resolver, by, message, len, wrong);
		return;
	}
	if (answer_here(resolver, by, message, len, &question))
		return;
	look_up_servers(resolver);
	const char *why = refuses(resolver, &question);
	if (why) {
		tell(resolver, &(struct resolver_news){.name = question.name, .why = why});
		deny(resolver, by, message, len, DNS_REFUSED);
		return;
	}
	if (policy__match_question(options->policy, question.name)->log)
		tell(resolver, &(struct resolver_news){.name = question.name});
	if (answer_for_service(resolver, by, message, len, &question))
		return;
	struct query *repeated = find_repeated(resolver, by->packet);
	if (repeated) {
		inquiry__repeat(repeated->inquiry);
		return;
	}
	if (options->servers.count) {
		ask_servers(resolver, by, message, len);
		return;
	}
	tell(resolver,
	     &(struct resolver_news){.name = question.name, .why = "there is no name server to ask", .failed = true});
	say_nobody(resolver, by, message, len);
}

void resolver__ask(struct resolver *resolver, const struct packet *packet)
{
	const struct asker by = {.packet = packet};
	if (!dns__is_query(packet->payload, packet->payload_len))
		return;
	if (packet->payload_len <= INQUIRY_MAX)
		take(resolver, &by, packet->payload, packet->payload_len);
	else
		deny(resolver, &by, packet->payload, DNS_HEADER, DNS_BROKEN_QUERY);
}

static void on_stream(void *arg, struct name_stream *stream, const uint8_t *message, size_t len)
{
	const struct asker by = {.stream = stream};
	if (dns__is_query(message, len))
		take(arg, &by, message, len);
	else
		name_stream__close(stream);
}

static void on_gone(void *arg, struct name_stream *stream)
{
	struct resolver *resolver = arg;
	for (unsigned i = 0; i < RESOLVER_OPEN; i++)
		if (resolver->queries[i].inquiry && resolver->queries[i].stream == stream)
			query__forget(&resolver->queries[i]);
}
