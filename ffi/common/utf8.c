/* Well-formed UTF-8 (RFC 3629, section 4). */
#include "common/utf8.h"

#include <stdint.h>

/* The length of the character at the start of `size` (at least 1) bytes; 0 when there is none. */
static size_t character(const uint8_t *at, size_t size)
{
	size_t length = at[0] < 0x80   ? 1
			: at[0] < 0xc2 ? 0
			: at[0] < 0xe0 ? 2
			: at[0] < 0xf0 ? 3
			: at[0] < 0xf5 ? 4
				       : 0;
	if (!length || size < length)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms, surrogates, beyond U+10FFFF: all told by the second byte */
	if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) || (at[0] == 0xf0 && at[1] < 0x90) ||
	    (at[0] == 0xf4 && at[1] > 0x8f))
		return 0;
	return length;
}

bool utf8__valid(const char *text, size_t length)
{
	const uint8_t *bytes = (const uint8_t *)text;
	for (size_t at = 0, step; at < length; at += step) {
		step = character(bytes + at, length - at);
		if (!step)
			return false;
	}
	return true;
}

void utf8__mend(char *text, size_t length)
{
	for (size_t at = 0, step; at < length; at += step) {
		step = character((const uint8_t *)text + at, length - at);
		if (!step) {
			text[at] = '?';
			step = 1;
		}
	}
}
