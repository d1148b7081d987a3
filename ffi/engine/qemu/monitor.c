/* QMP, QEMU's machine protocol, as far as it is needed: commands, whether they succeeded, and numbers in replies. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/qemu/qemu.h"

#define BYTES_A_TURN 16384 /* then others have theirs: a QEMU that was taken over may write without end */

int qemu_monitor__send(struct qemu_monitor *monitor, const char *command, const char *arguments)
{
	char line[128];
	int len = snprintf(line, sizeof(line), "{\"execute\":\"%s\"%s%s}\n", command,
			   arguments ? ",\"arguments\":" : "", arguments ? arguments : "");
	if (send(monitor->fd, line, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT) != len)
		return -EPIPE;
	monitor->awaited++;
	return 0;
}

/* QMP writes the kind of a message first: {"return": …}, {"error": …}; events have a timestamp before the name. */
static bool take_line(struct qemu_monitor *monitor)
{
	const char *line = monitor->line;
	bool refused = strncmp(line, "{\"error\"", 8) == 0;
	if (refused || strncmp(line, "{\"return\"", 9) == 0) {
		monitor->refused = refused;
		monitor->awaited -= monitor->awaited > 0;
		return true;
	}
	if (strstr(line, "\"event\": \"SHUTDOWN\"") && strstr(line, "\"reason\": \"host-"))
		monitor->host_ended = true;
	return false;
}

int qemu_monitor__number(const struct qemu_monitor *monitor, const char *name, uint64_t *number)
{
	char key[32];
	int len = snprintf(key, sizeof(key), "\"%s\": ", name);
	const char *at = strstr(monitor->line, key);
	char *end;
	if (!at)
		return -EPROTO;
	*number = strtoull(at + len, &end, 10);
	return end == at + len ? -EPROTO : 0;
}

int qemu_monitor__read(struct qemu_monitor *monitor)
{
	for (int i = 0; i < BYTES_A_TURN; i++) {
		char byte;
		ssize_t n = recv(monitor->fd, &byte, 1, MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		if (n == 0)
			return -ECONNRESET;
		if (byte == '\n') {
			monitor->line[monitor->len] = 0;
			bool whole = !monitor->skipping;
			monitor->len = 0;
			monitor->skipping = false;
			if (whole && take_line(monitor))
				return 1;
		} else if (monitor->len < QEMU_LINE - 1) {
			monitor->line[monitor->len++] = byte;
		} else {
			monitor->skipping = true;
		}
	}
	return 0;
}
