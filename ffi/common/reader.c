/* Fields of a received CBOR map, on tinycbor's pull parser. */
#include "common/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TAG_BYTES 64 /* uint8 typed array, RFC 8746 section 2.1 */

static const char *const malformed = "not well-formed CBOR";

/* Walk one item: tinycbor checks lengths against the buffer, this checks what the protocol adds. Moves past the item.
 */
static int check(CborValue *item, unsigned depth, const char **why) // NOLINT(misc-no-recursion)
{
	CborValue inner;

	if (!cbor_value_is_length_known(item)) {
		*why = "a string, array or map of indefinite length";
		return -EPROTO;
	}
	if (!cbor_value_is_tag(item) && !cbor_value_is_container(item)) {
		*why = malformed;
		return cbor_value_advance(item) ? -EPROTO : 0;
	}
	if (depth > MESSAGE_DEPTH) {
		*why = "nested more than 8 deep";
		return -EPROTO;
	}
	if (cbor_value_is_tag(item)) {
		CborTag tag;

		*why = malformed;
		if (cbor_value_get_tag(item, &tag) || cbor_value_skip_tag(item))
			return -EPROTO;
		if (tag == CborPositiveBignumTag || tag == CborNegativeBignumTag) {
			*why = "an integer of more than 64 bits";
			return -EPROTO;
		}
		return check(item, depth + 1, why);
	}
	*why = malformed;
	if (cbor_value_enter_container(item, &inner))
		return -EPROTO;
	for (bool key = cbor_value_is_map(item); !cbor_value_at_end(&inner); key = cbor_value_is_map(item) && !key) {
		if (key && !cbor_value_is_text_string(&inner)) {
			*why = "a map key that is not text";
			return -EPROTO;
		}
		if (check(&inner, depth + 1, why))
			return -EPROTO;
	}
	return cbor_value_leave_container(item, &inner) ? -EPROTO : 0;
}

int message__parse(struct message *message, const uint8_t *bytes, size_t length, const char **why)
{
	CborValue end;

	*why = malformed;
	if (cbor_parser_init(bytes, length, 0, &message->parser, &message->map))
		return -EPROTO;
	if (!cbor_value_is_map(&message->map)) {
		*why = "not a map";
		return -EPROTO;
	}
	end = message->map;
	if (check(&end, 1, why))
		return -EPROTO;
	if (cbor_value_get_next_byte(&end) != bytes + length) {
		*why = "bytes after the map";
		return -EPROTO;
	}
	return 0;
}

static int find(const CborValue *map, const char *key, CborValue *out)
{
	if (cbor_value_map_find_value(map, key, out))
		return -EPROTO;
	return cbor_value_is_valid(out) ? 1 : 0;
}

int reader__uint(const CborValue *map, const char *key, uint64_t *out)
{
	CborValue value;
	int found = find(map, key, &value);

	if (found != 1)
		return found;
	if (cbor_value_is_unsigned_integer(&value))
		return cbor_value_get_uint64(&value, out) ? -EPROTO : 1;
	/* cbor-x writes whole numbers past 32 bits as doubles */
	if (cbor_value_is_double(&value)) {
		double number;

		if (cbor_value_get_double(&value, &number) || !(number >= 0 && number <= 9007199254740992.0) ||
		    (double)(uint64_t)number != number)
			return -EPROTO;
		*out = (uint64_t)number;
		return 1;
	}
	return -EPROTO;
}

int reader__int(const CborValue *map, const char *key, int64_t *out)
{
	CborValue value;
	int found = find(map, key, &value);

	if (found != 1)
		return found;
	return cbor_value_is_integer(&value) && !cbor_value_get_int64_checked(&value, out) ? 1 : -EPROTO;
}

int reader__bool(const CborValue *map, const char *key, bool *out)
{
	CborValue value;
	int found = find(map, key, &value);

	if (found != 1)
		return found;
	return cbor_value_is_boolean(&value) && !cbor_value_get_boolean(&value, out) ? 1 : -EPROTO;
}

static int string(CborValue *value, bool text, bool bytes, struct span *out)
{
	CborValue next;

	if (bytes && cbor_value_is_tag(value)) {
		CborTag tag;

		if (cbor_value_get_tag(value, &tag) || tag != TAG_BYTES || cbor_value_skip_tag(value))
			return -EPROTO;
		text = false;
	}
	/* definite lengths, so the one chunk is the string */
	if (text && cbor_value_is_text_string(value)) {
		const char *at = NULL;

		if (cbor_value_begin_string_iteration(value) ||
		    cbor_value_get_text_string_chunk(value, &at, &out->length, &next))
			return -EPROTO;
		out->at = (const uint8_t *)at;
	} else if (bytes && cbor_value_is_byte_string(value)) {
		if (cbor_value_begin_string_iteration(value) ||
		    cbor_value_get_byte_string_chunk(value, &out->at, &out->length, &next))
			return -EPROTO;
	} else {
		return -EPROTO;
	}
	return 1;
}

static int find_string(const CborValue *map, const char *key, bool text, bool bytes, struct span *out)
{
	CborValue value;
	int found = find(map, key, &value);

	return found == 1 ? string(&value, text, bytes, out) : found;
}

int reader__text(const CborValue *map, const char *key, struct span *out)
{
	return find_string(map, key, true, false, out);
}

int reader__bytes(const CborValue *map, const char *key, struct span *out)
{
	return find_string(map, key, false, true, out);
}

int reader__string(const CborValue *map, const char *key, struct span *out)
{
	return find_string(map, key, true, true, out);
}

int reader__array(const CborValue *map, const char *key, CborValue *out)
{
	int found = find(map, key, out);

	return found == 1 && !cbor_value_is_array(out) ? -EPROTO : found;
}

int reader__map(const CborValue *map, const char *key, CborValue *out)
{
	int found = find(map, key, out);

	return found == 1 && !cbor_value_is_map(out) ? -EPROTO : found;
}

int cursor__string(CborValue *cursor, struct span *out)
{
	CborValue value = *cursor;

	if (string(&value, true, true, out) < 0 || cbor_value_skip_tag(cursor))
		return -EPROTO;
	return cbor_value_advance(cursor) ? -EPROTO : 0;
}

bool span__equals(struct span span, const char *text)
{
	return span.length == strlen(text) && memcmp(span.at, text, span.length) == 0;
}

char *span__copy(struct span span)
{
	char *copy;

	if (span.length && memchr(span.at, 0, span.length)) {
		errno = EINVAL;
		return NULL;
	}
	copy = malloc(span.length + 1);
	if (!copy)
		return NULL;
	if (span.length)
		memcpy(copy, span.at, span.length);
	copy[span.length] = '\0';
	return copy;
}
