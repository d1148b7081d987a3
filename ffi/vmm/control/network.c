/* What the net device tells the VMM: what it refused or tells of, for the log and for whoever follows, and the ports it
 * published. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/config.h"
#include "vmm/control/vmm.h"

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
	struct buffer frame = {.data = NULL};
	struct writer out = frame__begin(&frame);
	writer__text(&out, "event", "network");
	writer__bool(&out, "passed", !notice->why);
	writer__text(&out, "protocol", notice->protocol);
	if (*notice->address)
		writer__text(&out, "address", notice->address);
	if (notice->port)
		writer__uint(&out, "port", notice->port);
	if (notice->failed)
		writer__bool(&out, "failed", true);
	if (notice->inside)
		writer__bool(&out, "inside", true);
	if (notice->name)
		writer__text(&out, "name", notice->name);
	if (notice->why)
		writer__text(&out, "why", notice->why);
	if (*notice->allow)
		writer__text(&out, "allow", notice->allow);
	control__event(vmm->control, &out, true);
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

void network__add_ports(struct writer *out, const struct vmm_config *config)
{
	char key[16], address[ADDRESS_TEXT];
	const struct nat_options *net = vmm_config__told(config, &device_net);
	if (!net->publish.count)
		return;
	writer__open(out, "ports");
	for (unsigned i = 0; i < net->publish.count; i++) {
		const struct nat_publish *port = &net->publish.at[i];
		snprintf(key, sizeof(key), "%u", i);
		writer__open(out, key);
		writer__text(out, "protocol", port->protocol == POLICY_UDP ? "udp" : "tcp");
		writer__text(out, "address", address__print(&port->host, address));
		writer__uint(out, "port", port->host_port);
		writer__uint(out, "guestPort", port->guest_port);
		writer__close(out);
	}
	writer__close(out);
}
