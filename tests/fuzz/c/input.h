/* What fuzzers make of their input: numbers and frames, one after another; past its end there are zeros. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct input {
	const uint8_t *data;
	size_t len;
};

/* What has to hold whatever the input is. */
static inline void require(bool holds)
{
	if (!holds)
		abort();
}

static inline uint8_t next8(struct input *input)
{
	if (!input->len)
		return 0;
	input->len--;
	return *input->data++;
}

static inline uint32_t next32(struct input *input)
{
	uint32_t value = 0;
	for (unsigned i = 0; i < 4; i++)
		value = value << 8 | next8(input);
	return value;
}

/* As many bytes as the next two say, or all that is left; *len gets how many. They are of their exact size, so that a
 * read past their end is seen; the caller frees them. */
static inline uint8_t *next_frame(struct input *input, size_t *len)
{
	size_t n = (size_t)(next8(input) << 8);
	n |= next8(input);
	if (n > input->len)
		n = input->len;
	uint8_t *frame = malloc(n ? n : 1);
	require(frame != NULL);
	memcpy(frame, input->data, n);
	input->data += n;
	input->len -= n;
	*len = n;
	return frame;
}

#endif
