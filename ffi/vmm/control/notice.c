/* What the user is to know: a line, told once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/control/vmm.h"

static void tell(struct vmm *vmm, const char *code, const char *message)
{
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", "notice");
	writer__text(&out, "code", code);
	writer__text(&out, "message", message);
	control__event(vmm->control, &out, false);
}

/* The layers of confinement that are missing, and what that opens */

/* What a guest could do in a process that lacks some, the worst first. */
enum opened { OPENED_MACHINE, OPENED_FILES, OPENED_NAMES, OPENED_FILES_LATER, OPENED_LITTLE };

static const char *const opened_words[] = {
	[OPENED_MACHINE] = "reach this machine's processes and sockets",
	[OPENED_FILES] = "read and write this user's files",
	[OPENED_NAMES] = "find out which files there are, and read none",
	[OPENED_FILES_LATER] = "reach this user's files if it also breaks out of its mount namespace",
	[OPENED_LITTLE] = "do more than it should",
};

static enum opened opened_by(const bool *missing)
{
	if (missing[CONFINE_SYSCALLS])
		return OPENED_MACHINE;
	if (missing[CONFINE_NAMESPACES])
		return missing[CONFINE_FILES] ? OPENED_FILES : OPENED_NAMES;
	return missing[CONFINE_FILES] ? OPENED_FILES_LATER : OPENED_LITTLE;
}

struct lack {
	char text[512];
	size_t len;
	enum opened opened; /* in the worse of the processes: what one lacks opens nothing in the other */
};

static void add_lack(struct lack *lack, const char *process, const struct confine_report *report)
{
	bool missing[CONFINE_LAYERS] = {false};
	for (unsigned i = 0; i < CONFINE_LAYERS && report->layers[i].name; i++) {
		missing[i] = !report->layers[i].applied;
		if (!missing[i] || lack->len >= sizeof(lack->text))
			continue;
		lack->len += (size_t)snprintf(lack->text + lack->len, sizeof(lack->text) - lack->len,
					      "%s%s lacks %s (%.60s)", lack->len ? ", " : "", process,
					      report->layers[i].name, report->layers[i].detail);
	}
	enum opened opened = opened_by(missing);
	if (opened < lack->opened)
		lack->opened = opened;
}

void notice__confinement(struct vmm *vmm)
{
	struct lack lack = {.opened = OPENED_LITTLE};
	char message[768];
	if (vmm->config->confine != CONFINE_AUTO)
		return;
	add_lack(&lack, "capsa-vmm", &vmm->built.confinement);
	add_lack(&lack, "QEMU", &vmm->built.machine.child_confinement);
	if (!lack.len)
		return;
	snprintf(message, sizeof(message),
		 "confinement is not complete on this machine: %s; a guest that takes such a process over could %s; "
		 "`capsa doctor` names the mends",
		 lack.text, opened_words[lack.opened]);
	tell(vmm, "CONFINE_PARTIAL", message);
}

void notice__hold_over(struct vmm *vmm)
{
	tell(vmm, "HOLD_OVER",
	     "an apply or discard has taken more than 60 s: the sandbox's programs go on in its shares meanwhile; "
	     "look at `capsa diff` afterwards");
}

/* Watched files */

struct told {
	struct vmm *vmm;
	char message[320];
};

static void tell_watches(void *arg)
{
	struct told *told = arg;
	tell(told->vmm, "WATCH_LIMIT", told->message);
	free(told);
}

void notice__watches(void *arg, int error, unsigned count)
{
	struct vmm *vmm = arg;
	struct told *told = calloc(1, sizeof(*told));
	if (!told)
		return;
	told->vmm = vmm;
	snprintf(told->message, sizeof(told->message),
		 "this machine watches no more than %u files for the sandbox: changes of the others, made on this "
		 "machine, go "
		 "unnoticed there; raise the limit: sysctl -w fs.inotify.%s",
		 count, error == -ENOSPC ? "max_user_watches=1048576" : "max_user_instances=1024");
	if (loop__post(vmm->loop, tell_watches, told) < 0) /* the VMM is at its end */
		free(told);
}
