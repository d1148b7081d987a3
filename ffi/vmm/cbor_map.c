/* Reading CBOR maps by a table of their keys: the configuration and the control channel's requests. */
#include "vmm/cbor_map.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define WHERE_LEN 128

static int wrong(struct cbor_reader *reader, const char *where, const char *what)
{
	(void)!failure__set(reader->why, EINVAL, NULL, "%s %s", *where ? where : "the message", what);
	return -EINVAL;
}

static int text_into(struct cbor_reader *reader, const CborValue *value, char **out, size_t *out_len, const char *where)
{
	struct span text;
	if (value__string(value, true, false, &text))
		return wrong(reader, where, "must be a text string");
	if (text.length >= reader->left)
		return wrong(reader, where, "is too long");
	if (text.length && memchr(text.at, 0, text.length))
		return wrong(reader, where, "has a NUL character in it");
	if (text.length)
		memcpy(reader->pool, text.at, text.length);
	reader->pool[text.length] = 0;
	*out = reader->pool;
	*out_len = text.length;
	return 0;
}

int cbor_value__text(struct cbor_reader *reader, const CborValue *value, const char **out, const char *where)
{
	char *text = NULL;
	size_t len = 0;
	int err = text_into(reader, value, &text, &len, where);
	if (err)
		return err;
	reader->pool += len + 1;
	reader->left -= len + 1;
	*out = text;
	return 0;
}

int cbor_value__uint(struct cbor_reader *reader, const CborValue *value, uint64_t min, uint64_t max, uint64_t *out,
		     const char *where)
{
	uint64_t number;
	if (value__uint(value, &number))
		return wrong(reader, where, "must be an unsigned integer");
	if (number < min || number > max)
		return failure__set(reader->why, EINVAL, NULL, "%s is %llu; allowed are %llu to %llu", where,
				    (unsigned long long)number, (unsigned long long)min, (unsigned long long)max);
	*out = number;
	return 0;
}

int cbor_value__bytes(struct cbor_reader *reader, const CborValue *value, struct span *out, const char *where)
{
	return value__string(value, false, true, out) ? wrong(reader, where, "must be a byte string") : 0;
}

static int read_field(struct cbor_reader *reader, const CborValue *value, const struct cbor_field *field, void *into,
		      const char *where)
{
	void *member = (char *)into + field->offset;
	bool truth;
	switch (field->kind) {
	case CBOR_KIND_TEXT:
		return cbor_value__text(reader, value, member, where);
	case CBOR_KIND_UINT:
		return cbor_value__uint(reader, value, field->min, field->max, member, where);
	case CBOR_KIND_BOOL:
		if (!cbor_value_is_boolean(value))
			return wrong(reader, where, "must be true or false");
		cbor_value_get_boolean(value, &truth);
		*(bool *)member = truth;
		return 0;
	case CBOR_KIND_BYTES:
		return cbor_value__bytes(reader, value, member, where);
	case CBOR_KIND_OTHER:
		return field->read(reader, value, member, where);
	}
	return -EINVAL;
}

/* Past one item, with the tags before it: for tinycbor a tag is an item of its own. */
static bool advance(CborValue *at)
{
	return cbor_value_skip_tag(at) == CborNoError && cbor_value_advance(at) == CborNoError;
}

int cbor_message__read(struct cbor_reader *reader, const uint8_t *from, size_t len, const struct cbor_field *fields,
		       unsigned count, bool strict, void *into)
{
	struct message message;
	const char *why;
	int err = message__parse(&message, from, len, &why);
	if (err)
		return failure__set(reader->why, err == -ENOMEM ? ENOMEM : EINVAL, NULL,
				    "the message is not as the protocol has it: %s", why);
	return cbor_map__read(reader, &message.map, fields, count, strict, into, "");
}

int cbor_map__read(struct cbor_reader *reader, const CborValue *value, const struct cbor_field *fields, unsigned count,
		   bool strict, void *into, const char *where)
{
	CborValue at;
	char name[WHERE_LEN];
	uint64_t seen = 0;
	if (!cbor_value_is_map(value) || cbor_value_enter_container(value, &at) != CborNoError)
		return wrong(reader, where, "must be a map");
	while (!cbor_value_at_end(&at)) {
		char *key = NULL;
		size_t key_len = 0;
		snprintf(name, sizeof(name), "a key of %s", *where ? where : "the message");
		int err = text_into(reader, &at, &key, &key_len, name); /* the pool does not keep it */
		if (err)
			return err;
		unsigned i = 0;
		while (i < count && strcmp(fields[i].key, key) != 0)
			i++;
		if (i == count && strict)
			return failure__set(reader->why, EINVAL, NULL, "%s has a key \"%.40s\" that is not known",
					    *where ? where : "the message", key);
		if (cbor_value_advance(&at) != CborNoError || cbor_value_at_end(&at))
			return wrong(reader, where, "is not well-formed CBOR");
		if (i < count && !cbor_value_is_undefined(&at) && !cbor_value_is_null(&at)) {
			snprintf(name, sizeof(name), "%s%s%s", where, *where ? "." : "", fields[i].key);
			seen |= 1ULL << i;
			err = read_field(reader, &at, &fields[i], into, name);
			if (err)
				return err;
		}
		if (!advance(&at))
			return wrong(reader, where, "is not well-formed CBOR");
	}
	for (unsigned i = 0; i < count; i++) {
		if (fields[i].required && !(seen & (1ULL << i))) {
			snprintf(name, sizeof(name), "%s%s%s", where, *where ? "." : "", fields[i].key);
			return wrong(reader, name, "is missing");
		}
	}
	return 0;
}

int cbor_array__read(struct cbor_reader *reader, const CborValue *value, unsigned max, const char *where,
		     int (*item)(struct cbor_reader *reader, const CborValue *value, void *arg, unsigned index,
				 const char *where),
		     void *arg)
{
	CborValue at;
	char name[WHERE_LEN];
	if (!cbor_value_is_array(value) || cbor_value_enter_container(value, &at) != CborNoError)
		return wrong(reader, where, "must be an array");
	for (unsigned index = 0; !cbor_value_at_end(&at); index++) {
		snprintf(name, sizeof(name), "%s[%u]", where, index);
		if (index == max)
			return failure__set(reader->why, EINVAL, NULL, "%s has more than %u items", where, max);
		int err = item(reader, &at, arg, index, name);
		if (err)
			return err;
		if (!advance(&at))
			return wrong(reader, where, "is not well-formed CBOR");
	}
	return 0;
}
