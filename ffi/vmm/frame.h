/* Frames of the control channel (ffi/vmm.cddl): a 4-byte big-endian length and one CBOR map, built entry by entry. */
#ifndef CAPSA_VMM_FRAME_H
#define CAPSA_VMM_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tinycbor/cbor.h>

#include "common/failure.h"

#define FRAME_HEAD 4
#define FRAME_MAX (1U << 20) /* bytes after the length */

/* A frame being built. Running out of memory shows at frame__end; the calls in between may ignore it. */
struct frame {
	uint8_t *bytes; /* NULL when there was no memory */
	size_t len;     /* known after frame__end */
	struct frame_map {
		CborEncoder encoder;
		uint8_t *head; /* the byte that holds the map's count, which is known at its end; at most 23. NULL: a
				* list, whose count is known */
		unsigned count;
	} maps[5];
	unsigned depth; /* of the map being filled */
	CborEncoder root;
};

/* Begin a frame whose entries take at most `room` bytes. */
void frame__begin(struct frame *frame, size_t room);
void frame__text(struct frame *frame, const char *key, const char *value);
void frame__uint(struct frame *frame, const char *key, uint64_t value);
void frame__bool(struct frame *frame, const char *key, bool value);
void frame__bytes(struct frame *frame, const char *key, const void *data, size_t len);
/* A map inside the map being filled (four levels at most); what follows goes into it until frame__close. */
void frame__open(struct frame *frame, const char *key);
void frame__close(struct frame *frame);
/* A list of `count` items inside the map being filled, which counts as a level: a text, bytes or a map each
 * (frame__item, then its entries, then frame__close). frame__close ends the list, too. */
void frame__list(struct frame *frame, const char *key, unsigned count);
void frame__item(struct frame *frame);
void frame__item_text(struct frame *frame, const char *value);
void frame__item_bytes(struct frame *frame, const void *data, size_t len);
void frame__failure(struct frame *frame, const struct failure *failure); /* code and message */
/* Finish: true when frame->bytes holds frame->len bytes to send, which the caller frees; else nothing is held. */
__attribute__((warn_unused_result)) bool frame__end(struct frame *frame);

/* Give up a frame that was begun. */
void frame__drop(struct frame *frame);

/* Length of the frame that begins with these four bytes. */
uint32_t frame__length(const uint8_t head[FRAME_HEAD]);

#endif
