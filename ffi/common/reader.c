/* Fields of a received CBOR map, on tinycbor's pull parser. */
#include "common/reader.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TAG_BYTES 64 /* uint8 typed array, RFC 8746 section 2.1 */

static const char *const malformed = "not well-formed CBOR";

/* A message being checked. */
struct check {
	const uint8_t *end;
	const char *why;
};

static int refuse(struct check *check, const char *why)
{
	check->why = why;
	return -EPROTO;
}

static int by_bytes(const void *one, const void *other)
{
	const struct span *a = one, *b = other;
	if (a->length != b->length)
		return a->length < b->length ? -1 : 1;
	return a->length ? memcmp(a->at, b->at, a->length) : 0;
}

static int check_differ(struct check *check, struct span *keys, size_t count)
{
	qsort(keys, count, sizeof(*keys), by_bytes);
	for (size_t i = 1; i < count; i++)
		if (by_bytes(&keys[i - 1], &keys[i]) == 0)
			return refuse(check, "a map with the same key twice");
	return 0;
}

static int check_item(struct check *check, CborValue *item, unsigned depth);

/* The pairs of a map, at its first. */
static int check_pairs(struct check *check, CborValue *at, struct span *keys, size_t count, unsigned depth)
{
	for (size_t i = 0; i < count; i++) {
		CborValue key = *at;
		if (!cbor_value_is_text_string(at))
			return refuse(check, cbor_value_at_end(at) ? malformed : "a map key that is not text");
		int err = check_item(check, at, depth + 1);
		if (!err)
			err = value__string(&key, true, false, &keys[i]);
		if (!err)
			err = cbor_value_at_end(at) ? refuse(check, malformed) : check_item(check, at, depth + 1);
		if (err)
			return err;
	}
	return check_differ(check, keys, count);
}

static int check_map(struct check *check, const CborValue *map, CborValue *at, unsigned depth)
{
	struct span few[16], *keys = few;
	size_t count;
	/* a pair takes two bytes at least, so what is allocated has a bound */
	if (cbor_value_get_map_length(map, &count) || count > (size_t)(check->end - cbor_value_get_next_byte(map)) / 2)
		return refuse(check, malformed);
	if (count > sizeof(few) / sizeof(few[0]))
		keys = malloc(count * sizeof(*keys));
	if (!keys) {
		check->why = "no memory";
		return -ENOMEM;
	}
	int err = check_pairs(check, at, keys, count, depth);
	if (keys != few)
		free(keys);
	return err;
}

static int check_tag(struct check *check, CborValue *item, unsigned depth)
{
	CborTag tag;
	if (cbor_value_get_tag(item, &tag) || cbor_value_skip_tag(item))
		return refuse(check, malformed);
	if (tag == CborPositiveBignumTag || tag == CborNegativeBignumTag)
		return refuse(check, "an integer of more than 64 bits");
	return check_item(check, item, depth + 1);
}

/* Walk one item: tinycbor checks lengths against the buffer, this checks what the protocols add. Moves past the item.
 */
static int check_item(struct check *check, CborValue *item, unsigned depth) // NOLINT(misc-no-recursion)
{
	if (!cbor_value_is_length_known(item))
		return refuse(check, "a string, array or map of indefinite length");
	if (!cbor_value_is_tag(item) && !cbor_value_is_container(item))
		return cbor_value_advance(item) ? refuse(check, malformed) : 0;
	if (depth > MESSAGE_DEPTH)
		return refuse(check, "nested more than 8 deep");
	if (cbor_value_is_tag(item))
		return check_tag(check, item, depth);
	CborValue inner;
	if (cbor_value_enter_container(item, &inner))
		return refuse(check, malformed);
	int err = cbor_value_is_map(item) ? check_map(check, item, &inner, depth) : 0;
	while (!err && !cbor_value_at_end(&inner))
		err = check_item(check, &inner, depth + 1);
	if (!err && cbor_value_leave_container(item, &inner))
		err = refuse(check, malformed);
	return err;
}

int message__parse(struct message *message, const uint8_t *bytes, size_t length, const char **why)
{
	struct check check = {.end = bytes + length, .why = malformed};
	int err = -EPROTO;
	if (!cbor_parser_init(bytes, length, 0, &message->parser, &message->map)) {
		CborValue end = message->map;
		err = cbor_value_is_map(&end) ? check_item(&check, &end, 1) : refuse(&check, "not a map");
		if (!err && cbor_value_get_next_byte(&end) != check.end)
			err = refuse(&check, "bytes after the map");
	}
	*why = check.why;
	return err;
}

int value__uint(const CborValue *value, uint64_t *out)
{
	if (cbor_value_is_unsigned_integer(value))
		return cbor_value_get_uint64(value, out) ? -EPROTO : 0;
	double number;
	float single;
	/* JavaScript's encoders write whole numbers past 32 bits so */
	if (cbor_value_is_double(value)) {
		cbor_value_get_double(value, &number);
	} else if (cbor_value_is_float(value)) {
		cbor_value_get_float(value, &single);
		number = (double)single;
	} else {
		return -EPROTO;
	}
	if (!(number >= 0 && number <= 9007199254740992.0) || (double)(uint64_t)number != number)
		return -EPROTO;
	*out = (uint64_t)number;
	return 0;
}

int value__string(const CborValue *string, bool text, bool bytes, struct span *out)
{
	CborValue value = *string;
	if (bytes && cbor_value_is_tag(&value)) {
		CborTag tag;
		if (cbor_value_get_tag(&value, &tag) || tag != TAG_BYTES || cbor_value_skip_tag(&value))
			return -EPROTO;
		text = false;
	}
	if (!cbor_value_is_length_known(&value))
		return -EPROTO;
	CborValue next;
	/* definite lengths, so the one chunk is the string */
	if (text && cbor_value_is_text_string(&value)) {
		const char *at = NULL;
		if (cbor_value_begin_string_iteration(&value) ||
		    cbor_value_get_text_string_chunk(&value, &at, &out->length, &next))
			return -EPROTO;
		out->at = (const uint8_t *)at;
		return 0;
	}
	if (!bytes || !cbor_value_is_byte_string(&value) || cbor_value_begin_string_iteration(&value) ||
	    cbor_value_get_byte_string_chunk(&value, &out->at, &out->length, &next))
		return -EPROTO;
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
	return found == 1 && value__uint(&value, out) ? -EPROTO : found;
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

static int find_string(const CborValue *map, const char *key, bool text, bool bytes, struct span *out)
{
	CborValue value;
	int found = find(map, key, &value);
	return found == 1 && value__string(&value, text, bytes, out) ? -EPROTO : found;
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
	if (value__string(cursor, true, true, out) || cbor_value_skip_tag(cursor))
		return -EPROTO;
	return cbor_value_advance(cursor) ? -EPROTO : 0;
}

bool span__equals(struct span span, const char *text)
{
	return span.length == strlen(text) && memcmp(span.at, text, span.length) == 0;
}

int span__copy(struct span span, char **out)
{
	*out = NULL;
	if (span.length && memchr(span.at, 0, span.length))
		return -EINVAL;
	char *copy = malloc(span.length + 1);
	if (!copy)
		return -ENOMEM;
	if (span.length)
		memcpy(copy, span.at, span.length);
	copy[span.length] = '\0';
	*out = copy;
	return 0;
}
