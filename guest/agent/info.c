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
	*total = *available = 0;
	if (!file)
		return;
	char line[128];
	unsigned long long kilobytes;
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
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	(void)request;
	struct utsname name;
	uname(&name);
	struct timespec uptime;
	clock_gettime(CLOCK_BOOTTIME, &uptime);
	uint64_t total, available;
	memory(&total, &available);
	struct writer out = call__respond(call);
	writer__text(&out, "kernel", name.release);
	writer__name(&out, "hostname", name.nodename, strlen(name.nodename));
	writer__text(&out, "arch", name.machine);
	writer__uint(&out, "cpus", cpus > 0 ? (uint64_t)cpus : 1);
	writer__uint(&out, "memoryTotal", total);
	writer__uint(&out, "memoryFree", available);
	writer__uint(&out, "uptimeMs", (uint64_t)uptime.tv_sec * 1000 + (uint64_t)uptime.tv_nsec / 1000000);
	call__finish(call, &out);
}

const struct operation operation__info = {.op = "info", .size = sizeof(struct call), .passive = true, .start = start};
