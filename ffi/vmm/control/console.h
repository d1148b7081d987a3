/* The host's end of the guest's console: output to a handler, input from requests. */
#ifndef CAPSA_VMM_CONTROL_CONSOLE_H
#define CAPSA_VMM_CONTROL_CONSOLE_H

#include <stddef.h>

#include "common/loop.h"

struct console;

typedef void (*console_fn)(void *arg, const void *data, size_t len);

/* 0 or -errno; the caller frees *out. *far is the machine's end, a non-blocking stream socket, and the caller's. */
__attribute__((warn_unused_result)) int console__new(struct loop *loop, console_fn fn, void *arg, struct console **out,
						     int *far);
void console__free(struct console *console);

/* Queue input for the guest: 0, -EAGAIN when more than 64 KiB would wait, -EPIPE when the machine is gone. */
__attribute__((warn_unused_result)) int console__write(struct console *console, const void *data, size_t len);

/* Take what the guest has written, now. */
void console__drain(struct console *console);

#endif
