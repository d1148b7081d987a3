/* What breaks the profile of CBOR that both protocols have, each in a map of its own, for whoever reads one. */
#ifndef TEST_PROFILE_H
#define TEST_PROFILE_H

#include <stddef.h>

static const struct violation {
	const char *bytes;
	size_t length;
	const char *words; /* that say it */
} violations[] = {
#define VIOLATION(literal, words)                                                                                      \
	{                                                                                                              \
		literal, sizeof(literal) - 1, words                                                                    \
	}
	VIOLATION("", "not well-formed"),
	VIOLATION("\x80", "not a map"),
	VIOLATION("\xa1", "not well-formed"),
	VIOLATION("\xa1\x61k", "not well-formed"),
	VIOLATION("\xa1\x61k\x7a\xff\xff\xff\xff", "not well-formed"),
	VIOLATION("\xbb\xff\xff\xff\xff\xff\xff\xff\xff", "not well-formed"),
	VIOLATION("\xa0\x00", "bytes after the map"),
	VIOLATION("\xbf\x61k\x01\xff", "indefinite length"),
	VIOLATION("\xa1\x61k\x9f\x01\xff", "indefinite length"),
	VIOLATION("\xa1\x61k\x7f\x61v\xff", "indefinite length"),
	VIOLATION("\xa1\x61k\x5f\x41v\xff", "indefinite length"),
	VIOLATION("\xa1\x61k\xbf\x61v\x01\xff", "indefinite length"),
	VIOLATION("\xa1\x01\x01", "a map key that is not text"),
	VIOLATION("\xa1\x61k\xa1\x41v\x01", "a map key that is not text"),
	VIOLATION("\xa2\x61k\x01\x61k\x02", "the same key twice"),
	VIOLATION("\xa3\x61k\x01\x62kk\x01\x78\x01k\x02", "the same key twice"),
	VIOLATION("\xa1\x61k\xa2\x60\x01\x60\x02", "the same key twice"),
	VIOLATION("\xa1\x61k\x81\xa2\x61v\x01\x61v\x01", "the same key twice"),
	VIOLATION("\xb1\x61"
		  "a\0\x61"
		  "b\0\x61"
		  "c\0\x61"
		  "d\0\x61"
		  "e\0\x61"
		  "f\0\x61g\0\x61h\0\x61i\0\x61j\0\x61k\0\x61l\0\x61m\0\x61n\0\x61o\0\x61p\0\x61"
		  "a\0",
		  "the same key twice"),
	VIOLATION("\xa1\x61k\x81\x81\x81\x81\x81\x81\x81\x81\x01", "nested more than 8 deep"),
	VIOLATION("\xa1\x61k\xd8\x40\x81\x81\x81\x81\x81\x81\x81\x01", "nested more than 8 deep"),
	VIOLATION("\xa1\x61k\xc2\x41\x01", "more than 64 bits"),
#undef VIOLATION
};

#endif
