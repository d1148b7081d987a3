/* What the file system device has for the user to know: a line, told once. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/vmm.h"

struct told {
	struct vmm *vmm;
	char message[320];
};

static void tell(void *arg)
{
	struct told *told = arg;
	struct frame frame;
	frame__begin(&frame, 512);
	frame__text(&frame, "event", "notice");
	frame__text(&frame, "code", "WATCH_LIMIT");
	frame__text(&frame, "message", told->message);
	control__event(told->vmm->control, &frame, false);
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
	if (loop__post(vmm->loop, tell, told) < 0) /* the VMM is at its end */
		free(told);
}
