/* Frames: a 4-byte big-endian length and one CBOR map. */
#include "common/frame.h"

#include <errno.h>
#include <string.h>

struct writer frame__begin(struct buffer *buffer)
{
	static const uint8_t unknown[FRAME_HEAD];
	struct writer writer = writer__begin(buffer);
	writer__raw(&writer, unknown, sizeof(unknown));
	writer__open(&writer, NULL);
	return writer;
}

int frame__end(struct writer *writer)
{
	writer__close(writer);
	size_t length = writer->length - FRAME_HEAD;
	if (!writer->err && length > FRAME_LIMIT)
		writer->err = -EMSGSIZE;
	if (writer->err)
		return writer->err;
	uint8_t *head = writer->buffer->data + writer->buffer->end;
	for (int i = 0; i < FRAME_HEAD; i++)
		head[i] = (uint8_t)(length >> (8 * (FRAME_HEAD - 1 - i)));
	return writer__end(writer);
}

uint8_t *data_frame__begin(struct writer *writer, struct buffer *buffer, uint64_t id, const char *ev, size_t max)
{
	*writer = frame__begin(buffer);
	if (id)
		writer__uint(writer, "id", id);
	writer__text(writer, "ev", ev);
	return writer__open_bytes(writer, "data", max);
}

void data_frame__end(struct writer *writer, size_t length)
{
	writer__close_bytes(writer, length);
	(void)!frame__end(writer); /* it has its memory, and a payload within FRAME_LIMIT */
}

uint32_t frame__length(const uint8_t head[FRAME_HEAD])
{
	return (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
}

int frame__peek(const struct buffer *buffer, const uint8_t **body, size_t *length, size_t *missing)
{
	size_t pending = buffer__pending(buffer);
	if (pending < FRAME_HEAD) {
		*missing = FRAME_HEAD - pending;
		return 0;
	}
	uint32_t claimed = frame__length(buffer__head(buffer));
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
