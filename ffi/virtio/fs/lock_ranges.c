/* The ranges of a file that one owner has locked. */
#include <stdlib.h>

#include "virtio/fs/locks.h"

bool range__overlaps(const struct fs_range *range, uint64_t start, uint64_t end)
{
	return range->start <= end && start <= range->end;
}

void range__free_all(struct fs_session *s, struct fs_lock *lock)
{
	for (struct fs_range *range = lock->ranges, *next; range; range = next) {
		next = range->next;
		free(range);
		s->locks.ranges--;
	}
	lock->ranges = NULL;
}

void range__cut(struct fs_session *s, struct fs_lock *lock, uint64_t start, uint64_t end, struct fs_range **spare)
{
	struct fs_range **at = &lock->ranges, *range;
	while ((range = *at)) {
		if (!range__overlaps(range, start, end)) {
			at = &range->next;
		} else if (range->start < start && range->end > end) {
			**spare = (struct fs_range){end + 1, range->end, range->exclusive, range->next};
			range->end = start - 1;
			range->next = *spare;
			*spare = NULL;
			s->locks.ranges++;
			return;
		} else if (range->start < start) {
			range->end = start - 1;
			at = &range->next;
		} else if (range->end > end) {
			range->start = end + 1;
			return;
		} else {
			*at = range->next;
			free(range);
			s->locks.ranges--;
		}
	}
}

void range__put(struct fs_session *s, struct fs_lock *lock, struct fs_range *range)
{
	struct fs_range **at = &lock->ranges, *before = NULL, *after;
	while (*at && (*at)->start < range->start) {
		before = *at;
		at = &before->next;
	}
	range->next = *at;
	*at = range;
	s->locks.ranges++;
	after = range->next;
	if (after && after->exclusive == range->exclusive && after->start - 1 == range->end) {
		range->end = after->end;
		range->next = after->next;
		free(after);
		s->locks.ranges--;
	}
	if (before && before->exclusive == range->exclusive && before->end + 1 == range->start) {
		before->end = range->end;
		before->next = range->next;
		free(range);
		s->locks.ranges--;
	}
}
