/* What a VMM is told at its start: `vmm-config` of ffi/vmm.cddl, checked. */
#ifndef CAPSA_VMM_BUILD_CONFIG_H
#define CAPSA_VMM_BUILD_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "confine/confine.h"
#include "confine/identity.h"
#include "virtio/kind.h"

#define CONFIG_DEFAULT_LOG_LIMIT (16U << 20)
/* The directory in runtimeDir that is the VMM's to write, and all of it that it has once it is confined: whoever reads
 * or connects there believes nothing. The rest of runtimeDir is believed. */
#define VMM_DIR "vmm"
/* Keeps runtimeDir + "/" VMM_DIR "/host-4294967295.sock" within sockaddr_un. */
#define CONFIG_MAX_RUNTIME_DIR 80

/* Optional texts are NULL when absent. */
struct vmm_config {
	uint32_t version;
	uint32_t cpus;
	const char *name;
	const char *engine;
	const char *kernel;
	struct file_identity kernel_identity;
	const char *initrd;
	struct file_identity initrd_identity;
	const char *cmdline;
	uint64_t memory; /* bytes */
	const char *runtime_dir;
	const char *archive;
	uint64_t log_limit;   /* bytes */
	uint64_t ttl;         /* ms; 0: none */
	const char *qemu;     /* path */
	uint32_t events_port; /* 0: none */
	uint32_t clock_port;  /* 0: none */
	enum confine_mode confine;
	bool acpi, detached, serial;
	bool waits;                         /* it begins with PROCESS_BEGIN */
	_Alignas(16) uint8_t devices[2048]; /* what each kind is told: see vmm_config__device */

	struct cbor_arena arena; /* what the texts and lists above are in */
};

/* Read the encoded configuration (copied). 0, or -errno with *why and nothing to free. */
__attribute__((warn_unused_result)) int vmm_config__read(struct vmm_config *config, const uint8_t *from, size_t len,
							 struct failure *why);
void vmm_config__free(struct vmm_config *config);

/* All fields of it, with those of the kinds of devices; how many. */
#define VMM_CONFIG_FIELDS 64
unsigned vmm_config__fields(struct cbor_field fields[VMM_CONFIG_FIELDS]);

/* What devices of that kind are told: the kind's own struct, zeros without its key. NULL: no machine has that kind. */
void *vmm_config__device(struct vmm_config *config, const struct device_kind *kind);
const void *vmm_config__told(const struct vmm_config *config, const struct device_kind *kind);
/* Of device_lan: how many private networks. */
unsigned vmm_config__lans(const struct vmm_config *config);

#endif
