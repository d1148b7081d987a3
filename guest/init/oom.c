/* Processes that the kernel killed for want of memory, as its log tells of them. */
#include "init/oom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/utf8.h"
#include "init/events.h"

enum { RECORD_SIZE = 8192, FACILITY = 8 };

/* "3,417,2914085,-;Out of memory: Killed process 77 (tail) total-vm:…": level and facility, number, time, flags; then
 * the text. What programs write into the log has another facility than the kernel's, which is 0. */
bool oom__parse(const char *record, struct oom_kill *kill)
{
	static const struct {
		const char *begin;
		bool limited;
	} kinds[] = {
		{"Out of memory: Killed process ", false},
		{"Memory cgroup out of memory: Killed process ", true},
	};
	const char *text = strchr(record, ';'), *name = NULL, *end = NULL;
	char *after;
	long pid = 0;
	if (!text || strtol(record, NULL, 10) >= FACILITY)
		return false;
	text++;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds) && !name; i++) {
		size_t length = strlen(kinds[i].begin);
		if (strncmp(text, kinds[i].begin, length) != 0)
			continue;
		pid = strtol(text + length, &after, 10);
		name = after;
		kill->limited = kinds[i].limited;
	}
	if (!name || pid <= 0 || strncmp(name, " (", 2) != 0)
		return false;
	name += 2;
	/* a name may have parentheses of its own */
	for (const char *at = name; (at = strstr(at, ") total-vm:")); at++)
		end = at;
	if (!end)
		return false;
	kill->pid = (pid_t)pid;
	size_t length = (size_t)(end - name) < sizeof(kill->program) ? (size_t)(end - name) : sizeof(kill->program) - 1;
	memcpy(kill->program, name, length);
	kill->program[length] = '\0';
	utf8__mend(kill->program, length);
	return true;
}

static void ready(void *arg, int fd, unsigned events)
{
	const struct oom *oom = arg;
	char record[RECORD_SIZE];
	struct oom_kill kill;
	ssize_t n;
	(void)events;
	/* one record a read; EPIPE: the next one was overwritten, and the one after that comes next */
	while ((n = read(fd, record, sizeof(record) - 1)) >= 0 || errno == EPIPE || errno == EINTR) {
		if (n == 0)
			break;
		if (n < 0)
			continue;
		record[n] = '\0';
		if (oom__parse(record, &kill) && !events__congested(oom->events))
			events__oom(oom->events, &kill);
	}
}

void oom__watch(struct oom *oom, struct loop *loop, struct events *events)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	*oom = (struct oom){.fd = fd, .events = events};
	if (fd < 0)
		return;
	lseek(fd, 0, SEEK_END);
	if (loop__add(loop, fd, LOOP_READ, ready, oom)) {
		close(fd);
		oom->fd = -1;
	}
}
