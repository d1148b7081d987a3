/* A stream of the guest's, its events or its questions for the time: one connection to a vsock port of the host, taken
 * by the VMM itself. */
#ifndef CAPSA_VMM_CONTROL_GUEST_STREAM_H
#define CAPSA_VMM_CONTROL_GUEST_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "common/loop.h"

struct guest_stream;

typedef void (*guest_stream_fn)(void *arg, const void *data, size_t len);

/* Wait for the guest at host-<port>.sock in `dir`. The first connection is the stream; the socket is removed then, so
 * that there is no second. 0 or -errno; the caller frees *out. */
__attribute__((warn_unused_result)) int guest_stream__new(struct loop *loop, const char *dir, uint32_t port,
							  guest_stream_fn fn, void *arg, struct guest_stream **out);
void guest_stream__free(struct guest_stream *stream);

/* Leave what the guest sends in the socket (the guest waits once that is full), and take it again. */
void guest_stream__pause(struct guest_stream *stream);
void guest_stream__resume(struct guest_stream *stream);

/* Take what has arrived, now, until there is nothing or the stream is paused. Returns the bytes taken. */
size_t guest_stream__drain(struct guest_stream *stream);

/* Send a few bytes to the guest; all or none: one that is not there, or does not read, goes without them. */
void guest_stream__say(struct guest_stream *stream, const void *data, size_t len);

#endif
