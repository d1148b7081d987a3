/* What the net device tells the VMM: refusals, for the log and for whoever follows, and the ports it published. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmm/vmm.h"

#define MAX_UNDER_WAY 64 /* refusals; more are not told */

/* A copy for the main loop, with the name in it. */
struct refused {
	struct vmm *vmm;
	struct gate_refusal refusal;
	char name[POLICY_NAME_MAX + 1];
};

/* "2026-01-31T12:00:00Z tcp 192.0.2.1:443 (example.org) refused: no rule allows it; to allow it: example.org:443". What
 * a guest can bring into it are names, of which the gate lets letters, digits, "-", "_" and "." through. */
static void write_line(struct vmm *vmm, const struct gate_refusal *refusal)
{
	char line[1024], when[32], port[8] = "";
	time_t now = time(NULL);
	struct tm tm;
	gmtime_r(&now, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (refusal->port)
		snprintf(port, sizeof(port), ":%u", refusal->port);
	bool brackets = refusal->port && strchr(refusal->address, ':');
	const char *name = refusal->name ? refusal->name : "";
	bool both = *name && *refusal->address;
	int len = snprintf(line, sizeof(line), "%s %s %s%s%s%s%s%s%s refused: %s%s%s\n", when, refusal->protocol,
			   brackets ? "[" : "", refusal->address, brackets ? "]" : "", port, both ? " (" : "", name,
			   both ? ")" : "", refusal->why, *refusal->allow ? "; to allow it: " : "", refusal->allow);
	log__append(vmm->network_log, line, (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
}

static void tell(void *arg)
{
	struct refused *refused = arg;
	const struct gate_refusal *refusal = &refused->refusal;
	struct vmm *vmm = refused->vmm;
	write_line(vmm, refusal);
	struct frame frame;
	frame__begin(&frame, 1024);
	frame__text(&frame, "event", "network");
	frame__text(&frame, "protocol", refusal->protocol);
	if (*refusal->address)
		frame__text(&frame, "address", refusal->address);
	if (refusal->port)
		frame__uint(&frame, "port", refusal->port);
	if (refusal->name)
		frame__text(&frame, "name", refusal->name);
	frame__text(&frame, "why", refusal->why);
	if (*refusal->allow)
		frame__text(&frame, "allow", refusal->allow);
	control__event(vmm->control, &frame, true);
	atomic_fetch_sub(&vmm->refusals, 1);
	free(refused);
}

void network__refused(void *arg, const struct gate_refusal *refusal)
{
	struct vmm *vmm = arg;
	struct refused *refused = atomic_load(&vmm->refusals) < MAX_UNDER_WAY ? calloc(1, sizeof(*refused)) : NULL;
	if (!refused)
		return;
	refused->vmm = vmm;
	refused->refusal = *refusal;
	if (refusal->name) {
		snprintf(refused->name, sizeof(refused->name), "%s", refusal->name);
		refused->refusal.name = refused->name;
	}
	atomic_fetch_add(&vmm->refusals, 1);
	if (loop__post(vmm->loop, tell, refused) < 0) { /* the VMM is at its end */
		atomic_fetch_sub(&vmm->refusals, 1);
		free(refused);
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
