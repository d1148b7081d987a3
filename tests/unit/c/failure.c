/* Failures in words: codes, and messages that are one line of text whatever went into them. */
#include "common/failure.h"

#include <errno.h>
#include <limits.h>

#include "check.h"
#include "common/errno_name.h"

static struct failure f;

static void the_code_is_the_errors_name(void)
{
	CHECK_EQ(failure__set(&f, ENOENT, NULL, "no file '%s' here", "x"), -ENOENT);
	CHECK_STR(f.code, "ENOENT");
	CHECK_STR(f.message, "no file 'x' here");
	CHECK_EQ(failure__set(&f, EIO, "ENGINE_FAILED", "%d", 7), -EIO);
	CHECK_STR(f.code, "ENGINE_FAILED");
	CHECK_STR(errno_name(EACCES), "EACCES");
	CHECK_STR(errno_name(0), "EIO");
	CHECK_STR(errno_name(99999), "EIO");
	CHECK_STR(errno_name(-EACCES), "EACCES");
	CHECK_STR(errno_name(INT_MIN), "EIO");
}

static void nobody_needs_to_ask(void)
{
	CHECK_EQ(failure__set(NULL, EPERM, NULL, "%s", ""), -EPERM);
}

static void a_message_is_one_line_of_utf8(void)
{
	CHECK(failure__set(&f, EIO, NULL, "%s", "a\nb\r\tc\x7f") < 0);
	CHECK_STR(f.message, "a b  c ");
	CHECK(failure__set(&f, EIO, NULL, "%s", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80") < 0);
	CHECK_STR(f.message, "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
	CHECK(failure__set(&f, EIO, NULL, "%s", "\xff \xc3( \xe0\x80\x80 \xed\xa0\x80 \xf4\x90\x80\x80 \xc3") < 0);
	CHECK_STR(f.message, "? ?( ??? ??? ???? ?");
}

static void a_long_message_is_cut_between_characters(void)
{
	char text[1024];
	for (unsigned i = 0; i + 2 < sizeof(text); i += 2)
		memcpy(text + i, "\xc3\xa9", 3);
	CHECK(failure__set(&f, EIO, NULL, "x%s", text) < 0);
	CHECK_EQ(strlen(f.message), sizeof(f.message) - 1);
	CHECK(failure__set(&f, EIO, NULL, "xx%s", text) < 0);
	CHECK_EQ(f.message[sizeof(f.message) - 2], '?');
}

int main(void)
{
	CASE(the_code_is_the_errors_name);
	CASE(nobody_needs_to_ask);
	CASE(a_message_is_one_line_of_utf8);
	CASE(a_long_message_is_cut_between_characters);
	return check__done();
}
