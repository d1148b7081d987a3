/* Frames of the control channel: a 4-byte big-endian length and one CBOR map, built entry by entry. */
#include "vmm/frame.h"

#include <stdlib.h>
#include <string.h>

#define HEADS 64 /* room for the map's head and the like, beside the entries */
#define MAP_HEAD 0xa0

/* Encoding errors are not looked at one by one: the encoder counts what did not fit, and frame__end asks it. */

static void open_map(struct frame *frame, CborEncoder *parent)
{
	struct frame_map *map = &frame->maps[frame->depth];
	map->head = parent->data.ptr;
	map->count = 0;
	cbor_encoder_create_map(parent, &map->encoder, 0);
}

void frame__begin(struct frame *frame, size_t room)
{
	*frame = (struct frame){.len = FRAME_HEAD + HEADS + room};
	frame->bytes = malloc(frame->len);
	if (!frame->bytes)
		return;
	cbor_encoder_init(&frame->root, frame->bytes + FRAME_HEAD, HEADS + room, 0);
	open_map(frame, &frame->root);
}

static CborEncoder *key(struct frame *frame, const char *name)
{
	struct frame_map *map = &frame->maps[frame->depth];
	map->count++;
	cbor_encode_text_stringz(&map->encoder, name);
	return &map->encoder;
}

void frame__text(struct frame *frame, const char *name, const char *value)
{
	if (frame->bytes)
		cbor_encode_text_stringz(key(frame, name), value);
}

void frame__uint(struct frame *frame, const char *name, uint64_t value)
{
	if (frame->bytes)
		cbor_encode_uint(key(frame, name), value);
}

void frame__bool(struct frame *frame, const char *name, bool value)
{
	if (frame->bytes)
		cbor_encode_boolean(key(frame, name), value);
}

void frame__bytes(struct frame *frame, const char *name, const void *data, size_t len)
{
	if (frame->bytes)
		cbor_encode_byte_string(key(frame, name), data, len);
}

void frame__open(struct frame *frame, const char *name)
{
	if (!frame->bytes)
		return;
	CborEncoder *parent = key(frame, name);
	frame->depth++;
	open_map(frame, parent);
}

static bool close_map(struct frame *frame, CborEncoder *parent)
{
	struct frame_map *map = &frame->maps[frame->depth];
	bool whole = cbor_encoder_get_extra_bytes_needed(&map->encoder) == 0 && map->count <= 23;
	cbor_encoder_close_container(parent, &map->encoder);
	if (whole && map->head)
		*map->head = (uint8_t)(MAP_HEAD | map->count);
	return whole;
}

void frame__close(struct frame *frame)
{
	if (!frame->bytes)
		return;
	close_map(frame, &frame->maps[frame->depth - 1].encoder);
	frame->depth--;
}

void frame__list(struct frame *frame, const char *name, unsigned count)
{
	if (!frame->bytes)
		return;
	CborEncoder *parent = key(frame, name);
	struct frame_map *list = &frame->maps[++frame->depth];
	*list = (struct frame_map){.head = NULL};
	cbor_encoder_create_array(parent, &list->encoder, count);
}

void frame__item(struct frame *frame)
{
	if (!frame->bytes)
		return;
	CborEncoder *list = &frame->maps[frame->depth++].encoder;
	open_map(frame, list);
}

void frame__item_text(struct frame *frame, const char *value)
{
	if (frame->bytes)
		cbor_encode_text_stringz(&frame->maps[frame->depth].encoder, value);
}

void frame__item_bytes(struct frame *frame, const void *data, size_t len)
{
	if (frame->bytes)
		cbor_encode_byte_string(&frame->maps[frame->depth].encoder, data, len);
}

void frame__failure(struct frame *frame, const struct failure *failure)
{
	frame__text(frame, "code", failure->code);
	frame__text(frame, "message", failure->message);
}

bool frame__end(struct frame *frame)
{
	if (!frame->bytes)
		return false;
	bool whole = close_map(frame, &frame->root);
	size_t len = whole ? cbor_encoder_get_buffer_size(&frame->root, frame->bytes + FRAME_HEAD) : 0;
	if (!whole || len > FRAME_MAX) {
		free(frame->bytes);
		frame->bytes = NULL;
		return false;
	}
	uint8_t head[FRAME_HEAD] = {(uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};
	memcpy(frame->bytes, head, FRAME_HEAD);
	frame->len = FRAME_HEAD + len;
	return true;
}

void frame__drop(struct frame *frame)
{
	free(frame->bytes);
	frame->bytes = NULL;
}

uint32_t frame__length(const uint8_t head[FRAME_HEAD])
{
	return (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
}
