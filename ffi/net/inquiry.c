/* An inquiry: each server is asked from a fresh port under a fresh number, so that an answer cannot be guessed. */
#include "net/inquiry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/socket.h"

#define DNS_PORT 53
#define LENGTH 2 /* bytes before a message on a stream (RFC 1035 section 4.2.2) */
#define MS 1000

/* A server, as far as it is asked. */
struct asked {
	struct inquiry *inquiry;
	const struct name_server *server;
	int fd; /* -1: not now */
	uint16_t id;
	uint8_t *stream; /* what has come by TCP; NULL: nothing, the question is still to be sent */
	size_t stream_len;
};

struct inquiry {
	struct inquiry_options options;
	struct name_servers servers;
	struct asked asked[NAME_SERVERS];
	unsigned next;  /* of the servers, in the order in which they are asked */
	uint64_t timer; /* 0: none */
	bool told;      /* that nobody says anything */
	uint64_t patience;
	size_t failure_len; /* of the last answer that says a server has failed; 0: none */
	uint16_t id;        /* the guest's */
	uint8_t message[LENGTH + INQUIRY_MAX];
	uint8_t failure[DNS_PLAIN];
};

int inquiry__new(const struct inquiry_options *options, struct inquiry **out)
{
	struct inquiry *inquiry = calloc(1, sizeof(*inquiry));
	if (!inquiry)
		return -ENOMEM;
	const struct name_servers *servers = options->servers;
	uint64_t timeout = servers->timeout ? servers->timeout : 5,
		 attempts = servers->attempts ? servers->attempts : 2;
	uint64_t share = timeout * MS * attempts / (servers->count + 1);
	inquiry->options = *options;
	inquiry->servers = *servers;
	inquiry->patience = share < INQUIRY_PATIENCE_MS ? share : INQUIRY_PATIENCE_MS;
	inquiry->id = dns__id(options->message);
	memcpy(inquiry->message + LENGTH, options->message, options->len);
	inquiry->message[0] = (uint8_t)(options->len >> 8);
	inquiry->message[1] = (uint8_t)options->len;
	for (unsigned i = 0; i < NAME_SERVERS; i++)
		inquiry->asked[i] = (struct asked){.inquiry = inquiry, .fd = -1};
	for (unsigned i = 0; i < servers->count; i++)
		inquiry->asked[i].server = &inquiry->servers.at[(options->first + i) % servers->count];
	*out = inquiry;
	return 0;
}

static void hang_up(struct asked *asked)
{
	if (asked->fd < 0)
		return;
	loop__del(asked->inquiry->options.loop, asked->fd);
	close(asked->fd);
	asked->fd = -1;
	free(asked->stream);
	asked->stream = NULL;
}

static void rest(struct inquiry *inquiry)
{
	loop__timer_cancel(inquiry->options.loop, inquiry->timer);
	inquiry->timer = 0;
	for (unsigned i = 0; i < inquiry->servers.count; i++)
		hang_up(&inquiry->asked[i]);
}

void inquiry__free(struct inquiry *inquiry)
{
	if (!inquiry)
		return;
	rest(inquiry);
	free(inquiry);
}

/* The last thing that is done with it. */
static void end(struct inquiry *inquiry, enum inquiry_end how, uint8_t *answer, size_t len)
{
	rest(inquiry);
	if (answer)
		dns__set_id(answer, inquiry->id);
	inquiry->options.ended(inquiry->options.arg, how, answer, len);
}

static bool is_asking(const struct inquiry *inquiry)
{
	for (unsigned i = 0; i < inquiry->servers.count; i++)
		if (inquiry->asked[i].fd >= 0)
			return true;
	return false;
}

static void go_on(struct inquiry *inquiry);

/* It is not there, or has failed: `inquiry` may be over after this. */
static void give_up(struct asked *asked)
{
	hang_up(asked);
	go_on(asked->inquiry);
}

/* Answers */

/* Whether it is one to this question. A server that fails may leave the question out. */
static bool belongs(const struct asked *asked, const uint8_t *answer, size_t len)
{
	const struct inquiry *inquiry = asked->inquiry;
	struct dns_question question, own;
	if (len < DNS_HEADER || dns__is_query(answer, len) || dns__id(answer) != asked->id)
		return false;
	if (len == DNS_HEADER)
		return dns__is_failure(answer);
	return dns__question(inquiry->message + LENGTH, inquiry->options.len, false, &own) &&
	       dns__question(answer, len, true, &question) && question.type == own.type &&
	       question.class == own.class && strcmp(question.name, own.name) == 0;
}

static void keep_failure(struct inquiry *inquiry, const uint8_t *answer, size_t len)
{
	if (len > sizeof(inquiry->failure))
		return;
	memcpy(inquiry->failure, answer, len);
	inquiry->failure_len = len;
}

/* One that belongs to the question. */
static void take(struct asked *asked, uint8_t *answer, size_t len)
{
	struct inquiry *inquiry = asked->inquiry;
	if (dns__is_failure(answer)) {
		keep_failure(inquiry, answer, len);
		give_up(asked);
	} else if (!dns__is_whole(answer, len) && !dns__is_cut(answer)) {
		give_up(asked);
	} else {
		end(inquiry, INQUIRY_ANSWERED, answer, len);
	}
}

