/* What a VMM is told at its start: `vmm-config` of ffi/vmm.cddl, checked. */
#ifndef CAPSA_VMM_BUILD_CONFIG_H
#define CAPSA_VMM_BUILD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"
#include "confine/identity.h"
#include "net/config.h"
#include "net/lan.h"
#include "net/nat.h"
#include "virtio/fs.h"

#define CONFIG_MAX_FS 8
#define CONFIG_MAX_DISKS 8
#define CONFIG_MAX_LANS 4
#define CONFIG_MAX_PORTS 256
#define CONFIG_DEFAULT_LOG_LIMIT (16U << 20)
/* The directory in runtimeDir that is the VMM's to write, and all of it that it has once it is confined: whoever reads
 * or connects there believes nothing. The rest of runtimeDir is believed. */
#define VMM_DIR "vmm"
/* Keeps runtimeDir + "/" VMM_DIR "/host-4294967295.sock" within sockaddr_un. */
#define CONFIG_MAX_RUNTIME_DIR 80

struct config_root {
	const char *name;
	const char *path;
	struct file_identity identity;
	bool read_only;
	bool host_locks;
	const char *layer; /* NULL: none */
	const char **protect;
	unsigned protect_count;
	uint64_t size; /* 0: any */
	enum fs_cache cache;
	enum fs_ownership ownership;
	struct fs_id_range *uids, *gids;
	unsigned uid_count, gid_count;
};

struct config_fs {
	const char *tag;
	bool single;
	struct config_root *roots;
	unsigned root_count;
};

struct config_disk {
	const char *path;
	struct file_identity identity;
	bool read_only;
};

struct config_vsock {
	bool present;
	uint64_t cid;
	uint32_t ports[CONFIG_MAX_PORTS];
	unsigned port_count;
};

struct config_net {
	bool present;
	uint64_t mtu;
	struct net_addresses addresses;
	bool host_loopback;
	bool follows_host; /* the servers are those of /etc/resolv.conf, now and later */
	struct name_servers servers;
	struct config_rules rules;
	bool otherwise;
	struct services services;
	struct nat_publish publish[NAT_PUBLISHED];
	unsigned publish_count;
	uint64_t max_connections; /* 0: GATE_CONNECTIONS */
	uint64_t bandwidth;       /* bytes per second, each way; 0: no limit */
};

/* A private network. */
struct config_lan {
	uint64_t mtu;
	struct lan_member self;
	struct address name_server[2];
	uint8_t token[LAN_TOKEN];
	struct lan_peer peers[LAN_PEERS];
	unsigned peer_count;
};

/* Every path is absolute. Optional texts are NULL when absent. */
struct vmm_config {
	uint64_t version;
	const char *name;
	const char *engine;
	const char *kernel;
	struct file_identity kernel_identity;
	const char *initrd;
	struct file_identity initrd_identity;
	const char *cmdline;
	bool acpi;
	uint64_t cpus;
	uint64_t memory; /* bytes */
	const char *runtime_dir;
	bool detached;
	struct config_fs fs[CONFIG_MAX_FS];
	unsigned fs_count;
	struct config_disk disks[CONFIG_MAX_DISKS];
	unsigned disk_count;
	struct config_vsock vsock;
	struct config_net net;
	struct config_lan lans[CONFIG_MAX_LANS];
	unsigned lan_count;
	bool rng;
	bool balloon;
	bool console;
	bool serial;
	uint64_t events_port; /* 0: none */
	uint64_t clock_port;  /* 0: none */
	const char *archive;
	uint64_t log_limit; /* bytes */
	uint64_t ttl;       /* ms; 0: none */
	const char *qemu;   /* path */
	const char *confine;

	char *texts; /* what the texts above point into */
};

/* Read the encoded configuration (copied). 0, or -errno with *why and nothing to free. */
__attribute__((warn_unused_result)) int vmm_config__read(struct vmm_config *config, const uint8_t *from, size_t len,
							 struct failure *why);
void vmm_config__free(struct vmm_config *config);

#endif
