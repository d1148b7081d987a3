/* Reading CBOR maps by tables of their keys: the configuration, the control channel's requests, what was saved. */
#include "common/cbor_table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHERE_LEN 128
#define KEY_LEN 64

struct cbor_block {
	struct cbor_block *next;
	_Alignas(16) uint8_t bytes[];
};

void cbor_arena__free(struct cbor_arena *arena)
{
	while (arena->first) {
		struct cbor_block *block = arena->first;
		arena->first = block->next;
		free(block);
	}
}

/* Zeroed. NULL: *reader->why says that there is no memory. */
static void *allocate(struct cbor_reader *reader, size_t size, const char *where)
{
	struct cbor_block *block = calloc(1, sizeof(*block) + size);
	if (!block) {
		(void)!failure__set(reader->why, ENOMEM, NULL, "no memory for %s", where);
		return NULL;
	}
	block->next = reader->arena->first;
	reader->arena->first = block;
	return block->bytes;
}

int cbor_reader__refuse(struct cbor_reader *reader, const char *where, const char *what)
{
	return failure__set(reader->why, EINVAL, NULL, "%s %s", *where ? where : "the message", what);
}

static int refuse(struct cbor_reader *reader, const char *where, const char *what)
{
	return cbor_reader__refuse(reader, where, what);
}

static int read_text(struct cbor_reader *reader, const CborValue *value, const char **out, const char *where)
{
	struct span text = {NULL, 0};
	if (value__string(value, true, false, &text))
		return refuse(reader, where, "must be a text string");
	if (text.length && memchr(text.at, 0, text.length))
		return refuse(reader, where, "has a NUL character in it");
	char *copy = allocate(reader, text.length + 1, where);
	if (!copy)
		return -ENOMEM;
	if (text.length)
		memcpy(copy, text.at, text.length);
	*out = copy;
	return 0;
}

static int read_path(struct cbor_reader *reader, const CborValue *value, const char **out, const char *where)
{
	int err = read_text(reader, value, out, where);
	if (err || **out == '/')
		return err;
	return failure__set(reader->why, EINVAL, NULL, "%s is \"%.80s\"; it must be an absolute path", where, *out);
}

static int read_parsed(struct cbor_reader *reader, const CborValue *value, const struct cbor_field *field, void *member,
		       const char *where)
{
	const char *text;
	int err = read_text(reader, value, &text, where);
	return err ? err : field->parse(text, member) ? refuse(reader, where, field->must) : 0;
}

static int read_choice(struct cbor_reader *reader, const CborValue *value, const struct cbor_field *field, void *member,
		       const char *where)
{
	const char *text;
	char list[128] = "";
	int err = read_text(reader, value, &text, where);
	if (err)
		return err;
	for (unsigned i = 0; field->words[i]; i++) {
		if (strcmp(text, field->words[i]) == 0) {
			*(unsigned *)member = (unsigned)field->min + i;
			return 0;
		}
		strncat(list, i ? ", " : "", sizeof(list) - strlen(list) - 1);
		strncat(list, field->words[i], sizeof(list) - strlen(list) - 1);
	}
	return failure__set(reader->why, EINVAL, NULL, "%s is \"%.40s\"; allowed are %s", where, text, list);
}

static int read_number(struct cbor_reader *reader, const CborValue *value, const struct cbor_field *field,
		       unsigned bytes, void *member, const char *where)
{
	const uint64_t most = field->max ? field->max : UINT64_MAX >> (64 - 8 * bytes);
	uint64_t number;
	if (value__uint(value, &number))
		return refuse(reader, where, "must be an unsigned integer");
	if (number < field->min || number > most)
		return failure__set(reader->why, EINVAL, NULL, "%s is %llu; allowed are %llu to %llu", where,
				    (unsigned long long)number, (unsigned long long)field->min,
				    (unsigned long long)most);
	memcpy(member, &number, bytes); /* the machines that there are begin with the least byte */
	return 0;
}

static int read_bool(struct cbor_reader *reader, const CborValue *value, bool *out, const char *where)
{
	if (!cbor_value_is_boolean(value))
		return refuse(reader, where, "must be true or false");
	cbor_value_get_boolean(value, out);
	return 0;
}

