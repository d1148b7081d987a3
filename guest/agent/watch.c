/* watch: changes of what is in a directory, or of one file by its name, as inotify(7) tells of them, until the host has
 * enough. While the host takes nothing nothing is read: the kernel's queue is bounded, and says when it was too short.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/watching.h"

enum {
	BATCH = 32768, /* bytes of changes in a frame, a longer one aside */
	STEPS = 512,   /* names and events a turn */
};

#define ALWAYS (IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_EXCL_UNLINK)

static struct watching *watching_of(struct call *call)
{
	return container_of(call, struct watching, call);
}

/* Have `place` be that of `name` in `dir`. Returns what the host knows it by, or NULL without memory. */
static const char *locate(struct watching *watching, const struct watched_dir *dir, const char *name)
{
	if (watching->only || !dir)
		return "";
	if (tree_path__set(&watching->place, watching->path) || watched__descend(dir, &watching->place) ||
	    (*name && tree_path__push(&watching->place, name)))
		return NULL;
	return tree_path__below(&watching->place);
}

static int put_name(struct writer *out, const char *key, const char *path)
{
	if (!path)
		return -ENOMEM;
	if (strlen(path) >= PATH_MAX)
		return -ENAMETOOLONG; /* no call takes it, and no window need hold it */
	writer__name(out, key, path, strlen(path));
	return 0;
}

int watching__put(struct watching *watching, const char *change, bool directory, const struct watched_dir *dir,
		  const char *name, const struct watched_dir *to, const char *to_name)
{
	struct writer out = writer__begin(&watching->batch);
	int err = 0;
	writer__open(&out, NULL);
	writer__text(&out, "change", change);
	if (name)
		err = put_name(&out, "path", locate(watching, dir, name));
	if (!err && to)
		err = put_name(&out, "to", locate(watching, to, to_name));
	if (directory)
		writer__bool(&out, "directory", true);
	writer__close(&out);
	if (!err)
		err = writer__end(&out);
	watching->batch_count += !err;
	return err;
}

static void send_batch(struct watching *watching)
{
	size_t length = buffer__pending(&watching->batch);
	call__tell_entries(&watching->call, watching->batch_count, buffer__head(&watching->batch), length);
	buffer__consume(&watching->batch, length);
	watching->batch_count = 0;
}

int watching__end(struct watching *watching)
{
	watching->over = true;
	return watching__put(watching, "delete", true, NULL, "", NULL, "");
}

void watching__begun(struct watching *watching)
{
	struct writer out = call__begin_event(&watching->call, "watching");
	call__tell(&watching->call, &out);
}

static int step(struct watching *watching)
{
	if (watching->search == SEARCH_NONE)
		return watching__event_next(watching);
	int err = watching__search_next(watching);
	return err && !walk__vanished(&watching->walk, err) ? err : 1;
}

static void fail(struct watching *watching, int err)
{
	if (err == -ENOSPC)
		call__fail(&watching->call, err,
			   "%s: %zu directories are watched, the limit of this sandbox's kernel: raise "
			   "fs.inotify.max_user_watches",
			   watching->path, watching->watched.count);
	else if (err == -EMFILE)
		call__fail(&watching->call, err, "%s: too many watch already: raise fs.inotify.max_user_instances",
			   watching->path);
	else
		call__fail_at(&watching->call, err,
			      watching->search && watching->walk.path.text ? watching->walk.path.text : watching->path);
}

static bool produce(struct call *call)
{
	struct watching *watching = watching_of(call);
	size_t room = call__room(call), most = room < BATCH ? room : BATCH;
	int more = room > 0;
	for (int i = 0; i < STEPS && more > 0 && !watching->over && buffer__pending(&watching->batch) < most; i++) {
		more = step(watching);
		if (more == -ELOOP && (watching->search == SEARCH_NONE || watching->search == SEARCH_NEW)) {
			more = watching__search_again(watching);
			more = more ? more : 1;
		}
	}
	watching__await(watching, room && !more);
	if (more < 0) {
		fail(watching, more);
		return true;
	}
	if (watching->batch_count) {
		send_batch(watching);
		return true;
	}
	if (watching->over) {
		call__succeed(call);
		return true;
	}
	return more > 0;
}

/* produce() is called after every round of the loop, or once the connection is congested no more. */
static void ready(void *arg, int fd, unsigned events)
{
	(void)fd, (void)events;
	watching__await(arg, false);
}

int watching__hear(struct watching *watching)
{
	int err = loop__add(watching->call.connection->agent->loop, watching->watched.fd, 0, ready, watching);
	watching->heard = !err;
	return err;
}

void watching__deafen(struct watching *watching)
{
	struct loop *loop = watching->call.connection->agent->loop;
	if (watching->heard)
		loop__del(loop, watching->watched.fd);
	watching->heard = false;
	loop__timer_cancel(loop, watching->patience);
	watching->patience = 0;
}

void watching__await(struct watching *watching, bool events)
{
	if (watching->heard)
		(void)!loop__mod(watching->call.connection->agent->loop, watching->watched.fd, events ? LOOP_READ : 0);
}

/* A link to something is that; of a file, the directory it is in is watched, so that its name may come and go. Returns
 * 0 or -errno. */
static int resolve(struct watching *watching)
{
	char resolved[PATH_MAX];
	struct stat status;
	if (!realpath(watching->path, resolved) || stat(resolved, &status))
		return -errno;
	char *slash;
	if (!S_ISDIR(status.st_mode)) {
		slash = strrchr(resolved, '/');
		watching->only = strdup(slash + 1);
		slash[slash == resolved] = '\0';
		watching->recursive = false;
		if (!watching->only)
			return -ENOMEM;
	}
	memcpy(watching->path, resolved, strlen(resolved) + 1);
	return 0;
}

static void start(struct call *call, const CborValue *request)
{
	struct watching *watching = watching_of(call);
	bool attributes = false;
	watching->watched.fd = -1;
	if (call__take_path(call, request, "path", watching->path) || call__take_window(call, request) ||
	    call__take_bool(call, request, "recursive", &watching->recursive) ||
	    call__take_bool(call, request, "attributes", &attributes))
		return;
	int err = resolve(watching);
	if (!err)
		err = watched__begin(&watching->watched, ALWAYS | (attributes ? IN_ATTRIB : 0));
	if (!err)
		err = watching__hear(watching);
	if (!err)
		err = watching__search(watching, SEARCH_FIRST, NULL, "");
	if (err)
		fail(watching, err);
}

static void event(struct call *call, struct span ev, const CborValue *message)
{
	(void)message;
	if (span__equals(ev, "abort"))
		call__give_up(call, watching_of(call)->path);
}

static void release(struct call *call)
{
	struct watching *watching = watching_of(call);
	watching__deafen(watching);
	watched__end(&watching->watched);
	walk__end(&watching->walk);
	tree_path__free(&watching->place);
	buffer__free(&watching->told);
	buffer__free(&watching->batch);
	free(watching->only);
}

const struct operation operation__watch = {
	.op = "watch",
	.size = sizeof(struct watching),
	.passive = true,
	.start = start,
	.event = event,
	.produce = produce,
	.release = release,
};
