/* Reading CBOR maps by a table of their keys: the configuration and the control channel's requests. */
#ifndef CAPSA_VMM_CBOR_MAP_H
#define CAPSA_VMM_CBOR_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"
#include "common/reader.h"

/*
 * Where texts go while a message is read: `pool` of at least the message's length plus one, because a text and its
 * NUL never take more room than its encoding does. Texts live as long as the pool.
 */
struct cbor_reader {
	char *pool;
	size_t left;
	struct failure *why;
};

enum cbor_kind {
	CBOR_KIND_TEXT,  /* const char *, NUL-terminated, no NUL inside */
	CBOR_KIND_UINT,  /* uint64_t within min..max; a float with that value will do, as JavaScript writes them */
	CBOR_KIND_BOOL,  /* bool */
	CBOR_KIND_BYTES, /* struct span; tag 64 (RFC 8746) is allowed */
	CBOR_KIND_OTHER, /* what `read` makes of it */
};

struct cbor_field {
	const char *key;
	enum cbor_kind kind;
	bool required;
	size_t offset; /* of the member in `into` */
	uint64_t min, max;
	/* CBOR_KIND_OTHER: read *value (not to be advanced) into the member. `where` names it. */
	int (*read)(struct cbor_reader *reader, const CborValue *value, void *member, const char *where);
};

/* Read a whole message, which has to be as message__parse wants it, as cbor_map__read does its map. Returns 0, -EINVAL
 * or -ENOMEM, with *why. */
__attribute__((warn_unused_result)) int cbor_message__read(struct cbor_reader *reader, const uint8_t *from, size_t len,
							   const struct cbor_field *fields, unsigned count, bool strict,
							   void *into);

/*
 * Read the map at *value into the struct `into` (zeroed by the caller). `where` is its name in failures, "" at the top.
 * An undefined or null value counts as an absent key. `strict`: unknown keys are refused. 0, or -EINVAL with *why.
 */
__attribute__((warn_unused_result)) int cbor_map__read(struct cbor_reader *reader, const CborValue *value,
						       const struct cbor_field *fields, unsigned count, bool strict,
						       void *into, const char *where);

/* Call `item` for each element of the array at *value, at most `max`. `where` names each as "name[index]". */
__attribute__((warn_unused_result)) int cbor_array__read(struct cbor_reader *reader, const CborValue *value,
							 unsigned max, const char *where,
							 int (*item)(struct cbor_reader *reader, const CborValue *value,
								     void *arg, unsigned index, const char *where),
							 void *arg);

/* One value alone; the same rules. */
__attribute__((warn_unused_result)) int cbor_value__text(struct cbor_reader *reader, const CborValue *value,
							 const char **out, const char *where);
__attribute__((warn_unused_result)) int cbor_value__uint(struct cbor_reader *reader, const CborValue *value,
							 uint64_t min, uint64_t max, uint64_t *out, const char *where);
__attribute__((warn_unused_result)) int cbor_value__bytes(struct cbor_reader *reader, const CborValue *value,
							  struct span *out, const char *where);

#endif
