/* The control channel's server: who is connected, and what goes to whom. */
#include "vmm/control/control.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "os/socket.h"

#define MAX_CHANNELS 64
#define FOLLOWER_MS 1000

bool control__congested(const struct control *control)
{
	return control->congested;
}

void control__event(struct control *control, struct writer *out, bool keep_up)
{
	bool whole = frame__end(out) == 0;
	for (struct control_channel *ch = control->channels; ch; ch = ch->next)
		if (whole && ch->follow && !(keep_up && ch->queued >= CONTROL_CONGESTED))
			channel__send(ch, out->buffer);
	buffer__free(out->buffer);
}

/* Free what was closed. Not from within a channel's handler. */
static void sweep(struct control *control)
{
	for (struct control_channel **at = &control->channels; *at;) {
		struct control_channel *ch = *at;
		if (ch->fd >= 0) {
			at = &ch->next;
			continue;
		}
		*at = ch->next;
		control->count--;
		channel__free(ch);
	}
}

static void listener__ready(void *arg, int fd, unsigned ready)
{
	struct control *control = arg;
	struct control_channel *ch;
	uid_t peer;
	(void)ready;
	sweep(control);
	int client = socket__accept(fd, false);
	if (client < 0)
		return;
	if (control->count >= MAX_CHANNELS || socket__peer(client, &peer) < 0 || (peer != geteuid() && peer != 0) ||
	    channel__new(control, client, false, &ch) < 0)
		close(client);
}

int control__new(const struct control_options *options, struct control **out)
{
	struct control *control = calloc(1, sizeof(*control));
	if (!control)
		return -ENOMEM;
	control->options = *options;
	control->listener = -1;
	int err = channel__new(control, options->starter, true, &control->starter);
	if (err) {
		free(control);
		return err;
	}
	*out = control;
	return 0;
}

int control__listen(struct control *control, const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	if (snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path) >= (int)sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	int fd = socket__new(AF_UNIX, SOCK_STREAM, 0, false);
	if (fd < 0)
		return fd;
	int err = 0;
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, MAX_CHANNELS) < 0)
		err = -errno;
	if (!err)
		err = loop__add(control->options.loop, fd, LOOP_READ, listener__ready, control);
	if (err) {
		close(fd);
		return err;
	}
	control->listener = fd;
	return 0;
}

static void stop_listening(struct control *control)
{
	if (control->listener < 0)
		return;
	loop__del(control->options.loop, control->listener);
	close(control->listener);
	control->listener = -1;
}

void control__finish(struct control *control, struct writer *out, int starter_ms)
{
	stop_listening(control);
	control->finishing = true;
	bool whole = frame__end(out) == 0;
	int64_t began = monotonic_ms();
	for (struct control_channel *ch = control->channels; ch; ch = ch->next) {
		if (whole && ch->follow)
			channel__send(ch, out->buffer);
		int64_t until = began + (ch->starter ? starter_ms : FOLLOWER_MS);
		while (ch->first) {
			struct pollfd pfd = {.fd = ch->fd, .events = POLLOUT};
			int64_t left = until - monotonic_ms();
			if (left <= 0 || (poll(&pfd, 1, (int)left) < 0 && errno != EINTR) || !channel__flush(ch))
				break;
		}
		channel__close(ch);
	}
	buffer__free(out->buffer);
}

void control__free(struct control *control)
{
	if (!control)
		return;
	stop_listening(control);
	while (control->channels) {
		struct control_channel *ch = control->channels;
		control->channels = ch->next;
		channel__free(ch);
	}
	free(control);
}
