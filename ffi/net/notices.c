/* Notices: by a hash of what they say, and a count of each kind. */
#include "net/notices.h"

#include <string.h>

/* Told in NOTICES_MS altogether: a guest that scans must not fill the log, and a rule that tells should tell all. */
#define REFUSALS_MAX 100
#define ACCESSES_MAX 1000

static uint64_t hash(uint64_t so_far, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	for (size_t i = 0; i < len; i++) /* FNV-1a */
		so_far = (so_far ^ at[i]) * 0x100000001b3;
	return so_far;
}

static uint64_t hash_of(const struct gate_notice *notice)
{
	uint64_t what = 0xcbf29ce484222325;
	what = hash(what, notice->protocol, strlen(notice->protocol));
	what = hash(what, notice->address, strlen(notice->address));
	what = hash(what, &notice->port, sizeof(notice->port));
	if (notice->why)
		what = hash(what, notice->why, strlen(notice->why));
	if (notice->name)
		what = hash(what, notice->name, strlen(notice->name));
	return what;
}

/* Whether there is room for one more in this period. */
static bool has_turn(struct notices *notices, bool refused, uint64_t now, const char **rest)
{
	if (now - notices->period >= NOTICES_MS) {
		notices->period = now;
		notices->refusals = notices->accesses = 0;
	}
	unsigned *count = refused ? &notices->refusals : &notices->accesses;
	unsigned most = refused ? REFUSALS_MAX : ACCESSES_MAX;
	if (*count >= most)
		return false;
	if (++*count < most)
		return true;
	*rest = refused ? "so much else that it is not told for up to ten seconds"
			: "so much was let through that the rest is not told for up to ten seconds";
	return false;
}

bool notices__take(struct notices *notices, const struct gate_notice *notice, uint64_t now, const char **rest)
{
	uint64_t what = hash_of(notice);
	for (unsigned i = 0; i < NOTICES_TOLD; i++)
		if (notices->told[i].what == what && now - notices->told[i].when < NOTICES_MS)
			return false;
	if (!has_turn(notices, notice->why != NULL, now, rest))
		return false;
	unsigned at = notices->next++ % NOTICES_TOLD;
	notices->told[at].what = what;
	notices->told[at].when = now;
	return true;
}
