/* Frames: a 4-byte big-endian length and one CBOR map, built in and taken from byte queues (protocol.cddl). */
#ifndef CAPSA_WIRE_FRAME_H
#define CAPSA_WIRE_FRAME_H

#include "common/buffer.h"
#include "common/writer.h"

#define FRAME_HEAD 4
#define FRAME_LIMIT 1048576 /* bytes of CBOR */

/* A frame under construction at the end of `buffer`. */
struct frame {
	struct buffer *buffer;
	struct writer writer;
};

/* Begin a frame of at most `size` bytes of CBOR. Returns 0 or -ENOMEM. */
__attribute__((warn_unused_result)) int frame__begin(struct frame *frame, struct buffer *buffer, size_t size);
/* Queue it. Returns 0, or -EMSGSIZE (nothing queued) when it did not fit. */
int frame__end(struct frame *frame);

/* A frame { id, ev, data } whose payload the caller puts in place, so that it is copied once only. */
struct data_frame {
	struct buffer *buffer;
	uint64_t id; /* 0: no id */
	const char *ev;
	size_t max;
};

/* Room for `max` payload bytes, or NULL without memory. Nothing is queued until data_frame__end. */
uint8_t *data_frame__begin(struct data_frame *frame, struct buffer *buffer, uint64_t id, const char *ev, size_t max);
/* Queue the frame with the first `length` (1 to max) bytes of the room. */
void data_frame__end(const struct data_frame *frame, size_t length);

/* The first whole frame of `buffer`: *length bytes at *body, valid until the buffer changes; consume FRAME_HEAD +
 * *length after use. Returns 1, 0 (more bytes are needed: *missing, at least 1) or -EPROTO for a length out of bounds.
 */
__attribute__((warn_unused_result)) int frame__peek(const struct buffer *buffer, const uint8_t **body, size_t *length,
						    size_t *missing);
/* The length the first frame claims, for messages. */
uint32_t frame__claimed(const struct buffer *buffer);

#endif