static void on_datagram(void *arg, int fd, unsigned ready)
{
	struct asked *asked = arg;
	uint8_t *answer = asked->inquiry->options.room;
	(void)ready;
	ssize_t len = recv(fd, answer, INQUIRY_ROOM, MSG_DONTWAIT);
	if (len < 0 && errno != EAGAIN && errno != EINTR) /* nobody listens there */
		give_up(asked);
	else if (len >= 0 && belongs(asked, answer, (size_t)len))
		take(asked, answer, (size_t)len);
}

/* By TCP nobody but the server can say anything, and what is no answer ends it. */

static bool send_by_stream(struct asked *asked)
{
	struct inquiry *inquiry = asked->inquiry;
	size_t len = LENGTH + inquiry->options.len;
	dns__set_id(inquiry->message + LENGTH, asked->id);
	asked->stream = malloc(LENGTH + INQUIRY_ROOM);
	asked->stream_len = 0;
	return asked->stream && send(asked->fd, inquiry->message, len, MSG_NOSIGNAL) == (ssize_t)len &&
	       loop__mod(inquiry->options.loop, asked->fd, LOOP_READ) == 0;
}

static void receive_by_stream(struct asked *asked)
{
	uint8_t *stream = asked->stream, *answer = asked->inquiry->options.room;
	ssize_t n = recv(asked->fd, stream + asked->stream_len, LENGTH + INQUIRY_ROOM - asked->stream_len, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	asked->stream_len += n > 0 ? (size_t)n : 0;
	size_t len = asked->stream_len < LENGTH ? 0 : (size_t)(stream[0] << 8 | stream[1]);
	bool is_there = asked->stream_len >= LENGTH + len && len > 0;
	if (!is_there && n > 0)
		return;
	if (!is_there || !belongs(asked, stream + LENGTH, len)) {
		give_up(asked);
		return;
	}
	memcpy(answer, stream + LENGTH, len); /* the stream's end may be the answer's */
	take(asked, answer, len);
}

static void on_stream(void *arg, int fd, unsigned ready)
{
	struct asked *asked = arg;
	(void)fd, (void)ready;
	if (asked->stream)
		receive_by_stream(asked);
	else if (!send_by_stream(asked))
		give_up(asked);
}

/* Questions */

static bool send_by_datagram(struct asked *asked)
{
	struct inquiry *inquiry = asked->inquiry;
	dns__set_id(inquiry->message + LENGTH, asked->id);
	return send(asked->fd, inquiry->message + LENGTH, inquiry->options.len, MSG_NOSIGNAL) ==
	       (ssize_t)inquiry->options.len;
}

/* False when it cannot be reached. */
static bool ask(struct asked *asked)
{
	struct inquiry *inquiry = asked->inquiry;
	bool stream = inquiry->options.stream;
	struct sockaddr_storage to;
	socklen_t len = name_server__socket(asked->server, DNS_PORT, &to);
	if (!len || getentropy(&asked->id, sizeof(asked->id)) < 0)
		return false;
	asked->fd = socket__new(to.ss_family, stream ? SOCK_STREAM : SOCK_DGRAM, 0, false);
	return asked->fd >= 0 && (connect(asked->fd, (struct sockaddr *)&to, len) == 0 || errno == EINPROGRESS) &&
	       loop__add(inquiry->options.loop, asked->fd, stream ? LOOP_WRITE : LOOP_READ,
			 stream ? on_stream : on_datagram, asked) == 0 &&
	       (stream || send_by_datagram(asked));
}

static void on_time(void *arg)
{
	struct inquiry *inquiry = arg;
	inquiry->timer = 0;
	go_on(inquiry);
}

static void wait_for(struct inquiry *inquiry, uint64_t ms)
{
	const struct inquiry_options *options = &inquiry->options;
	loop__timer_cancel(options->loop, inquiry->timer);
	if (loop__timer(options->loop, ms, on_time, inquiry, &inquiry->timer) < 0)
		inquiry->timer = 0;
}

/* Whether one more server is asked now. */
static bool ask_next(struct inquiry *inquiry)
{
	while (inquiry->next < inquiry->servers.count) {
		struct asked *asked = &inquiry->asked[inquiry->next++];
		if (ask(asked)) {
			bool last = inquiry->next == inquiry->servers.count;
			wait_for(inquiry, last ? INQUIRY_SILENCE_MS : inquiry->patience);
			return true;
		}
		hang_up(asked);
	}
	return false;
}

/* When its time is over, or a server is. */
static void go_on(struct inquiry *inquiry)
{
	if (ask_next(inquiry))
		return;
	if (!is_asking(inquiry) || (!inquiry->timer && inquiry->failure_len)) {
		if (inquiry->failure_len)
			end(inquiry, INQUIRY_FAILED, inquiry->failure, inquiry->failure_len);
		else
			end(inquiry, INQUIRY_NOBODY, NULL, 0);
	} else if (!inquiry->timer && inquiry->told) {
		end(inquiry, INQUIRY_SILENCE, NULL, 0);
	} else if (!inquiry->timer) {
		inquiry->told = true;
		wait_for(inquiry, INQUIRY_END_MS);
		inquiry->options.silent(inquiry->options.arg);
	}
}

void inquiry__begin(struct inquiry *inquiry)
{
	go_on(inquiry);
}

void inquiry__repeat(struct inquiry *inquiry)
{
	for (unsigned i = 0; i < inquiry->servers.count && !inquiry->options.stream; i++)
		if (inquiry->asked[i].fd >= 0)
			(void)!send_by_datagram(&inquiry->asked[i]); /* what is wrong is told when it is read */
	if (inquiry->told)
		wait_for(inquiry, INQUIRY_END_MS);
}
