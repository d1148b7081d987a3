/* A sign of life from a call that works long without data for the host. */
#include "agent/progress.h"

#include "common/clock.h"

enum { EACH_NS = 1000000000, SIZE = 96 };

void progress__tell(struct progress *progress, struct call *call, uint64_t entries, uint64_t bytes)
{
	uint64_t now = monotonic_ns();
	struct frame frame;
	struct writer *writer = &frame.writer;

	if (!progress->due)
		progress->due = now + EACH_NS;
	if (now < progress->due)
		return;
	progress->due = now + EACH_NS;
	if (call__begin_event(call, &frame, "progress", 2, SIZE))
		return;
	writer__text(writer, "entries");
	writer__uint(writer, entries);
	writer__text(writer, "bytes");
	writer__uint(writer, bytes);
	call__tell(call, &frame);
}
