/* CBOR items (RFC 8949, shortest heads, definite lengths) written into memory the caller has reserved. */
#ifndef CAPSA_COMMON_WRITER_H
#define CAPSA_COMMON_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writing past `limit` is refused and remembered in `full`; the caller looks once, at the end. */
struct writer {
	uint8_t *at, *limit;
	bool full;
};

void writer__map(struct writer *writer, uint64_t pairs);
void writer__array(struct writer *writer, uint64_t items);
void writer__uint(struct writer *writer, uint64_t value);
void writer__int(struct writer *writer, int64_t value);
void writer__bool(struct writer *writer, bool value);
void writer__text(struct writer *writer, const char *text);
/* A text string where the bytes are UTF-8 (RFC 3629), else a byte string. */
void writer__name(struct writer *writer, const char *name, size_t length);
void writer__bytes(struct writer *writer, const uint8_t *bytes, size_t length);
/* Only the head of a byte string of `length` bytes. */
void writer__bytes_head(struct writer *writer, uint64_t length);
/* Items that were written elsewhere. */
void writer__items(struct writer *writer, const uint8_t *items, size_t length);

#endif
