/* watch: from the events of inotify(7) to changes; the halves of a rename are put together. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/watching.h"

enum {
	TOLD = 65536,  /* bytes of names that are remembered as told */
	PATIENCE = 20, /* ms for the second half of a rename, which the kernel queues right after the first */
};

void watching__remember(struct watching *watching, int wd, const char *name)
{
	size_t size = sizeof(wd) + strlen(name) + 1;
	uint8_t *room = buffer__pending(&watching->told) + size > TOLD ? NULL : buffer__reserve(&watching->told, size);
	if (!room)
		return; /* then it is told twice */
	memcpy(room, &wd, sizeof(wd));
	memcpy(room + sizeof(wd), name, size - sizeof(wd));
	buffer__commit(&watching->told, size);
}

static bool was_told(struct watching *watching, int wd, const char *name)
{
	const int never = -1;
	for (size_t at = watching->told.start; at < watching->told.end;) {
		uint8_t *entry = watching->told.data + at;
		const char *told = (const char *)entry + sizeof(wd);
		if (memcmp(entry, &wd, sizeof(wd)) == 0 && strcmp(told, name) == 0) {
			memcpy(entry, &never, sizeof(never));
			return true;
		}
		at += sizeof(wd) + strlen(told) + 1;
	}
	return false;
}

static int come(struct watching *watching, bool directory, struct watched_dir *dir, const char *name)
{
	int err = watching__put(watching, "create", directory, dir, name, NULL, "");
	return err || !directory || !watching->recursive ? err : watching__search(watching, SEARCH_NEW, dir, name);
}

static int go(struct watching *watching, bool directory, struct watched_dir *dir, const char *name)
{
	struct watched_dir *gone = directory ? watched__child(dir, name) : NULL;
	int err = watching__put(watching, "delete", directory, dir, name, NULL, "");
	if (gone)
		watched__remove(&watching->watched, gone);
	return err;
}

/* Both halves of a rename are here. */
static int moved(struct watching *watching, const struct inotify_event *from, const struct inotify_event *to)
{
	struct watched_dir *dir = watched__find(&watching->watched, from->wd),
			   *into = watched__find(&watching->watched, to->wd);
	bool directory = from->mask & IN_ISDIR;
	if (!dir || !into)
		return dir    ? go(watching, directory, dir, from->name)
		       : into ? come(watching, directory, into, to->name)
			      : 0;
	int err = watching__put(watching, "rename", directory, dir, from->name, into, to->name);
	if (err || !directory || !watching->recursive)
		return err;
	struct watched_dir *which = watched__child(dir, from->name);
	err = which ? watched__move(which, into, to->name) : 0;
	/* whether it is this one, and all of it, is for the directory itself to show */
	return err ? err : watching__search(watching, SEARCH_NEW, into, to->name);
}

/* The event after `event`, or the end. */
static struct inotify_event *after(struct inotify_event *event)
{
	return (struct inotify_event *)(void *)((char *)(event + 1) + event->len);
}

static struct inotify_event *second_half(struct watching *watching, uint32_t cookie)
{
	struct inotify_event *event = (void *)(watching->events + watching->at),
			     *end = (void *)(watching->events + watching->end);
	for (; event < end; event = after(event))
		if (event->mask & IN_MOVED_TO && event->cookie == cookie)
			return event;
	return NULL;
}

/* It has left; its second half, where there is one, says where to. */
static int part(struct watching *watching, struct inotify_event *from)
{
	struct inotify_event *to = second_half(watching, from->cookie);
	struct watched_dir *dir = watched__find(&watching->watched, from->wd);
	watching->parted = NULL;
	loop__timer_cancel(watching->call.connection->agent->loop, watching->patience);
	watching->patience = 0;
	if (!to)
		return dir ? go(watching, from->mask & IN_ISDIR, dir, from->name) : 0;
	to->mask = 0;
	return moved(watching, from, to);
}

