/* Failures in words: the one way to fill in a struct failure. */
#include "common/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/errno_name.h"
#include "common/utf8.h"

/* A message is one line of text, whatever a file name in it held or where it was cut. */
static void make_text(char *message)
{
	utf8__mend(message, strlen(message));
	for (char *c = message; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = ' ';
}

int failure__set(struct failure *failure, int error, const char *code, const char *format, ...)
{
	if (!failure)
		return -error;
	snprintf(failure->code, sizeof(failure->code), "%s", code ? code : errno_name(error));
	va_list args;
	va_start(args, format);
	vsnprintf(failure->message, sizeof(failure->message), format, args);
	va_end(args);
	make_text(failure->message);
	return -error;
}
