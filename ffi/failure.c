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

int failure__set(struct failure *failure, int error, const char *code, const char *format, ...)
{
	if (!failure)
		return -error;
	snprintf(failure->code, sizeof(failure->code), "%s", code ? code : failure__errno_name(error));
	va_list args;
	va_start(args, format);
	vsnprintf(failure->message, sizeof(failure->message), format, args);
	va_end(args);
	/* one line, whatever a file name held */
	for (char *c = failure->message; *c; c++)
		if (*c == '\n' || *c == '\r')
			*c = ' ';
	return -error;
}
