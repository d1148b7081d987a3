/* What init makes of readings of the host's clock, against a simulated guest whose clock drifts and whose answers take
 * their time. */
#include <stdlib.h>

#include "../c/check.h"
#include "init/reckon.h"

#define MS 1000000LL
#define SECOND 1000000000LL
#define EPOCH (1800000000 * SECOND)

/* True time, as the host has it, and a guest that runs `drift` ns per second too slow, and as much faster as it was
 * told. */
struct world {
	int64_t host, guest; /* the guest's monotonic clock */
	int64_t own;         /* its wall clock is ahead of that by so much */
	int64_t drift, rate;
	int64_t right; /* monotonic: when it was corrected last */
};

static void pass(struct world *world, int64_t ns)
{
	world->host += ns;
	world->guest += ns + (int64_t)((double)ns * (double)(world->rate - world->drift) / SECOND);
}

static int64_t err(const struct world *world)
{
	return world->guest + world->own - (EPOCH + world->host);
}

/* Ask `questions` times; each way takes up to `most`. */
static struct lead look(struct world *world, int questions, int64_t most)
{
	struct lead lead = LEAD_UNKNOWN;

	while (questions--) {
		int64_t asked = world->guest, host;

		pass(world, rand() % most);
		host = EPOCH + world->host;
		pass(world, rand() % most);
		lead__add(&lead, host, asked, world->guest);
	}
	return lead;
}

static void correct(struct world *world, const struct lead *lead)
{
	const struct correction correction = reckon(lead, world->own, 0, world->guest - world->right);

	world->own += correction.by;
	world->rate += correction.rate;
	if (correction.by)
		world->right = world->guest;
}

static void the_truth_lies_within_what_the_readings_say(void)
{
	for (int i = 0; i < 1000; i++) {
		struct world world = {.guest = rand(), .host = rand()};
		const struct lead lead = look(&world, 1 + i % 8, 1 + rand() % (50 * MS));
		const int64_t truth = EPOCH + world.host - world.guest;

		CHECK(lead.least <= truth && truth <= lead.most);
		CHECK(llabs(lead__middle(&lead) - truth) <= lead__doubt(&lead) + 1);
	}
}

static void nothing_is_known_before_the_first_answer(void)
{
	struct lead lead = LEAD_UNKNOWN;

	CHECK_EQ(lead__certain(&lead, 5), 0);
	lead__add(&lead, 100, 10, 20);
	CHECK(lead.least == 80 && lead.most == 90);
	CHECK_EQ(lead__middle(&lead), 85);
	CHECK_EQ(lead__certain(&lead, 50), 30);
	CHECK_EQ(lead__certain(&lead, 85), 0);
	CHECK_EQ(lead__certain(&lead, 95), -5);
}

static void readings_that_contradict_each_other_are_of_a_clock_that_was_set(void)
{
	struct lead lead = LEAD_UNKNOWN;

	lead__add(&lead, 1000, 10, 20);
	lead__add(&lead, 9000, 30, 50);
	CHECK(lead.least == 8950 && lead.most == 8970);
	lead__add(&lead, 1060, 60, 70);
	CHECK(lead.least == 990 && lead.most == 1000);
}

static void a_clock_that_drifts_is_held_and_learns_its_rate(void)
{
	static const int64_t drifts[] = {80000, -80000, 300000, -300000};

	for (size_t i = 0; i < sizeof(drifts) / sizeof(*drifts); i++) {
		struct world world = {.drift = drifts[i], .own = EPOCH};

		for (int64_t pause = SECOND / 4; world.host < 600 * SECOND;
		     pause = pause < 8 * SECOND ? pause * 2 : 16 * SECOND) {
			const struct lead lead = look(&world, 4, MS / 2);

			correct(&world, &lead);
			CHECK(llabs(err(&world)) < MS);
			pass(&world, pause);
			if (world.host > 120 * SECOND)
				CHECK(llabs(err(&world)) < MS);
		}
		CHECK(llabs(world.drift - world.rate) < 40000);
	}
}

static void what_is_measured_badly_makes_no_clock_worse(void)
{
	for (int i = 0; i < 200; i++) {
		struct world world = {.own = EPOCH + rand() % MS - MS / 2, .right = -16 * SECOND};

		for (int turn = 0; turn < 50; turn++) {
			const int64_t before = llabs(err(&world));
			const struct lead lead = look(&world, 8, 200 * MS);

			correct(&world, &lead);
			CHECK(llabs(err(&world)) <= before);
			world.rate = 0;
		}
	}
}

static void more_than_drift_is_a_step_and_says_nothing_of_the_rate(void)
{
	static const int64_t jumps[] = {25 * MS, -25 * MS, 3600 * SECOND, -3600 * SECOND};

	for (size_t i = 0; i < sizeof(jumps) / sizeof(*jumps); i++) {
		struct world world = {.own = EPOCH + jumps[i], .right = -16 * SECOND};
		const struct lead lead = look(&world, 4, MS / 2);
		const struct correction correction = reckon(&lead, world.own, 0, 16 * SECOND);

		CHECK(correction.step && correction.rate == 0);
		world.own += correction.by;
		CHECK(llabs(err(&world)) <= MS / 2);
	}
}

static void a_small_jump_of_the_host_does_not_run_away_with_the_rate(void)
{
	struct world world = {.own = EPOCH - 15 * MS, .right = -16 * SECOND};
	const struct lead lead = look(&world, 4, MS / 2);

	correct(&world, &lead);
	CHECK(llabs(err(&world)) <= MS && world.rate > 0 && world.rate <= 100000);
}

static void what_is_still_to_come_is_not_asked_for_twice(void)
{
	const struct lead lead = {10 * MS, 10 * MS};
	struct correction correction = reckon(&lead, 0, 10 * MS, 16 * SECOND);

	CHECK(!correction.step && correction.by == 0 && correction.rate == 0);
	correction = reckon(&lead, 0, 9 * MS, SECOND);
	CHECK(!correction.step && correction.by == 10 * MS);
	CHECK_EQ(correction.rate, 0); /* too soon to tell */
}

int main(void)
{
	CASE(the_truth_lies_within_what_the_readings_say);
	CASE(nothing_is_known_before_the_first_answer);
	CASE(readings_that_contradict_each_other_are_of_a_clock_that_was_set);
	CASE(a_clock_that_drifts_is_held_and_learns_its_rate);
	CASE(what_is_measured_badly_makes_no_clock_worse);
	CASE(more_than_drift_is_a_step_and_says_nothing_of_the_rate);
	CASE(a_small_jump_of_the_host_does_not_run_away_with_the_rate);
	CASE(what_is_still_to_come_is_not_asked_for_twice);
	return check__done();
}
