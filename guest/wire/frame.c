/* Frames: a 4-byte big-endian length and one CBOR map. */
#include "wire/frame.h"

#include <errno.h>
#include <string.h>

/* More than { id, ev, data } takes before its payload: 1 map, 3+9 id, 3+1+32 ev, 5+5 data. */
enum { DATA_HEAD = 64 };

static void put_length(uint8_t *at, size_t length)
{
	for (int i = 0; i < FRAME_HEAD; i++)
		at[i] = (uint8_t)(length >> (8 * (FRAME_HEAD - 1 - i)));
}

int frame__begin(struct frame *frame, struct buffer *buffer, size_t size)
{
	uint8_t *room = buffer__reserve(buffer, FRAME_HEAD + size);

	if (!room)
		return -ENOMEM;
	frame->buffer = buffer;
	frame->writer = (struct writer){.at = room + FRAME_HEAD, .limit = room + FRAME_HEAD + size};
	return 0;
}

int frame__end(struct frame *frame)
{
	uint8_t *base = frame->buffer->data + frame->buffer->end;
	size_t length = (size_t)(frame->writer.at - base) - FRAME_HEAD;

	if (frame->writer.full || length > FRAME_LIMIT)
		return -EMSGSIZE;
	put_length(base, length);
	buffer__commit(frame->buffer, FRAME_HEAD + length);
	return 0;
}

/* Everything before the payload, into DATA_HEAD bytes; returns how many of them. */
static size_t data_head(const struct data_frame *frame, uint8_t *head, size_t length)
{
	struct writer writer = {.at = head + FRAME_HEAD, .limit = head + DATA_HEAD};
	size_t size;

	writer__map(&writer, frame->id ? 3 : 2);
	if (frame->id) {
		writer__text(&writer, "id");
		writer__uint(&writer, frame->id);
	}
	writer__text(&writer, "ev");
	writer__text(&writer, frame->ev);
	writer__text(&writer, "data");
	writer__bytes_head(&writer, length);
	size = (size_t)(writer.at - head);
	put_length(head, size - FRAME_HEAD + length);
	return size;
}

uint8_t *data_frame__begin(struct data_frame *frame, struct buffer *buffer, uint64_t id, const char *ev, size_t max)
{
	uint8_t head[DATA_HEAD];
	uint8_t *room = buffer__reserve(buffer, DATA_HEAD + max);

	*frame = (struct data_frame){.buffer = buffer, .id = id, .ev = ev, .max = max};
	return room ? room + data_head(frame, head, max) : NULL;
}

void data_frame__end(const struct data_frame *frame, size_t length)
{
	uint8_t head[DATA_HEAD];
	uint8_t *base = frame->buffer->data + frame->buffer->end;
	size_t expected = data_head(frame, head, frame->max), size = data_head(frame, head, length);

	if (size != expected)
		memmove(base + size, base + expected, length);
	memcpy(base, head, size);
	buffer__commit(frame->buffer, size + length);
}

uint32_t frame__claimed(const struct buffer *buffer)
{
	const uint8_t *at = buffer__head(buffer);

	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

int frame__peek(const struct buffer *buffer, const uint8_t **body, size_t *length, size_t *missing)
{
	size_t pending = buffer__pending(buffer);
	uint32_t claimed;

	if (pending < FRAME_HEAD) {
		*missing = FRAME_HEAD - pending;
		return 0;
	}
	claimed = frame__claimed(buffer);
	if (claimed == 0 || claimed > FRAME_LIMIT)
		return -EPROTO;
	if (pending - FRAME_HEAD < claimed) {
		*missing = claimed - (pending - FRAME_HEAD);
		return 0;
	}
	*body = buffer__head(buffer) + FRAME_HEAD;
	*length = claimed;
	return 1;
}
