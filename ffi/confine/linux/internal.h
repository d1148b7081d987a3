/* The layers of confinement, one file each. Each says in `detail` what it did, or why it did not. */
#ifndef CAPSA_CONFINE_INTERNAL_H
#define CAPSA_CONFINE_INTERNAL_H

#include <fcntl.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

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
	/* In a child that becomes a program: the descriptor by which it is executed, and how the child came about. */
	int program;
	int connects; /* as in struct confine_word */
	const struct confine_birth *birth;
};

/* All return 0 or -errno. The first of a pair is the VMM's, the second that of a program. */
int layer__privileges(struct confine_work *work, struct confine_detail detail);
int layer__namespaces(struct confine_work *work, struct confine_detail detail);
int program__namespaces(struct confine_work *work, struct confine_detail detail);
int layer__limits(struct confine_work *work, struct confine_detail detail);
int program__limits(struct confine_work *work, struct confine_detail detail);
int layer__capabilities(struct confine_work *work, struct confine_detail detail);
int layer__files(struct confine_work *work, struct confine_detail detail);
int layer__syscalls(struct confine_work *work, struct confine_detail detail);
int program__syscalls(struct confine_work *work, struct confine_detail detail);

/* What layer__files needs and later layers take away: sets `ruleset` and `landlock`. */
void files__prepare(struct confine_work *work);

/*
 * What of this machine's files a program has, each once: its own file, the libraries of its prefix and of the system,
 * and its data. `visit` returns 0 or -errno, which ends the walk and is returned. A path may lead nowhere.
 */
int program__each_file(const struct confine_program *program,
		       int (*visit)(void *arg, const char *path, bool executable), void *arg);

/* The flags of the execveat(2) that executes a program. */
#define PROGRAM_EXECUTED_BY (AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW)

/* Parts of seccomp filters; `action` is one of SCMP_ACT_*, a list ends in NULL. */
scmp_filter_ctx filter__new(uint32_t otherwise);
int filter__all(scmp_filter_ctx filter, const char *const *names, uint32_t action);
/* Allow a call where the argument of this number has one of these values, of which 32 bits count. */
int filter__each(scmp_filter_ctx filter, int call, unsigned argument, const unsigned long *values, unsigned count);
int filter__descriptor_flags(scmp_filter_ctx filter);
int filter__socket_options(scmp_filter_ctx filter);
int filter__threads(scmp_filter_ctx filter);
int filter__own_signals(scmp_filter_ctx filter);
int filter__reading_limits(scmp_filter_ctx filter);
int filter__unix_streams(scmp_filter_ctx filter);
int filter__unix_pairs(scmp_filter_ctx filter);
/* Nothing that a VMM or QEMU ever does, but for executing: whoever tries is neither any more. */
extern const char *const filter__fatal[];

__attribute__((format(printf, 2, 3))) static inline void detail__say(struct confine_detail detail, const char *format,
								     ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(detail.text, detail.size, format, args);
	va_end(args);
}

#endif
