/* What the kernel is told once: names, limits, the loopback interface; and its end. */
#ifndef CAPSA_INIT_SYSTEM_H
#define CAPSA_INIT_SYSTEM_H

#include <stdint.h>
#include <stdnoreturn.h>

/* Make sure that descriptors 0 to 2 are taken, so that no other file gets one of them. */
void system__hold_standard_streams(void);
/* Point them at /dev/console, or /dev/null where there is no console. */
void system__open_console(void);

/* Let this process run as soon as it can, however busy the others are: it hears what the host says when it says it, the
 * time above all. What it starts does not inherit that. */
void system__go_first(void);

/* Host name, resource limits, umask, loopback; under emulation fixed addresses, for speed. What a kernel lacks is left
 * out.
 */
void system__configure(const char *hostname);

/* ns of CLOCK_BOOTTIME. */
uint64_t system__boottime(void);

/* A listening vsock socket, or -errno. */
__attribute__((warn_unused_result)) int system__listen(uint32_t port);

/* Write everything back, unmount what can be, and end the machine at once. */
noreturn void system__end(void);

#endif
