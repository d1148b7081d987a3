/* A short table of the guest's ports and echo numbers that have a socket, by a hash of them. */
#include "net/datagrams.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdlib.h>
#include <string.h>

#define HEADS 64         /* as many as a hash has values */
#define NOBODY DATAGRAMS /* no place */

/* A port of the guest's, of one family, or a number of its echo requests. */
struct sender {
	bool used, is4;
	enum packet_kind kind;
	uint16_t port;
	uint64_t heard;               /* when either side was, milliseconds */
	unsigned next;                /* of the same hash */
	uint8_t macs[2 * PACKET_MAC]; /* the one behind the other, as in the frame */
};

struct datagrams {
	struct datagrams_options options;
	unsigned count;
	unsigned heads[HEADS];
	struct sender senders[DATAGRAMS];
	uint64_t timer; /* 0: none */
	uint8_t frame[PACKET_MAX];
};

int datagrams__new(const struct datagrams_options *options, struct datagrams **out)
{
	struct datagrams *datagrams = calloc(1, sizeof(*datagrams));
	if (!datagrams)
		return -ENOMEM;
	datagrams->options = *options;
	for (unsigned i = 0; i < HEADS; i++)
		datagrams->heads[i] = NOBODY;
	*out = datagrams;
	return 0;
}

/* The table */

static unsigned hash_of(const struct sender *sender)
{
	return (sender->port * 4U + sender->is4 * 2U + (sender->kind == PACKET_UDP)) * 2654435761U >> 26;
}

static struct sender sender_of(const struct packet *packet)
{
	return (struct sender){
		.used = true, .is4 = address__is4(&packet->source), .kind = packet->kind, .port = packet->source_port};
}

static unsigned find(const struct datagrams *datagrams, const struct packet *packet)
{
	const struct sender wanted = sender_of(packet);
	unsigned place = datagrams->heads[hash_of(&wanted)];
	for (; place != NOBODY; place = datagrams->senders[place].next) {
		const struct sender *sender = &datagrams->senders[place];
		if (sender->port == wanted.port && sender->is4 == wanted.is4 && sender->kind == wanted.kind)
			break;
	}
	return place;
}

static void hang_up(struct datagrams *datagrams, unsigned place)
{
	struct sender *sender = &datagrams->senders[place];
	unsigned *at = &datagrams->heads[hash_of(sender)];
	while (*at != place)
		at = &datagrams->senders[*at].next;
	*at = sender->next;
	sender->used = false;
	datagrams->count--;
	datagrams->options.hang_up(datagrams->options.arg, place);
}

void datagrams__free(struct datagrams *datagrams)
{
	if (!datagrams)
		return;
	for (unsigned i = 0; i < DATAGRAMS; i++)
		if (datagrams->senders[i].used)
			hang_up(datagrams, i);
	loop__timer_cancel(datagrams->options.loop, datagrams->timer);
	free(datagrams);
}

unsigned datagrams__count(const struct datagrams *datagrams)
{
	return datagrams->count;
}

bool datagrams__need_no_room(const struct datagrams *datagrams, const struct packet *packet)
{
	return packet->hops <= 1 || find(datagrams, packet) != NOBODY;
}

static unsigned most_silent(const struct datagrams *datagrams)
{
	unsigned place = NOBODY;
	for (unsigned i = 0; i < DATAGRAMS; i++)
		if (datagrams->senders[i].used &&
		    (place == NOBODY || datagrams->senders[i].heard < datagrams->senders[place].heard))
			place = i;
	return place;
}

bool datagrams__make_room(struct datagrams *datagrams)
{
	unsigned place = most_silent(datagrams);
	if (place != NOBODY)
		hang_up(datagrams, place);
	return place != NOBODY;
}

static void on_time(void *arg);

/* Those that are silent for too long go; of the others the next is waited for. */
static void tidy(struct datagrams *datagrams)
{
	const struct datagrams_options *options = &datagrams->options;
	uint64_t now = options->now(), end = 0;
	unsigned place;
	loop__timer_cancel(options->loop, datagrams->timer);
	datagrams->timer = 0;
	while ((place = most_silent(datagrams)) != NOBODY) {
		end = datagrams->senders[place].heard + DATAGRAMS_SILENT_MS;
		if (end > now)
			break;
		hang_up(datagrams, place);
	}
	/* without a timer the next that comes makes one */
	if (place != NOBODY && loop__timer(options->loop, end - now, on_time, datagrams, &datagrams->timer) < 0)
		datagrams->timer = 0;
}

static void on_time(void *arg)
{
	struct datagrams *datagrams = arg;
	datagrams->timer = 0;
	tidy(datagrams);
}

