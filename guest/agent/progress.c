/* A sign of life from a call that works long without data for the host. */
#include "agent/progress.h"

#include "common/clock.h"

enum { EACH_NS = 1000000000 };

void progress__tell(struct progress *progress, struct call *call, uint64_t entries, uint64_t bytes)
{
	uint64_t now = monotonic_ns();
	if (!progress->due)
		progress->due = now + EACH_NS;
	if (now < progress->due)
		return;
	progress->due = now + EACH_NS;
	struct writer out = call__begin_event(call, "progress");
	writer__uint(&out, "entries", entries);
	writer__uint(&out, "bytes", bytes);
	call__tell(call, &out);
}
