/* Fields of a received CBOR map, checked: what is not as the protocol says is -EPROTO, never a crash. */
#ifndef CAPSA_COMMON_READER_H
#define CAPSA_COMMON_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tinycbor/cbor.h>

/* The deepest nesting of maps, arrays and tags, the outermost map counted. */
#define MESSAGE_DEPTH 8

/* A received map; it points into the bytes it was parsed from. */
struct message {
	CborParser parser;
	CborValue map;
};

/* Bytes inside a message; not terminated. */
struct span {
	const uint8_t *at;
	size_t length;
};

/* The whole of `bytes` must be one map of definite lengths, with text keys of which none is there twice, nested no
 * deeper than MESSAGE_DEPTH, and with integers of at most 64 bits. *why says what is wrong with it. Returns 0, -EPROTO
 * or -ENOMEM. */
__attribute__((warn_unused_result)) int message__parse(struct message *message, const uint8_t *bytes, size_t length,
						       const char **why);

/* A whole number from 0 on, or a float with that value. Returns 0 or -EPROTO. */
__attribute__((warn_unused_result)) int value__uint(const CborValue *value, uint64_t *out);
/* A string of the kinds that are allowed; of bytes, bare or under tag 64 (RFC 8746). Returns 0 or -EPROTO. */
__attribute__((warn_unused_result)) int value__string(const CborValue *string, bool text, bool bytes, struct span *out);

/* Each looks `key` up in a map and returns 1 (found), 0 (absent: *out untouched) or -EPROTO (of another type). */
__attribute__((warn_unused_result)) int reader__uint(const CborValue *map, const char *key, uint64_t *out);
__attribute__((warn_unused_result)) int reader__int(const CborValue *map, const char *key, int64_t *out);
__attribute__((warn_unused_result)) int reader__bool(const CborValue *map, const char *key, bool *out);
__attribute__((warn_unused_result)) int reader__text(const CborValue *map, const char *key, struct span *out);
/* A byte string, bare or under tag 64 (RFC 8746). */
__attribute__((warn_unused_result)) int reader__bytes(const CborValue *map, const char *key, struct span *out);
/* A text or a byte string. */
__attribute__((warn_unused_result)) int reader__string(const CborValue *map, const char *key, struct span *out);
__attribute__((warn_unused_result)) int reader__array(const CborValue *map, const char *key, CborValue *out);
__attribute__((warn_unused_result)) int reader__map(const CborValue *map, const char *key, CborValue *out);

/* The text or byte string under the cursor, which then moves past it. Returns 0 or -EPROTO. */
__attribute__((warn_unused_result)) int cursor__string(CborValue *cursor, struct span *out);

bool span__equals(struct span span, const char *text);
/* A terminated copy for the caller to free. Returns 0, -EINVAL (a NUL inside) or -ENOMEM. */
__attribute__((warn_unused_result)) int span__copy(struct span span, char **out);

#endif