static unsigned add(struct datagrams *datagrams, const struct packet *packet)
{
	unsigned place = 0;
	if (datagrams->count == DATAGRAMS)
		datagrams__make_room(datagrams);
	while (datagrams->senders[place].used)
		place++;
	struct sender *sender = &datagrams->senders[place];
	*sender = sender_of(packet);
	sender->heard = datagrams->options.now();
	unsigned *head = &datagrams->heads[hash_of(sender)];
	sender->next = *head;
	*head = place;
	datagrams->count++;
	tidy(datagrams);
	return place;
}

/* From the guest */

/* On the host the gateway is its loopback. */
static struct address beyond(const struct egress *egress, const struct address *address)
{
	static const uint8_t loopback4[4] = {127, 0, 0, 1}, loopback6[16] = {[15] = 1};
	if (!egress__is(address, egress->addresses->host))
		return *address;
	return address__is4(address) ? address__from4(loopback4) : address__from6(loopback6);
}

void datagrams__send(struct datagrams *datagrams, const struct packet *packet)
{
	const struct datagrams_options *options = &datagrams->options;
	bool is4 = address__is4(&packet->source);
	if (packet->hops <= 1) {
		options->answer(options->arg, datagrams->frame,
				packet__error(packet, &options->egress->addresses->host[is4 ? 0 : 1],
					      is4 ? ICMP_TIME_EXCEEDED : ICMP6_TIME_EXCEEDED, 0, datagrams->frame));
		return;
	}
	unsigned place = find(datagrams, packet);
	const bool is_new = place == NOBODY;
	if (is_new)
		place = add(datagrams, packet);
	struct sender *sender = &datagrams->senders[place];
	sender->heard = options->now();
	memcpy(sender->macs, packet->to_mac, sizeof(sender->macs));
	const struct address to = beyond(options->egress, &packet->destination);
	if (options->send(options->arg, place, packet, &to) == 0)
		return;
	if (is_new) /* it may not even have a socket */
		hang_up(datagrams, place);
	options->answer(options->arg, datagrams->frame, packet__unreachable(packet, datagrams->frame));
}

/* To the guest */

/* What the guest had sent, or would have, for this to be the answer. */
static struct packet sent_by(const struct datagrams *datagrams, const struct sender *sender,
			     const struct datagram *datagram)
{
	const struct net_addresses *known = datagrams->options.egress->addresses;
	const struct address from = datagram->from;
	return (struct packet){
		.kind = sender->kind,
		.to_mac = sender->macs,
		.from_mac = sender->macs + PACKET_MAC,
		.source = known->guest[sender->is4 ? 0 : 1],
		.destination = address__is_local(&from) ? known->host[sender->is4 ? 0 : 1] : from,
		.source_port = sender->port,
		.destination_port = datagram->port,
		.payload = datagram->bytes,
		.payload_len = datagram->len,
	};
}

/* A socket is open for everybody: only those that could be asked may answer. */
static bool could_ask(const struct datagrams *datagrams, const struct packet *sent)
{
	const struct datagrams_options *options = &datagrams->options;
	enum policy_protocol protocol = sent->kind == PACKET_UDP ? POLICY_UDP : POLICY_ICMP;
	return !egress__to_address(options->egress, protocol, &sent->destination,
				   sent->kind == PACKET_UDP ? sent->destination_port : 0, options->now())
			.why;
}

void datagrams__received(struct datagrams *datagrams, unsigned place, const struct datagram *datagram)
{
	const struct datagrams_options *options = &datagrams->options;
	struct sender *sender = &datagrams->senders[place];
	const struct packet sent = sent_by(datagrams, sender, datagram);
	if (!sender->used || !could_ask(datagrams, &sent))
		return;
	size_t len = sender->kind == PACKET_UDP ? packet__reply(&sent, datagram->bytes, datagram->len, datagrams->frame)
						: packet__echo_reply(&sent, datagrams->frame);
	if (!len)
		return;
	sender->heard = options->now();
	options->answer(options->arg, datagrams->frame, len);
}

/* What does not fit is the kernel's affair, which cuts what comes next. */
static bool is_news(bool is4, const struct datagram_error *error)
{
	if (!is4)
		return error->type == ICMP6_DST_UNREACH || error->type == ICMP6_TIME_EXCEEDED;
	return (error->type == ICMP_DEST_UNREACH && error->code != ICMP_FRAG_NEEDED) ||
	       error->type == ICMP_TIME_EXCEEDED;
}

void datagrams__failed(struct datagrams *datagrams, unsigned place, const struct datagram_error *error)
{
	const struct datagrams_options *options = &datagrams->options;
	const struct sender *sender = &datagrams->senders[place];
	const struct packet sent = sent_by(datagrams, sender, &error->about);
	if (!sender->used || !is_news(sender->is4, error) || address__is4(&error->by) != sender->is4 ||
	    !could_ask(datagrams, &sent))
		return;
	const struct address by = address__is_local(&error->by) ? sent.destination : error->by;
	options->answer(options->arg, datagrams->frame,
			packet__error(&sent, &by, error->type, error->code, datagrams->frame));
}
