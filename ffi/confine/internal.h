/* The layers of confinement, one file each. Each says in `detail` what it did, or why it did not. */
#ifndef CAPSA_CONFINE_INTERNAL_H
#define CAPSA_CONFINE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "confine/confine.h"

struct confine_detail {
	char *text;
	size_t size;
};

struct confine_work {
	const struct confine_request *request;
	int ruleset;  /* Landlock's, filled in while paths still lead somewhere; -errno where there is none */
	int landlock; /* its version, 0 for none */
	bool alone;   /* in mounts of its own: no path leads outside */
};

/* All return 0 or -errno. */
int layer__privileges(struct confine_work *work, struct confine_detail detail);
int layer__namespaces(struct confine_work *work, struct confine_detail detail);
int layer__limits(struct confine_work *work, struct confine_detail detail);
int layer__capabilities(struct confine_work *work, struct confine_detail detail);
int layer__files(struct confine_work *work, struct confine_detail detail);
int layer__syscalls(struct confine_work *work, struct confine_detail detail);

/* What layer__files needs and later layers take away: sets `ruleset` and `landlock`. */
void files__prepare(struct confine_work *work);

__attribute__((format(printf, 2, 3))) void detail__say(struct confine_detail detail, const char *format, ...);

#endif
