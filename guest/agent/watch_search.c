/* watch: finding the directories that are to be watched, by walks that go on in pieces. */
#include <errno.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include "agent/watching.h"

int watching__search(struct watching *watching, enum search what, struct watched_dir *holder, const char *name)
{
	if (tree_path__set(&watching->place, watching->path) ||
	    (holder && (watched__descend(holder, &watching->place) || tree_path__push(&watching->place, name))))
		return -ENOMEM;
	watching->holder = holder;
	watching->search = what;
	int err = walk__begin(&watching->walk, watching->place.text);
	return what == SEARCH_NEW && (err == -ENOENT || err == -ENOTDIR) ? 0 : err;
}

static int tell_overflow(struct watching *watching)
{
	return watching__put(watching, "overflow", false, NULL, NULL, NULL, "");
}

int watching__search_again(struct watching *watching)
{
	uint32_t mask = watching->watched.mask;
	walk__end(&watching->walk);
	watching->walk = (struct walk){.depth = 0};
	watching__deafen(watching);
	watched__end(&watching->watched);
	buffer__consume(&watching->told, buffer__pending(&watching->told));
	watching->at = watching->end = 0;
	watching->parted = NULL;
	int err = watched__begin(&watching->watched, mask);
	if (!err)
		err = watching__hear(watching);
	if (err)
		return err;
	err = watching__search(watching, SEARCH_AGAIN, NULL, "");
	if (err != -ENOENT && err != -ENOTDIR)
		return err;
	err = tell_overflow(watching);
	return err ? err : watching__end(watching);
}

/* Nothing in there tells of its changes, and there is no end to it. */
static bool is_the_kernels(const struct watching *watching, const struct walk_step *step)
{
	struct statfs status;
	if (step->status.st_dev == watching->walk.root.st_dev ||
	    fstatfs(dirfd(watching->walk.levels[watching->walk.depth - 1]), &status))
		return false;
	return status.f_type == PROC_SUPER_MAGIC || status.f_type == SYSFS_MAGIC ||
	       status.f_type == CGROUP2_SUPER_MAGIC;
}

/* The walk has entered a directory. */
static int enter(struct watching *watching, const struct walk_step *step, struct watched_dir *holder)
{
	int depth = watching->walk.depth - 1;
	if ((depth && !watching->recursive) || is_the_kernels(watching, step)) {
		walk__skip(&watching->walk);
		return 0;
	}
	int found = watched__add(&watching->watched, dirfd(watching->walk.levels[depth]), holder,
				 holder ? tree_path__name(&watching->walk.path) : "", &watching->level[depth]);
	if (found == -ELOOP && watching->search != SEARCH_NEW) { /* a mount of what is above it */
		walk__skip(&watching->walk);
		return 0;
	}
	watching->tell[depth] = found == 1 && watching->search == SEARCH_NEW;
	if (!watching->recursive)
		walk__skip(&watching->walk);
	return found < 0 ? found : 0;
}

/* A file that is mounted by itself has another directory, which is out of sight. Returns 0 or -errno. */
static int watch_mounted(struct watching *watching)
{
	uint32_t mask = (watching->watched.mask & (IN_MODIFY | IN_ATTRIB)) | IN_DELETE_SELF;
	watching->only_wd = 0;
	if (!watching->only || !watching->watched.root)
		return 0;
	if (tree_path__set(&watching->place, watching->path) || tree_path__push(&watching->place, watching->only))
		return -ENOMEM;
	struct stat directory, file;
	if (stat(watching->path, &directory) || stat(watching->place.text, &file) || directory.st_dev == file.st_dev)
		return 0;
	watching->only_wd = inotify_add_watch(watching->watched.fd, watching->place.text, mask);
	return watching->only_wd < 0 ? -errno : 0;
}

static int end_search(struct watching *watching)
{
	enum search what = watching->search;
	walk__end(&watching->walk);
	watching->walk = (struct walk){.depth = 0};
	watching->search = SEARCH_NONE;
	int err = watch_mounted(watching);
	if (err)
		return err;
	if (what == SEARCH_FIRST && watching->watched.root)
		watching__begun(watching);
	if (what == SEARCH_FIRST && !watching->watched.root)
		return -ENOENT;
	err = what == SEARCH_AGAIN ? tell_overflow(watching) : 0;
	return err || watching->watched.root ? err : watching__end(watching);
}

int watching__search_next(struct watching *watching)
{
	struct walk *walk = &watching->walk;
	struct walk_step step;
	int found = walk__next(walk, &step), err = 0;
	bool is_root = walk->path.length == walk->path.root;
	if (found == 0 || (found < 0 && is_root && watching->search == SEARCH_NEW))
		return end_search(watching);
	if (found < 0 || step.kind == WALK_LEAVE)
		return found < 0 ? found : 0;
	int depth = walk->depth - (step.kind == WALK_ENTER); /* directories it is in */
	if (depth && watching->tell[depth - 1]) {
		struct watched_dir *dir = watching->level[depth - 1];
		err = watching__put(watching, "create", step.kind == WALK_ENTER, dir, tree_path__name(&walk->path),
				    NULL, "");
		watching__remember(watching, dir->wd, tree_path__name(&walk->path));
	}
	if (!err && step.kind == WALK_ENTER)
		err = enter(watching, &step, depth ? watching->level[depth - 1] : watching->holder);
	return err;
}
