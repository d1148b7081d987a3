/* The history of an output, against a plain list of everything that was ever added. */
#include <stdlib.h>
#include <string.h>

#include "../c/check.h"
#include "process/history.h"

enum { ALL = 1 << 20 };

/* Everything added, and which output each byte is of. */
struct all {
	uint8_t bytes[ALL], outputs[ALL];
	size_t length;
};

static void add(struct history *history, struct all *all, uint8_t output, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		all->bytes[all->length + i] = (uint8_t)rand();
		all->outputs[all->length + i] = output;
	}
	history__add(history, output, all->bytes + all->length, length);
	all->length += length;
}

/* What is read from the last `wanted` bytes, at most `max` at a time, is the end of all there was. Returns its length.
 */
static size_t check_last(const struct history *history, const struct all *all, size_t wanted, size_t max)
{
	static uint8_t bytes[HISTORY_SIZE], outputs[HISTORY_SIZE];
	struct history_cursor cursor = history__last(history, wanted);
	const uint8_t *piece;
	uint8_t output;
	size_t length = 0, n;

	while ((n = history__next(history, &cursor, max, &output, &piece))) {
		CHECK(n <= max && length + n <= HISTORY_SIZE);
		memcpy(bytes + length, piece, n);
		memset(outputs + length, output, n);
		length += n;
	}
	CHECK(history__at_end(history, &cursor));
	CHECK(length <= wanted && length <= all->length);
	CHECK(memcmp(bytes, all->bytes + all->length - length, length) == 0);
	CHECK(memcmp(outputs, all->outputs + all->length - length, length) == 0);
	return length;
}

static void an_empty_one_has_nothing(void)
{
	static struct all all;
	struct history history = {0};

	CHECK_EQ(check_last(&history, &all, HISTORY_SIZE, 100), 0);
	add(&history, &all, 0, 0);
	CHECK_EQ(check_last(&history, &all, HISTORY_SIZE, 100), 0);
	history__free(&history);
}

static void all_of_little_is_kept(void)
{
	static struct all all;
	struct history history = {0};

	add(&history, &all, 0, 1);
	add(&history, &all, 1, 5000);
	add(&history, &all, 0, 40000);
	CHECK_EQ(check_last(&history, &all, SIZE_MAX, 1000), 45001);
	for (size_t wanted = 0; wanted <= 45001; wanted += 311)
		CHECK_EQ(check_last(&history, &all, wanted, HISTORY_SIZE), wanted);
	history__free(&history);
}

static void the_end_of_much_is_kept(void)
{
	static struct all all;

	for (unsigned seed = 1; seed <= 8; seed++) {
		struct history history = {0};

		srand(seed);
		all.length = 0;
		while (all.length < ALL - 2 * 70000) {
			/* many small ones, and some larger than the whole */
			size_t length = (size_t)rand() % 50 == 0 ? (size_t)rand() % 70000 : (size_t)rand() % 300;

			add(&history, &all, (uint8_t)(rand() % 2), length);
			if (rand() % 16 == 0)
				check_last(&history, &all, (size_t)rand() % HISTORY_SIZE, 1 + (size_t)rand() % 5000);
		}
		add(&history, &all, 0, 70000);
		CHECK(check_last(&history, &all, SIZE_MAX, 4096) > HISTORY_SIZE - 5000);
		history__free(&history);
	}
}

static void bytes_one_by_one_keep_their_order(void)
{
	static struct all all;
	struct history history = {0};

	for (int i = 0; i < 200000; i++)
		add(&history, &all, (uint8_t)(i % 2), 1);
	CHECK_EQ(check_last(&history, &all, SIZE_MAX, 1), HISTORY_SIZE / 4);
	history__free(&history);
}

int main(void)
{
	CASE(an_empty_one_has_nothing);
	CASE(all_of_little_is_kept);
	CASE(the_end_of_much_is_kept);
	CASE(bytes_one_by_one_keep_their_order);
	return check__done();
}
