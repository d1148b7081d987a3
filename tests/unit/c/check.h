/* A C test program in a few lines: named cases, CHECK in its forms, TAP on standard output, exit code 1 on failure.
 *
 *	static void empty_ranges_are_refused(void)
 *	{
 *		CHECK(guest_memory__at(&mem, 0, 0) == NULL);
 *	}
 *
 *	int main(void)
 *	{
 *		CASE(empty_ranges_are_refused);
 *		return check__done();
 *	}
 *
 * A failed CHECK ends its case, from a helper function too, and the next case runs; on the thread of main() only. A
 * case that takes over a minute is killed by SIGALRM.
 */
#ifndef CAPSA_TESTS_CHECK_H
#define CAPSA_TESTS_CHECK_H

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CHECK_CASE_SECONDS 60

static struct {
	jmp_buf out;
	const char *skipped;
	unsigned cases, failed;
} check;

#define CHECK__UNUSED __attribute__((unused))

CHECK__UNUSED static _Noreturn void check__fail(void)
{
	longjmp(check.out, 1);
}

CHECK__UNUSED static void check__equal(const char *file, int line, const char *what, intmax_t got, intmax_t want)
{
	if (got == want)
		return;
	printf("# %s:%d: %s: got %jd (0x%jx), want %jd (0x%jx)\n", file, line, what, got, (uintmax_t)got, want,
	       (uintmax_t)want);
	check__fail();
}

CHECK__UNUSED static void check__string(const char *file, int line, const char *what, const char *got, const char *want)
{
	if (got && want && strcmp(got, want) == 0)
		return;
	printf("# %s:%d: %s: got \"%s\", want \"%s\"\n", file, line, what, got ? got : "(null)",
	       want ? want : "(null)");
	check__fail();
}

CHECK__UNUSED static void check__case(const char *name, void (*fn)(void))
{
	fflush(stdout);
	check.cases++;
	check.skipped = NULL;
	alarm(CHECK_CASE_SECONDS);
	int failed = setjmp(check.out);
	if (!failed)
		fn();
	alarm(0);
	if (failed && !check.skipped)
		check.failed++;
	printf("%sok %u - ", failed && !check.skipped ? "not " : "", check.cases);
	for (const char *c = name; *c; c++)
		putchar(*c == '_' ? ' ' : *c);
	if (check.skipped)
		printf(" # SKIP %s", check.skipped);
	putchar('\n');
	fflush(stdout);
}

/* End of main(): prints the plan, returns the exit code. A program without cases has failed. */
CHECK__UNUSED static int check__done(void)
{
	printf("1..%u\n", check.cases);
	return check.failed || !check.cases;
}

/* The condition holds. */
#define CHECK(cond)                                                                                                    \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond);                                            \
			check__fail();                                                                                 \
		}                                                                                                      \
	} while (0)

/* Two integers are equal; both are shown when not. */
#define CHECK_EQ(got, want) check__equal(__FILE__, __LINE__, #got, (intmax_t)(got), (intmax_t)(want))

/* Two strings are equal; both are shown when not. */
#define CHECK_STR(got, want) check__string(__FILE__, __LINE__, #got, (got), (want))

/* This machine cannot run the case; `why` is a string literal and is reported. */
#define SKIP(why)                                                                                                      \
	do {                                                                                                           \
		check.skipped = (why);                                                                                 \
		check__fail();                                                                                         \
	} while (0)

/* Run the function `name` as the case of that name. */
#define CASE(name) check__case(#name, name)

#endif
