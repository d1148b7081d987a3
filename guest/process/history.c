/* The last output of a program: a ring of pieces. */
#include "process/history.h"

#include <stdlib.h>
#include <string.h>

enum {
	HEAD = 3,     /* of a piece: its output, its length (little-endian) */
	PIECE = 4096, /* bytes at most: the oldest is dropped whole */
};

static uint8_t *at(const struct history *history, uint64_t position)
{
	return &history->ring[position % HISTORY_SIZE];
}

static size_t length_of(const struct history *history, uint64_t piece)
{
	return (size_t)*at(history, piece + 1) | (size_t)*at(history, piece + 2) << 8;
}

static void add_piece(struct history *history, uint8_t output, const uint8_t *bytes, size_t length)
{
	uint64_t payload = history->end + HEAD;
	size_t before_wrap = HISTORY_SIZE - (size_t)(payload % HISTORY_SIZE);
	while (history->end + HEAD + length - history->start > HISTORY_SIZE)
		history->start += HEAD + length_of(history, history->start);
	*at(history, history->end) = output;
	*at(history, history->end + 1) = (uint8_t)length;
	*at(history, history->end + 2) = (uint8_t)(length >> 8);
	if (before_wrap > length)
		before_wrap = length;
	memcpy(at(history, payload), bytes, before_wrap);
	memcpy(history->ring, bytes + before_wrap, length - before_wrap);
	history->end = payload + length;
}

void history__add(struct history *history, uint8_t output, const uint8_t *bytes, size_t length)
{
	if (!history->ring)
		history->ring = malloc(HISTORY_SIZE);
	while (history->ring && length) {
		size_t piece = length < PIECE ? length : PIECE;
		add_piece(history, output, bytes, piece);
		bytes += piece;
		length -= piece;
	}
}

struct history_cursor history__last(const struct history *history, uint64_t bytes)
{
	struct history_cursor cursor = {.at = history->start};
	uint64_t all = 0;
	for (uint64_t piece = history->start; piece < history->end; piece += HEAD + length_of(history, piece))
		all += length_of(history, piece);
	uint64_t skip = all > bytes ? all - bytes : 0;
	while (skip && skip >= length_of(history, cursor.at)) {
		skip -= length_of(history, cursor.at);
		cursor.at += HEAD + length_of(history, cursor.at);
	}
	cursor.offset = (size_t)skip;
	return cursor;
}

size_t history__next(const struct history *history, struct history_cursor *cursor, size_t max, uint8_t *output,
		     const uint8_t **bytes)
{
	uint64_t payload = cursor->at + HEAD + cursor->offset;
	size_t before_wrap = HISTORY_SIZE - (size_t)(payload % HISTORY_SIZE);
	if (history__at_end(history, cursor))
		return 0;
	size_t left = length_of(history, cursor->at) - cursor->offset;
	size_t length = left < max ? left : max;
	if (length > before_wrap)
		length = before_wrap;
	*output = *at(history, cursor->at);
	*bytes = at(history, payload);
	cursor->offset += length;
	if (length == left)
		*cursor = (struct history_cursor){.at = payload + length};
	return length;
}

bool history__at_end(const struct history *history, const struct history_cursor *cursor)
{
	return cursor->at >= history->end;
}

void history__free(struct history *history)
{
	free(history->ring);
	*history = (struct history){0};
}
