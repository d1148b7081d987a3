/* A limit on bytes per second: what passes in a time, whatever its pieces. */
#include "net/throttle.h"

#include <stdbool.h>

#include "check.h"

#define MS 1000000ULL
#define START (1000 * MS)

/* Bytes that pass in `ms` from START on, in pieces of `len`, each as soon as it may. */
static uint64_t passes(uint64_t rate, size_t len, uint64_t ms)
{
	struct throttle throttle = {.rate = rate};
	uint64_t bytes = 0;
	for (uint64_t now = START; now < START + ms * MS;) {
		uint64_t wait = throttle__wait(&throttle, now);
		if (wait) {
			now += wait * MS;
			continue;
		}
		throttle__take(&throttle, len, now);
		bytes += len;
	}
	return bytes;
}

static bool is_about(uint64_t bytes, uint64_t wanted, uint64_t more)
{
	return bytes >= wanted && bytes <= wanted + more;
}

static void as_much_passes_as_may(void)
{
	/* ten seconds, and the tenth of one that was saved before; the last piece may go over */
	CHECK(is_about(passes(1000000, 1500, 10000), 10100000 - 3000, 3000));
	CHECK(is_about(passes(1000000, 60, 10000), 10100000 - 2000, 2000));
	CHECK(is_about(passes(8000, 32782, 100000), 800000, 2 * 32782));
	CHECK(is_about(passes(1000000000000, 32782, 1), 100000000000, 4000000000));
}

static void without_a_limit_nothing_waits(void)
{
	struct throttle throttle = {.rate = 0};
	throttle__take(&throttle, 1 << 30, START);
	CHECK_EQ(throttle__wait(&throttle, START), 0);
}

static void no_more_is_saved_than_a_tenth_of_a_second(void)
{
	struct throttle throttle = {.rate = 1000};
	throttle__take(&throttle, 1, START);
	throttle__take(&throttle, 100, START + 3600000 * MS);
	CHECK_EQ(throttle__wait(&throttle, START + 3600000 * MS), 0);
	throttle__take(&throttle, 10, START + 3600000 * MS);
	CHECK_EQ(throttle__wait(&throttle, START + 3600000 * MS), 10);
	CHECK_EQ(throttle__wait(&throttle, START + 3600009 * MS), 1);
	CHECK_EQ(throttle__wait(&throttle, START + 3600010 * MS), 0);
}

int main(void)
{
	CASE(as_much_passes_as_may);
	CASE(without_a_limit_nothing_waits);
	CASE(no_more_is_saved_than_a_tenth_of_a_second);
	return check__done();
}