static int read_bytes(struct cbor_reader *reader, const CborValue *value, struct span *out, const char *where)
{
	return value__string(value, false, true, out) ? refuse(reader, where, "must be a byte string") : 0;
}

static int read_data(struct cbor_reader *reader, const CborValue *value, const struct cbor_field *field, void *member,
		     const char *where)
{
	struct span bytes = {NULL, 0};
	int err = read_bytes(reader, value, &bytes, where);
	if (err)
		return err;
	if (bytes.length != field->max)
		return failure__set(reader->why, EINVAL, NULL, "%s must be %zu bytes", where, (size_t)field->max);
	if (bytes.length)
		memcpy(member, bytes.at, bytes.length);
	return 0;
}

/* Past one item, with the tags before it: for tinycbor a tag is an item of its own. */
static bool advance(CborValue *at)
{
	return cbor_value_skip_tag(at) == CborNoError && cbor_value_advance(at) == CborNoError;
}

static int read_value(struct cbor_reader *reader, const CborValue *value, const struct cbor_field *field, void *member,
		      const char *where);

/* The items of a list or a tuple: *count of them. */
static int enter_array(struct cbor_reader *reader, const CborValue *value, size_t most, CborValue *at, size_t *count,
		       const char *where)
{
	if (!cbor_value_is_array(value) || cbor_value_get_array_length(value, count) != CborNoError ||
	    cbor_value_enter_container(value, at) != CborNoError)
		return refuse(reader, where, "must be an array");
	return *count > most ? failure__set(reader->why, EINVAL, NULL, "%s has more than %zu items", where, most) : 0;
}

static int read_list(struct cbor_reader *reader, const CborValue *value, const struct cbor_field *field, void *member,
		     const char *where) // NOLINT(misc-no-recursion)
{
	CBOR_LIST_OF(void) list;
	CborValue at;
	char name[WHERE_LEN];
	size_t count = 0;
	int err = enter_array(reader, value, field->max, &at, &count, where);
	if (err)
		return err;
	list.at = allocate(reader, count * field->size, where);
	list.count = (unsigned)count;
	if (!list.at)
		return -ENOMEM;
	memcpy(member, &list, sizeof(list));
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "%s[%u]", where, i);
		err = read_value(reader, &at, field->item, (uint8_t *)list.at + i * field->size, name);
		if (err)
			return err;
		if (!advance(&at))
			return refuse(reader, where, "is not well-formed CBOR");
	}
	return 0;
}

/* As in "must be [dev, ino]". */
static int refuse_tuple(struct cbor_reader *reader, const struct cbor_table *table, const char *where)
{
	char what[128] = "must be [";
	for (unsigned i = 0; i < table->count; i++) {
		strncat(what, i ? ", " : "", sizeof(what) - strlen(what) - 1);
		strncat(what, table->fields[i].key, sizeof(what) - strlen(what) - 1);
	}
	strncat(what, "]", sizeof(what) - strlen(what) - 1);
	return refuse(reader, where, what);
}

static int read_tuple(struct cbor_reader *reader, const CborValue *value, const struct cbor_table *table, void *into,
		      const char *where) // NOLINT(misc-no-recursion)
{
	CborValue at;
	char name[WHERE_LEN];
	size_t count = 0;
	int err = enter_array(reader, value, table->count, &at, &count, where);
	if (err)
		return err;
	if (count != table->count)
		return refuse_tuple(reader, table, where);
	for (unsigned i = 0; i < count; i++) {
		const struct cbor_field *field = &table->fields[i];
		snprintf(name, sizeof(name), "%s.%s", where, field->key);
		err = read_value(reader, &at, field, (uint8_t *)into + field->offset, name);
		if (err)
			return err;
		if (!advance(&at))
			return refuse(reader, where, "is not well-formed CBOR");
	}
	return table->check ? table->check(reader, into, where) : 0;
}

/* The field that has the key at `at`: its index, or the table's count where none has it. */
static int find_field(struct cbor_reader *reader, const CborValue *at, const struct cbor_table *table, unsigned *index,
		      const char *where)
{
	struct span key = {NULL, 0};
	if (value__string(at, true, false, &key))
		return refuse(reader, where, "has a key that is not text");
	for (*index = 0; *index < table->count; ++*index)
		if (span__equals(key, table->fields[*index].key))
			return 0;
	if (table->open)
		return 0;
	return failure__set(reader->why, EINVAL, NULL, "%s has a key \"%.*s\" that is not known",
			    *where ? where : "the message", (int)(key.length < KEY_LEN ? key.length : KEY_LEN),
			    (const char *)key.at);
}

