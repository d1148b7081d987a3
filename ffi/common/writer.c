/* CBOR items (RFC 8949, section 3), written at the end of a byte queue. */
#include "common/writer.h"

#include <errno.h>
#include <string.h>

#include "common/utf8.h"

enum major { UINT = 0, NEGATIVE = 1, BYTES = 2, TEXT = 3, ARRAY = 4, MAP = 5 };
enum { PAIRS_MAX = 23, HEAD_MAX = 9 };

struct writer writer__begin(struct buffer *buffer)
{
	return (struct writer){.buffer = buffer};
}

int writer__end(struct writer *writer)
{
	if (!writer->err)
		buffer__commit(writer->buffer, writer->length);
	writer->length = 0;
	return writer->err;
}

/* Room for `size` bytes more; NULL where there is none, now or before. */
static uint8_t *reserve(struct writer *writer, size_t size)
{
	uint8_t *room = writer->err ? NULL : buffer__reserve(writer->buffer, writer->length + size);
	if (!room && !writer->err)
		writer->err = -ENOMEM;
	return room ? room + writer->length : NULL;
}

void writer__raw(struct writer *writer, const void *bytes, size_t length)
{
	uint8_t *room = reserve(writer, length);
	if (!room)
		return;
	if (length)
		memcpy(room, bytes, length);
	writer->length += length;
}

/* Bytes of the shortest head. */
static size_t make_head(uint8_t bytes[HEAD_MAX], enum major major, uint64_t value)
{
	static const uint8_t info[HEAD_MAX] = {[1] = 24, [2] = 25, [4] = 26, [8] = 27};
	unsigned width = value < 24            ? 0
			 : value <= UINT8_MAX  ? 1
			 : value <= UINT16_MAX ? 2
			 : value <= UINT32_MAX ? 4
					       : 8;
	bytes[0] = (uint8_t)(major << 5 | (width ? info[width] : value));
	for (unsigned i = 0; i < width; i++)
		bytes[1 + i] = (uint8_t)(value >> (8 * (width - 1 - i)));
	return 1 + width;
}

static void put_head(struct writer *writer, enum major major, uint64_t value)
{
	uint8_t bytes[HEAD_MAX];
	writer__raw(writer, bytes, make_head(bytes, major, value));
}

static void put_string(struct writer *writer, enum major major, const void *bytes, size_t length)
{
	put_head(writer, major, length);
	writer__raw(writer, bytes, length);
}

static void put_key(struct writer *writer, const char *key)
{
	if (!key)
		return;
	if (writer->depth && ++writer->maps[writer->depth - 1].count > PAIRS_MAX)
		writer->err = writer->err ? writer->err : -EMSGSIZE;
	put_string(writer, TEXT, key, strlen(key));
}

void writer__uint(struct writer *writer, const char *key, uint64_t value)
{
	put_key(writer, key);
	put_head(writer, UINT, value);
}

void writer__int(struct writer *writer, const char *key, int64_t value)
{
	put_key(writer, key);
	put_head(writer, value < 0 ? NEGATIVE : UINT, value < 0 ? (uint64_t)(-1 - value) : (uint64_t)value);
}

void writer__bool(struct writer *writer, const char *key, bool value)
{
	uint8_t byte = value ? 0xf5 : 0xf4;
	put_key(writer, key);
	writer__raw(writer, &byte, 1);
}

void writer__text(struct writer *writer, const char *key, const char *text)
{
	put_key(writer, key);
	put_string(writer, TEXT, text, strlen(text));
}

void writer__name(struct writer *writer, const char *key, const char *name, size_t length)
{
	put_key(writer, key);
	put_string(writer, utf8__valid(name, length) ? TEXT : BYTES, name, length);
}

void writer__bytes(struct writer *writer, const char *key, const void *bytes, size_t length)
{
	put_key(writer, key);
	put_string(writer, BYTES, bytes, length);
}

void writer__list(struct writer *writer, const char *key, uint64_t count)
{
	put_key(writer, key);
	put_head(writer, ARRAY, count);
}

void writer__items(struct writer *writer, const char *key, uint64_t count, const uint8_t *items, size_t length)
{
	writer__list(writer, key, count);
	writer__raw(writer, items, length);
}

void writer__open(struct writer *writer, const char *key)
{
	put_key(writer, key);
	if (writer->depth == WRITER_DEPTH) {
		writer->err = -EMSGSIZE;
		return;
	}
	writer->maps[writer->depth].head = writer->length;
	writer->maps[writer->depth++].count = 0;
	put_head(writer, MAP, 0);
}

void writer__close(struct writer *writer)
{
	uint8_t *written = reserve(writer, 0);
	writer->depth -= writer->depth > 0;
	if (written)
		*(written - writer->length + writer->maps[writer->depth].head) |=
			(uint8_t)writer->maps[writer->depth].count;
}

void writer__failure(struct writer *writer, const char *key, const char *code, const char *message)
{
	writer__open(writer, key);
	writer__text(writer, "code", code);
	writer__text(writer, "message", message);
	writer__close(writer);
}

uint8_t *writer__open_bytes(struct writer *writer, const char *key, size_t max)
{
	put_key(writer, key);
	uint8_t head[HEAD_MAX];
	writer->gap = make_head(head, BYTES, max);
	uint8_t *room = reserve(writer, writer->gap + max);
	return room ? room + writer->gap : NULL;
}

void writer__close_bytes(struct writer *writer, size_t length)
{
	uint8_t *room = reserve(writer, writer->gap + length);
	if (!room)
		return;
	uint8_t head[HEAD_MAX];
	size_t size = make_head(head, BYTES, length);
	if (size != writer->gap)
		memmove(room + size, room + writer->gap, length);
	memcpy(room, head, size);
	writer->length += size + length;
}
