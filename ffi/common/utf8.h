/* Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
#ifndef CAPSA_COMMON_UTF8_H
#define CAPSA_COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>

bool utf8__valid(const char *text, size_t length);
/* Put '?' in place of every byte that is not part of a well-formed character. */
void utf8__mend(char *text, size_t length);

#endif
