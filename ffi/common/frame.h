/* Frames of both protocols: a 4-byte big-endian length and one CBOR map, written to and taken from byte queues. */
#ifndef CAPSA_COMMON_FRAME_H
#define CAPSA_COMMON_FRAME_H

#include "common/buffer.h"
#include "common/writer.h"

#define FRAME_HEAD 4
#define FRAME_LIMIT 1048576 /* bytes of CBOR */

/* Begin a frame at the end of `buffer`, whose pairs are then written into it. */
struct writer frame__begin(struct buffer *buffer);
/* Queue it. Returns 0, or -ENOMEM or -EMSGSIZE with nothing queued. */
__attribute__((warn_unused_result)) int frame__end(struct writer *writer);

/* Begin a frame { ? id, ev, data } whose payload the caller puts in place, so that it is copied once only: room for
 * `max` bytes of it, or NULL without memory. An `id` of 0 is none. Nothing is queued until data_frame__end. */
uint8_t *data_frame__begin(struct writer *writer, struct buffer *buffer, uint64_t id, const char *ev, size_t max);
/* Queue the frame with the first `length` bytes of the room. */
void data_frame__end(struct writer *writer, size_t length);

/* The first whole frame of `buffer`: *length bytes at *body, valid until the buffer changes; consume FRAME_HEAD +
 * *length after use. Returns 1, 0 (more bytes are needed: *missing, at least 1) or -EPROTO for a length out of bounds.
 */
__attribute__((warn_unused_result)) int frame__peek(const struct buffer *buffer, const uint8_t **body, size_t *length,
						    size_t *missing);
/* The length that these four bytes say. */
uint32_t frame__length(const uint8_t head[FRAME_HEAD]);

#endif
