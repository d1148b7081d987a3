/* Sockets that the VMM asks for by a number, and that a process beside it opens: the VMM itself makes none, so that
 * none of it leads elsewhere, wherever paths may lead. */
#ifndef CAPSA_VMM_BUILD_DOORS_H
#define CAPSA_VMM_BUILD_DOORS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/build/config.h"

/* The VMM's side. Any thread may ask; one is answered at a time. */
struct doors {
	int fd;
	pthread_mutex_t lock;
};

/* Both ends, for the VMM and for who opens. 0 or -errno; the caller closes both. */
__attribute__((warn_unused_result)) int doors__pair(int ends[2]);

/* A descriptor, close-on-exec and non-blocking; or -errno, -ECONNRESET where nobody opens any more. */
__attribute__((warn_unused_result)) int doors__open(struct doors *doors, enum door door, uint32_t number);

/* In the process that opens: answer what was asked, as far as there is anything now; false at the end. Whatever the
 * asking side says and whatever it has made of the runtime directory, no link is followed. */
bool doors__serve(int fd, const struct vmm_config *config);

#endif
