/* CBOR items (RFC 8949, shortest heads, definite lengths) written at the end of a byte queue. */
#ifndef CAPSA_COMMON_WRITER_H
#define CAPSA_COMMON_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buffer.h"

enum { WRITER_DEPTH = 8 };

/* What is written joins the queue at writer__end. Until then the caller may forget it, and a failure stays hidden. */
struct writer {
	struct buffer *buffer;
	size_t length; /* bytes written so far, behind the queue's end */
	int err;       /* 0, or why the rest was not written */
	struct {
		size_t head; /* of the byte that holds its count: at most 23 pairs */
		unsigned count;
	} maps[WRITER_DEPTH];
	unsigned depth; /* maps that are open */
	size_t gap;     /* of the bytes under way: room for their head */
};

struct writer writer__begin(struct buffer *buffer);
/* Queue what was written. Returns 0, or -ENOMEM or -EMSGSIZE with nothing queued. */
__attribute__((warn_unused_result)) int writer__end(struct writer *writer);

/* Each adds a pair to the map that was opened last; with `key` NULL an item without a key, of a list or alone. */
void writer__uint(struct writer *writer, const char *key, uint64_t value);
void writer__int(struct writer *writer, const char *key, int64_t value);
void writer__bool(struct writer *writer, const char *key, bool value);
void writer__text(struct writer *writer, const char *key, const char *text);
/* A text string where the bytes are UTF-8 (RFC 3629), else a byte string. */
void writer__name(struct writer *writer, const char *key, const char *name, size_t length);
void writer__bytes(struct writer *writer, const char *key, const void *bytes, size_t length);
/* A list whose `count` items follow. */
void writer__list(struct writer *writer, const char *key, uint64_t count);
/* A list of `count` items that were written elsewhere, of `length` bytes. */
void writer__items(struct writer *writer, const char *key, uint64_t count, const uint8_t *items, size_t length);
/* A map: what follows goes into it until writer__close. */
void writer__open(struct writer *writer, const char *key);
void writer__close(struct writer *writer);
/* A failure of both protocols, { code, message }. */
void writer__failure(struct writer *writer, const char *key, const char *code, const char *message);

/* A byte string whose bytes the caller puts in place: room for `max` of them, or NULL without memory; then how many
 * there are. Nothing else is written in between. */
uint8_t *writer__open_bytes(struct writer *writer, const char *key, size_t max);
void writer__close_bytes(struct writer *writer, size_t length);

/* So many bytes as they are. */
void writer__raw(struct writer *writer, const void *bytes, size_t length);

#endif
