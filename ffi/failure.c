/* Failures in words: errno names, and the one way to fill in a struct failure. */
#include "failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *failure__errno_name(int error)
{
	const char *name = strerrorname_np(error);
	return error > 0 && name ? name : "EIO";
}

/* Bytes of the UTF-8 sequence at `c` (RFC 3629); 0 when it is none, or cut off by the end of the string. */
static size_t sequence(const unsigned char *c)
{
	static const struct {
		unsigned char first_min, first_max, second_min, second_max, len;
	} forms[] = {
		{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
	};
	if (*c < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (c[0] < forms[i].first_min || c[0] > forms[i].first_max)
			continue;
		if (c[1] < forms[i].second_min || c[1] > forms[i].second_max)
			return 0;
		for (size_t j = 2; j < forms[i].len; j++)
			if (c[j] < 0x80 || c[j] > 0xbf)
				return 0;
		return forms[i].len;
	}
	return 0;
}

/* A message is one line of text, whatever a file name in it held or where it was cut. */
static void make_text(char *message)
{
	for (unsigned char *c = (unsigned char *)message; *c;) {
		size_t len = sequence(c);
		if (!len)
			*c = '?';
		else if (*c < 0x20 || *c == 0x7f)
			*c = ' ';
		c += len ? len : 1;
	}
}

int failure__set(struct failure *failure, int error, const char *code, const char *format, ...)
{
	if (!failure)
		return -error;
	snprintf(failure->code, sizeof(failure->code), "%s", code ? code : failure__errno_name(error));
	va_list args;
	va_start(args, format);
	vsnprintf(failure->message, sizeof(failure->message), format, args);
	va_end(args);
	make_text(failure->message);
	return -error;
}
