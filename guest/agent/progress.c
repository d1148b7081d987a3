/* A sign of life from a call that works long without data for the host. */
#include "progress.h"

enum { EACH_NS = 1000000000, SIZE = 96 };

void progress__tell(struct progress *progress, struct call *call, uint64_t entries, uint64_t bytes)
{
	uint64_t now = clock__monotonic_ns();
	struct frame frame;
	struct writer *writer = &frame.writer;

	if (!progress->due)
		progress->due = now + EACH_NS;
	if (now < progress->due)
		return;
	progress->due = now + EACH_NS;
	if (frame__begin(&frame, &call->connection->out, SIZE) < 0) {
		call__break(call);
		return;
	}
	writer__map(writer, 4);
	writer__text(writer, "id");
	writer__uint(writer, call->id);
	writer__text(writer, "ev");
	writer__text(writer, "progress");
	writer__text(writer, "entries");
	writer__uint(writer, entries);
	writer__text(writer, "bytes");
	writer__uint(writer, bytes);
	if (frame__end(&frame) < 0)
		call__break(call);
}
