/* What the user is to know: a line, told once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/vmm.h"

static void tell(struct vmm *vmm, const char *code, const char *message)
{
	struct frame frame;
	frame__begin(&frame, 1024);
	frame__text(&frame, "event", "notice");
	frame__text(&frame, "code", code);
	frame__text(&frame, "message", message);
	control__event(vmm->control, &frame, false);
}

/* The layers of confinement that are missing, and what that opens */

struct lack {
	char text[512];
	size_t len;
	bool missing[CONFINE_LAYERS];
};

static void add_lack(struct lack *lack, const char *process, const struct confine_report *report)
{
	for (unsigned i = 0; i < CONFINE_LAYERS && report->layers[i].name; i++) {
		if (report->layers[i].applied || lack->len >= sizeof(lack->text))
			continue;
		lack->missing[i] = true;
		lack->len += (size_t)snprintf(lack->text + lack->len, sizeof(lack->text) - lack->len,
					      "%s%s lacks %s (%.60s)", lack->len ? ", " : "", process,
					      report->layers[i].name, report->layers[i].detail);
	}
}

static const char *opened_by(const bool *missing)
{
	if (missing[CONFINE_SYSCALLS])
		return "reach this machine's processes and sockets";
	if (missing[CONFINE_NAMESPACES] && missing[CONFINE_FILES])
		return "read and write this user's files";
	if (missing[CONFINE_NAMESPACES])
		return "find out which files there are, and read none";
	if (missing[CONFINE_FILES])
		return "reach this user's files if it also breaks out of its mount namespace";
	return "do more than it should";
}

void notice__confinement(struct vmm *vmm)
{
	struct lack lack = {.len = 0};
	char message[768];
	if (strcmp(vmm->config->confine, "auto") != 0)
		return;
	add_lack(&lack, "capsa-vmm", &vmm->confinement);
	add_lack(&lack, "QEMU", &vmm->machine.child_confinement);
	if (!lack.len)
		return;
	snprintf(message, sizeof(message),
		 "confinement is not complete on this machine: %s; a guest that takes such a process over could %s; "
		 "`capsa doctor` names the mends",
		 lack.text, opened_by(lack.missing));
	tell(vmm, "CONFINE_PARTIAL", message);
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
