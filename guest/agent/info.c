/* info: what this machine is. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "agent/call.h"

/* Bytes of two lines of /proc/meminfo; 0 for what is not told. */
static void memory(uint64_t *total, uint64_t *available)
{
	FILE *file = fopen("/proc/meminfo", "re");
	char line[128];
	unsigned long long kilobytes;

	*total = *available = 0;
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "MemTotal: %llu", &kilobytes) == 1) // NOLINT(cert-err34-c)
			*total = kilobytes * 1024;
		else if (sscanf(line, "MemAvailable: %llu", &kilobytes) == 1) // NOLINT(cert-err34-c)
			*available = kilobytes * 1024;
	}
	fclose(file);
}

static void start(struct call *call, const CborValue *request)
{
	struct utsname name;
	struct timespec uptime;
	struct frame frame;
	struct writer *writer = &frame.writer;
	uint64_t total, available;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	(void)request;
	uname(&name);
	clock_gettime(CLOCK_BOOTTIME, &uptime);
	memory(&total, &available);
	if (call__respond(call, &frame, 7, sizeof(name) + 128))
		return;
	writer__text(writer, "kernel");
	writer__text(writer, name.release);
	writer__text(writer, "hostname");
	writer__name(writer, name.nodename, strlen(name.nodename));
	writer__text(writer, "arch");
	writer__text(writer, name.machine);
	writer__text(writer, "cpus");
	writer__uint(writer, cpus > 0 ? (uint64_t)cpus : 1);
	writer__text(writer, "memoryTotal");
	writer__uint(writer, total);
	writer__text(writer, "memoryFree");
	writer__uint(writer, available);
	writer__text(writer, "uptimeMs");
	writer__uint(writer, (uint64_t)uptime.tv_sec * 1000 + (uint64_t)uptime.tv_nsec / 1000000);
	call__finish(call, &frame);
}

const struct operation operation__info = {.op = "info", .size = sizeof(struct call), .passive = true, .start = start};