static int change(struct watching *watching, const struct inotify_event *event, struct watched_dir *dir)
{
	bool directory = event->mask & IN_ISDIR;
	if (event->mask & (IN_CREATE | IN_MOVED_TO))
		return was_told(watching, event->wd, event->name) ? 0 : come(watching, directory, dir, event->name);
	if (event->mask & IN_MOVED_FROM)
		return go(watching, directory, dir, event->name);
	if (event->mask & IN_DELETE) /* IN_IGNORED says that a directory is not watched any more */
		return watching__put(watching, "delete", directory, dir, event->name, NULL, "");
	if (event->mask & IN_MODIFY)
		return watching__put(watching, "modify", directory, dir, event->name, NULL, "");
	if (event->mask & IN_ATTRIB)
		return watching__put(watching, "attributes", directory, dir, event->name, NULL, "");
	return 0;
}

static int change_of_mounted(struct watching *watching, const struct inotify_event *event)
{
	const char *what = event->mask & IN_DELETE_SELF ? "delete"
			   : event->mask & IN_MODIFY    ? "modify"
			   : event->mask & IN_ATTRIB    ? "attributes"
							: NULL;
	return what ? watching__put(watching, what, false, NULL, "", NULL, "") : 0;
}

static void lose_patience(void *arg)
{
	struct watching *watching = arg;
	watching->patience = 0;
}

static int handle(struct watching *watching, struct inotify_event *event)
{
	struct watched_dir *dir = watched__find(&watching->watched, event->wd);
	bool is_root = dir && dir == watching->watched.root;
	if (event->mask & IN_Q_OVERFLOW)
		return watching__search_again(watching);
	if (watching->only_wd > 0 && event->wd == watching->only_wd)
		return change_of_mounted(watching, event);
	if (!dir)
		return 0;
	if (event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT | IN_IGNORED)) {
		if (is_root)
			return watching__end(watching);
		if (event->mask & (IN_UNMOUNT | IN_IGNORED))
			watched__remove(&watching->watched, dir);
		return 0;
	}
	if (!event->len) /* of itself, which its directory tells of too */
		return is_root && !watching->only && event->mask & IN_ATTRIB
			       ? watching__put(watching, "attributes", true, dir, "", NULL, "")
			       : 0;
	if (watching->only)
		return strcmp(event->name, watching->only) == 0 ? change(watching, event, dir) : 0;
	if (!(event->mask & IN_MOVED_FROM))
		return change(watching, event, dir);
	if (second_half(watching, event->cookie) || watching->at < watching->end)
		return part(watching, event);
	watching->parted = event;
	return loop__timer(watching->call.connection->agent->loop, PATIENCE, lose_patience, watching,
			   &watching->patience);
}

/* Events behind the half of a rename that waits at the start of the buffer, if one does. Returns 1, 0 (there are none
 * now) or -errno. */
static int read_events(struct watching *watching)
{
	size_t kept = 0;
	if (watching->parted) {
		kept = sizeof(*watching->parted) + watching->parted->len;
		memmove(watching->events, watching->parted, kept);
		watching->parted = (void *)watching->events;
	}
	watching->at = watching->end = kept;
	ssize_t n = read(watching->watched.fd, watching->events + kept, sizeof(watching->events) - kept);
	if (n < 0 && errno == EAGAIN) {
		buffer__consume(&watching->told, buffer__pending(&watching->told));
		return 0;
	}
	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	watching->end += (size_t)n;
	return 1;
}

int watching__event_next(struct watching *watching)
{
	int err;
	if (watching->at == watching->end) {
		bool patient = watching->parted && watching->patience;
		int more = read_events(watching);
		if (more < 0 || (!more && (patient || !watching->parted)))
			return more;
		if (watching->parted && (watching->at < watching->end || !more)) {
			err = part(watching, watching->parted);
			return err ? err : 1;
		}
		return 1;
	}
	struct inotify_event *event = (void *)(watching->events + watching->at);
	watching->at += sizeof(*event) + event->len;
	err = handle(watching, event);
	return err ? err : 1;
}
