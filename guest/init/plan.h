/* The boot plan the host wrote into the initramfs (protocol.cddl). */
#ifndef CAPSA_INIT_PLAN_H
#define CAPSA_INIT_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "init/lan.h"
#include "init/network.h"
#include "process/strings.h"

/* A share and where it goes. */
struct plan_mount {
	char *name;   /* entry of the virtio-fs root */
	char *target; /* absolute */
	bool read_only, overlay;
};

struct plan {
	char *hostname;
	uint32_t agent_port, events_port;
	uint32_t clock_port;      /* 0: there is none */
	uint64_t ttl_ms, idle_ms; /* 0: no limit */
	bool waits;               /* these begin when the host says so */
	char *fs_tag;             /* NULL: no shares */
	struct strings lower;     /* of the root overlay, uppermost first; empty: the base itself */
	struct plan_mount *mounts;
	size_t mount_count;
	struct strings environment; /* of the sandbox, defaults included */
	struct network_plan network;
	struct lan_plan lans;
	char *trust; /* NULL: nobody beside those of the root file system */
	bool has_main;
	struct strings main_argv, main_environment; /* whole */
	char *main_cwd;                             /* NULL: / */
	bool main_has_user, main_has_group;
	uid_t main_user;
	gid_t main_group;
};

/* Parse `length` bytes. *why says what is wrong with them. Returns 0 or -errno (-EPROTO: not a plan); what was
 * allocated is init's for life. */
__attribute__((warn_unused_result)) int plan__parse(struct plan *plan, const uint8_t *bytes, size_t length,
						    const char **why);

/* Read and remove the file. Returns as plan__parse; -ENOENT without one. */
__attribute__((warn_unused_result)) int plan__load(struct plan *plan, const char *path, const char **why);
void plan__free(struct plan *plan);

#endif
