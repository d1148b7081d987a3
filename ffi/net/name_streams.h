/* The guest's TCP connections to its name server, as streams that end here: messages behind their lengths, one asked
 * after the other (RFC 7766). */
#ifndef CAPSA_NET_NAME_STREAMS_H
#define CAPSA_NET_NAME_STREAMS_H

#include <stddef.h>
#include <stdint.h>

#include "common/loop.h"

#define NAME_STREAMS 32             /* at a time */
#define NAME_STREAM_SILENT_MS 30000 /* one on which nothing is asked for so long is closed */

struct name_stream;

struct name_streams_options {
	struct loop *loop;
	/* A message of at most INQUIRY_MAX bytes, but as long as a header. Whoever gets it calls name_stream__reply
	 * or name_stream__close, at once or later. */
	void (*asked)(void *arg, struct name_stream *stream, const uint8_t *message, size_t len);
	/* It is gone: no answer to what was asked is wanted any more. */
	void (*gone)(void *arg, struct name_stream *stream);
	void *arg;
};

struct name_streams;

/* 0 or -ENOMEM. All calls are made on the loop's thread. */
__attribute__((warn_unused_result)) int name_streams__new(const struct name_streams_options *options,
							  struct name_streams **out);
/* Closes all; nobody is told. */
void name_streams__free(struct name_streams *streams);

/* A new one: the descriptor of its other end, which the caller closes, or -errno. */
__attribute__((warn_unused_result)) int name_streams__open(struct name_streams *streams);

void name_stream__reply(struct name_stream *stream, const uint8_t *message, size_t len);
/* Nobody is told. */
void name_stream__close(struct name_stream *stream);

#endif