static void name_field(char name[WHERE_LEN], const char *where, const struct cbor_field *field)
{
	snprintf(name, WHERE_LEN, "%s%s%s", where, *where ? "." : "", field->key);
}

static int read_map(struct cbor_reader *reader, const CborValue *value, const struct cbor_table *table, void *into,
		    const char *where) // NOLINT(misc-no-recursion)
{
	CborValue at;
	char name[WHERE_LEN];
	uint64_t seen = 0;
	if (!cbor_value_is_map(value) || cbor_value_enter_container(value, &at) != CborNoError)
		return refuse(reader, where, "must be a map");
	if (table->begin)
		table->begin(into);
	while (!cbor_value_at_end(&at)) {
		unsigned i = 0;
		int err = find_field(reader, &at, table, &i, where);
		if (err)
			return err;
		if (cbor_value_advance(&at) != CborNoError)
			return refuse(reader, where, "is not well-formed CBOR");
		if (i < table->count && !cbor_value_is_undefined(&at) && !cbor_value_is_null(&at)) {
			const struct cbor_field *field = &table->fields[i];
			name_field(name, where, field);
			seen |= 1ULL << i;
			err = read_value(reader, &at, field, (uint8_t *)into + field->offset, name);
			if (err)
				return err;
		}
		if (!advance(&at))
			return refuse(reader, where, "is not well-formed CBOR");
	}
	for (unsigned i = 0; i < table->count; i++) {
		if (table->fields[i].required && !(seen & (1ULL << i))) {
			name_field(name, where, &table->fields[i]);
			return refuse(reader, name, "is missing");
		}
	}
	return table->check ? table->check(reader, into, where) : 0;
}

static int read_kind(struct cbor_reader *reader, const CborValue *value, const struct cbor_field *field, void *member,
		     const char *where) // NOLINT(misc-no-recursion)
{
	switch (field->kind) {
	case CBOR_TEXT:
		return read_text(reader, value, member, where);
	case CBOR_PATH:
		return read_path(reader, value, member, where);
	case CBOR_PARSED:
		return read_parsed(reader, value, field, member, where);
	case CBOR_CHOICE:
		return read_choice(reader, value, field, member, where);
	case CBOR_BOOL:
		return read_bool(reader, value, member, where);
	case CBOR_U8:
		return read_number(reader, value, field, 1, member, where);
	case CBOR_U16:
		return read_number(reader, value, field, 2, member, where);
	case CBOR_U32:
		return read_number(reader, value, field, 4, member, where);
	case CBOR_U64:
		return read_number(reader, value, field, 8, member, where);
	case CBOR_BYTES:
		return read_bytes(reader, value, member, where);
	case CBOR_DATA:
		return read_data(reader, value, field, member, where);
	case CBOR_MAP:
		return read_map(reader, value, field->table, member, where);
	case CBOR_TUPLE:
		return read_tuple(reader, value, field->table, member, where);
	case CBOR_LIST:
		return read_list(reader, value, field, member, where);
	}
	return -EINVAL;
}

static int read_value(struct cbor_reader *reader, const CborValue *value, const struct cbor_field *field, void *member,
		      const char *where) // NOLINT(misc-no-recursion)
{
	int err = read_kind(reader, value, field, member, where);
	const char *wrong = err || !field->wrong ? NULL : field->wrong(member);
	return wrong ? refuse(reader, where, wrong) : err;
}

int cbor_table__read(struct cbor_reader *reader, const struct cbor_table *table, const uint8_t *bytes, size_t len,
		     void *into)
{
	struct message message;
	const char *why;
	int err = message__parse(&message, bytes, len, &why);
	if (err)
		return failure__set(reader->why, err == -ENOMEM ? ENOMEM : EINVAL, NULL,
				    "the message is not as the protocol has it: %s", why);
	return read_map(reader, &message.map, table, into, "");
}
