/* A call of `watch`: what it watches, what it has read of that, and what it has to tell. */
#ifndef CAPSA_AGENT_WATCHING_H
#define CAPSA_AGENT_WATCHING_H

#include <sys/inotify.h>

#include "agent/call.h"
#include "tree/walk.h"
#include "tree/watched.h"

enum { WATCHING_EVENTS = 16384 /* bytes of events read at once */ };

/* What a walk through directories is for. */
enum search {
	SEARCH_NONE,
	SEARCH_FIRST, /* what is to be watched from the start */
	SEARCH_AGAIN, /* the same, after events were lost */
	SEARCH_NEW,   /* a directory that has just come: what is found in it is told */
};

struct watching {
	struct call call;
	struct watched watched;
	bool heard;          /* watched.fd is in the loop */
	uint64_t patience;   /* timer; 0: none */
	char path[PATH_MAX]; /* of the directory */
	char *only;          /* of a file: its name in that; NULL: the directory is meant */
	int only_wd;         /* of that file, where it is a mount point: its directory does not hear of it; 0 */
	bool recursive, over;
	struct tree_path place; /* scratch */

	enum search search;
	struct walk walk;
	struct watched_dir *holder;            /* of the directory that the walk begins at; NULL: the root */
	struct watched_dir *level[TREE_DEPTH]; /* of walk.levels */
	bool tell[TREE_DEPTH];                 /* what is in it */

	_Alignas(struct inotify_event) char events[WATCHING_EVENTS];
	size_t at, end;               /* of events */
	struct inotify_event *parted; /* IN_MOVED_FROM at the end of `events`: its second half may be yet to come */
	struct buffer told;           /* names found before their event was read: wd, then the name, terminated */

	struct buffer batch;
	uint64_t batch_count;
};

/* watch.c */
/* A change of `name` in `dir` (NULL: the root; name NULL: of no place), with `to` and `to_name` of a rename. Returns 0
 * or -errno. */
__attribute__((warn_unused_result)) int watching__put(struct watching *watching, const char *change, bool directory,
						      const struct watched_dir *dir, const char *name,
						      const struct watched_dir *to, const char *to_name);
/* Have watched.fd in the loop, parked. Returns 0 or -errno. Then not, and no patience either. */
__attribute__((warn_unused_result)) int watching__hear(struct watching *watching);
void watching__deafen(struct watching *watching);
/* Whether to be told once there are events. */
void watching__await(struct watching *watching, bool events);
/* What is watched is no more, or not where it was. Returns 0 or -errno. */
__attribute__((warn_unused_result)) int watching__end(struct watching *watching);
/* Everything that is there is watched now. */
void watching__begun(struct watching *watching);

/* watch_search.c: each returns 0 or -errno. */
/* Look through `name` in `holder` (NULL: the root) for directories that are not watched yet. */
__attribute__((warn_unused_result)) int watching__search(struct watching *watching, enum search what,
							 struct watched_dir *holder, const char *name);
/* Events were lost, or what is known contradicts itself: watch all anew. */
__attribute__((warn_unused_result)) int watching__search_again(struct watching *watching);
/* One name more of the search under way. */
__attribute__((warn_unused_result)) int watching__search_next(struct watching *watching);

/* watch_events.c */
/* One event more. Returns 1, 0 (there is none now) or -errno. */
__attribute__((warn_unused_result)) int watching__event_next(struct watching *watching);
/* Names that a search has told of before their events were read: each is told once. */
void watching__remember(struct watching *watching, int wd, const char *name);

#endif
