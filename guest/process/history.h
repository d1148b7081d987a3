/* The last output of a program that nobody may be reading: a ring of pieces, each of one of its outputs, in order. */
#ifndef CAPSA_PROCESS_HISTORY_H
#define CAPSA_PROCESS_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes kept, the heads of the pieces (3 each) counted in. A power of two. */
#define HISTORY_SIZE 65536

/* All zero is an empty one; its memory is its own: history__free. */
struct history {
	uint8_t *ring;       /* NULL until something is added */
	uint64_t start, end; /* of what is kept, counted in bytes since the first */
};

/* A place in it, valid until something is added. */
struct history_cursor {
	uint64_t at;   /* of a piece */
	size_t offset; /* of the bytes that come next, in the piece */
};

/* Remember; what is oldest makes room. Without memory nothing is remembered. */
void history__add(struct history *history, uint8_t output, const uint8_t *bytes, size_t length);
/* The place from which on the last `bytes` of output come, or all there is. */
struct history_cursor history__last(const struct history *history, uint64_t bytes);
/* At most `max` bytes (not 0) at the cursor, which moves past them: *bytes, of *output, lie in the ring. Returns their
 * count, 0 at the end. */
size_t history__next(const struct history *history, struct history_cursor *cursor, size_t max, uint8_t *output,
		     const uint8_t **bytes);
bool history__at_end(const struct history *history, const struct history_cursor *cursor);
void history__free(struct history *history);

#endif
