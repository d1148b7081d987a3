/* CBOR items written into memory the caller has reserved (RFC 8949, section 3). */
#include "common/writer.h"

#include <string.h>

#include "common/utf8.h"

enum major { UINT = 0, NEGATIVE = 1, BYTES = 2, TEXT = 3, ARRAY = 4, MAP = 5 };

static void put(struct writer *writer, const void *bytes, size_t length)
{
	if ((size_t)(writer->limit - writer->at) < length) {
		writer->full = true;
		return;
	}
	if (length)
		memcpy(writer->at, bytes, length);
	writer->at += length;
}

static void head(struct writer *writer, enum major major, uint64_t value)
{
	uint8_t bytes[9];
	unsigned width = value < 24            ? 0
			 : value <= UINT8_MAX  ? 1
			 : value <= UINT16_MAX ? 2
			 : value <= UINT32_MAX ? 4
					       : 8;
	static const uint8_t info[9] = {[1] = 24, [2] = 25, [4] = 26, [8] = 27};

	bytes[0] = (uint8_t)(major << 5 | (width ? info[width] : value));
	for (unsigned i = 0; i < width; i++)
		bytes[1 + i] = (uint8_t)(value >> (8 * (width - 1 - i)));
	put(writer, bytes, 1 + width);
}

void writer__map(struct writer *writer, uint64_t pairs)
{
	head(writer, MAP, pairs);
}

void writer__array(struct writer *writer, uint64_t items)
{
	head(writer, ARRAY, items);
}

void writer__uint(struct writer *writer, uint64_t value)
{
	head(writer, UINT, value);
}

void writer__int(struct writer *writer, int64_t value)
{
	if (value < 0)
		head(writer, NEGATIVE, (uint64_t)(-1 - value));
	else
		head(writer, UINT, (uint64_t)value);
}

void writer__bool(struct writer *writer, bool value)
{
	uint8_t byte = value ? 0xf5 : 0xf4;

	put(writer, &byte, 1);
}

void writer__text(struct writer *writer, const char *text)
{
	size_t length = strlen(text);

	head(writer, TEXT, length);
	put(writer, text, length);
}

void writer__name(struct writer *writer, const char *name, size_t length)
{
	head(writer, utf8__valid(name, length) ? TEXT : BYTES, length);
	put(writer, name, length);
}

void writer__bytes(struct writer *writer, const uint8_t *bytes, size_t length)
{
	head(writer, BYTES, length);
	put(writer, bytes, length);
}

void writer__bytes_head(struct writer *writer, uint64_t length)
{
	head(writer, BYTES, length);
}

void writer__items(struct writer *writer, const uint8_t *items, size_t length)
{
	put(writer, items, length);
}
