/* What the net device tells the VMM: what it refused or tells of, for the log and for whoever follows, and the ports it
 * published. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmm/vmm.h"

#define MAX_UNDER_WAY 2048 /* notices, more than the gate tells at a time; others are lost */
#define WHY_MAX 200        /* bytes of a reason; what is longer is cut */

/* A copy for the main loop, with the texts in it: rules, whose a reason is, may be others by then. */
struct told {
	struct vmm *vmm;
	struct gate_notice notice;
	char name[POLICY_NAME_MAX + 1], why[WHY_MAX];
};

/* "2026-01-31T12:00:00Z tcp 192.0.2.1:443 (example.org) refused: no rule allows it; to allow it: example.org:443", or
 * "... let through"; "failed" in place of "refused". What a guest can bring into it are names, of letters, digits, "-",
 * "_", "." and "\". */
static void write_line(struct vmm *vmm, const struct gate_notice *notice)
{
	char line[1024], when[32], port[8] = "";
	time_t now = time(NULL);
	struct tm tm;
	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (notice->port)
		snprintf(port, sizeof(port), ":%u", notice->port);
	bool brackets = notice->port && strchr(notice->address, ':');
	const char *name = notice->name ? notice->name : "";
	bool both = *name && *notice->address;
	int len = snprintf(line, sizeof(line), "%s %s %s%s%s%s%s%s%s ", when, notice->protocol, brackets ? "[" : "",
			   notice->address, brackets ? "]" : "", port, both ? " (" : "", name, both ? ")" : "");
	if (notice->why)
		len += snprintf(line + len, sizeof(line) - (size_t)len, "%s: %s%s%s\n",
				notice->failed ? "failed" : "refused", notice->why,
				*notice->allow ? "; to allow it: " : "", notice->allow);
	else
		len += snprintf(line + len, sizeof(line) - (size_t)len, "let through\n");
	log__append(vmm->network_log, line, (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
}

static void tell(void *arg)
{
	struct told *told = arg;
	const struct gate_notice *notice = &told->notice;
	struct vmm *vmm = told->vmm;
	write_line(vmm, notice);
	struct frame frame;
	frame__begin(&frame, 1024);
	frame__text(&frame, "event", "network");
	frame__bool(&frame, "passed", !notice->why);
	frame__text(&frame, "protocol", notice->protocol);
	if (*notice->address)
		frame__text(&frame, "address", notice->address);
	if (notice->port)
		frame__uint(&frame, "port", notice->port);
	if (notice->failed)
		frame__bool(&frame, "failed", true);
	if (notice->inside)
		frame__bool(&frame, "inside", true);
	if (notice->name)
		frame__text(&frame, "name", notice->name);
	if (notice->why)
		frame__text(&frame, "why", notice->why);
	if (*notice->allow)
		frame__text(&frame, "allow", notice->allow);
	control__event(vmm->control, &frame, true);
	atomic_fetch_sub(&vmm->notices, 1);
	free(told);
}

void network__notice(void *arg, const struct gate_notice *notice)
{
	struct vmm *vmm = arg;
	struct told *told = atomic_load(&vmm->notices) < MAX_UNDER_WAY ? calloc(1, sizeof(*told)) : NULL;
	if (!told)
		return;
	told->vmm = vmm;
	told->notice = *notice;
	if (notice->name) {
		snprintf(told->name, sizeof(told->name), "%s", notice->name);
		told->notice.name = told->name;
	}
	if (notice->why) {
		snprintf(told->why, sizeof(told->why), "%s", notice->why);
		told->notice.why = told->why;
	}
	atomic_fetch_add(&vmm->notices, 1);
	if (loop__post(vmm->loop, tell, told) < 0) { /* the VMM is at its end */
		atomic_fetch_sub(&vmm->notices, 1);
		free(told);
	}
}

void network__add_ports(struct frame *frame, const struct device_set *devices)
{
	char key[16], address[ADDRESS_TEXT];
	if (!devices->publish_count)
		return;
	frame__open(frame, "ports");
	for (unsigned i = 0; i < devices->publish_count; i++) {
		const struct nat_publish *port = &devices->publish[i];
		snprintf(key, sizeof(key), "%u", i);
		frame__open(frame, key);
		frame__text(frame, "protocol", port->udp ? "udp" : "tcp");
		frame__text(frame, "address", address__print(&port->host, address));
		frame__uint(frame, "port", port->host_port);
		frame__uint(frame, "guestPort", port->guest_port);
		frame__close(frame);
	}
	frame__close(frame);
}
