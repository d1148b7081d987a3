/* remove: a file, or a directory and all below it, in pieces between which other calls have their turn. */
#include <errno.h>

#include "agent/progress.h"
#include "tree/remove.h"

struct remove {
	struct call call;
	struct removal removal;
	struct progress progress;
};

static struct remove *remove_of(struct call *call)
{
	return container_of(call, struct remove, call);
}

static void start(struct call *call, const CborValue *request)
{
	struct removal *removal = &remove_of(call)->removal;
	bool recursive = false, force = false;
	removal->above = -1;
	char path[PATH_MAX];
	if (call__take_path(call, request, "path", path) || call__take_bool(call, request, "recursive", &recursive) ||
	    call__take_bool(call, request, "force", &force))
		return;
	int more = removal__begin(removal, path, recursive);
	if (more == 0 || (force && (more == -ENOENT || more == -ENOTDIR)))
		call__succeed(call);
	else if (more < 0)
		call__fail_at(call, more, path);
}

static bool produce(struct call *call)
{
	struct remove *remove = remove_of(call);
	int more = removal__step(&remove->removal);
	if (more < 0)
		call__fail_at(call, more, remove->removal.path.text);
	else if (more == 0)
		call__succeed(call);
	else
		progress__tell(&remove->progress, call, remove->removal.count, 0);
	return true;
}

static void event(struct call *call, struct span ev, const CborValue *message)
{
	(void)message;
	if (span__equals(ev, "abort"))
		call__give_up(call, remove_of(call)->removal.path.text);
}

static void release(struct call *call)
{
	removal__end(&remove_of(call)->removal);
}

const struct operation operation__remove = {
	.op = "remove",
	.size = sizeof(struct remove),
	.start = start,
	.event = event,
	.produce = produce,
	.release = release,
};
