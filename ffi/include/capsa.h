/* libcapsa, the C interface that Bun loads: starting a virtual machine monitor, and asking what this machine can do. */
#ifndef CAPSA_H
#define CAPSA_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CAPSA_API __attribute__((visibility("default")))

/* Raised with every incompatible change of this header or of ffi/vmm.cddl; compare with capsa_abi_version(). */
#define CAPSA_ABI_VERSION 1

CAPSA_API uint32_t capsa_abi_version(void);

/* A started VMM: its process, and this side of its control channel (ffi/vmm.cddl). The caller closes `control` and
 * reaps `pid` with capsa_reap. */
struct capsa_vmm {
	int32_t pid;
	int32_t control; /* stream socket, non-blocking, close-on-exec */
};

/*
 * A listening SOCK_SEQPACKET Unix socket at `path`, on which a VMM takes the members that join its private network:
 * bound before it starts, so that nobody comes too early. The descriptor, non-blocking and close-on-exec, or -errno:
 * -EINVAL null pointer or a path that is too long, errors of bind(2).
 */
CAPSA_API int32_t capsa_listen(const char *path);

/*
 * Start the program `vmm` (path of capsa-vmm) with a CBOR configuration (`vmm-config` in ffi/vmm.cddl, copied).
 * Returns at once; "started", "failed" or "exited" arrives as a frame. When `control` closes, an attached VMM ends.
 * 0, or -errno with nothing started: -EINVAL null pointer or empty config, -E2BIG over 1 MiB, errors of socketpair(2),
 * memfd_create(2), posix_spawn(3). The VMM gets `count` sockets of capsa_listen, one for each of the configuration's
 * `lans`; they are closed here in any case. -EINVAL for more than 4 as well.
 */
CAPSA_API int32_t capsa_start_joined(const char *vmm, const uint8_t *config, size_t config_len,
				     const int32_t *listeners, uint32_t count, struct capsa_vmm *out);

/* Collect an ended VMM: 1 and *status (as waitpid(2) gives it), 0 when it still runs, -errno. Never blocks. */
CAPSA_API int32_t capsa_reap(int32_t pid, int32_t *status);

/*
 * Send a signal to the process `pid` that has run since `start` (clock ticks since boot: field 22 of /proc/PID/stat),
 * and to no later one that was given its number. 0, or -errno: -ESRCH when it has ended, errors of pidfd_open(2) and
 * pidfd_send_signal(2).
 */
CAPSA_API int32_t capsa_signal(int32_t pid, uint64_t start, int32_t signal);

/* What a run of a few guest instructions on /dev/kvm showed. */
enum capsa_kvm_state {
	CAPSA_KVM_OK = 0,
	CAPSA_KVM_ABSENT = 1,     /* no /dev/kvm */
	CAPSA_KVM_DENIED = 2,     /* no permission to open it */
	CAPSA_KVM_SOFTWARE = 3,   /* answers, but runs a 64-bit guest too slowly: instructions are emulated */
	CAPSA_KVM_BROKEN = 4,     /* answers, but cannot run a 64-bit guest at all */
	CAPSA_KVM_UNSUPPORTED = 5 /* this build has no KVM engine */
};

struct capsa_kvm_probe {
	int32_t state;        /* enum capsa_kvm_state */
	int32_t error;        /* errno of the failing call, 0 where none failed */
	int32_t api_version;  /* KVM_GET_API_VERSION, 0 when not reached */
	int32_t cpu_virt;     /* 1 when the processor says it has VMX or SVM */
	uint64_t guest_ns;    /* time the guest loop took (or ran until the budget), nanoseconds */
	uint64_t guest_loops; /* iterations it managed in that time */
};

/* Probe within `budget_ms` milliseconds (a guest that is not done by half of that is stopped; only where setting it up
 * takes unusually long, which is no mark of a software KVM, up to twenty times that). Leaves nothing behind. 0 or
 * -errno.
 */
CAPSA_API int32_t capsa_probe_kvm(uint32_t budget_ms, struct capsa_kvm_probe *out);

/*
 * What a VMM's network would do with packets to a place, without a VMM: `question` is the CBOR map of
 * `offline-question` in ffi/vmm.cddl. Writes a CBOR map, `offline-answer`, to the `room` bytes of `answer`. Its length,
 * or -errno: -EINVAL null pointer, -ENOBUFS too little room (4 KiB is enough), -ENOMEM.
 */
CAPSA_API int32_t capsa_explain(const uint8_t *question, size_t len, uint8_t *answer, size_t room);

#ifdef __cplusplus
}
#endif

#endif
