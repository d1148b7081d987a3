/* Bells: descriptors by which one thread, process or guest wakes another. One is readable from when it is rung until it
 * is heard. */
#ifndef CAPSA_OS_BELL_H
#define CAPSA_OS_BELL_H

/* A descriptor, close-on-exec, which the caller closes; or -errno. */
__attribute__((warn_unused_result)) int bell__new(void);
/* Never waits. What is no bell any more stays silent. */
void bell__ring(int bell);
/* Silence it. 0; -EAGAIN where nobody has rung; -EBADF or -EINVAL for what is no bell: it would be ready for ever. */
int bell__hear(int bell);

#endif
