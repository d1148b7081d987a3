/* Sockets and pipes, close-on-exec from the first moment. `waits`: whether calls on it do. Each returns 0 or a
 * descriptor, or -errno. */
#ifndef CAPSA_OS_SOCKET_H
#define CAPSA_OS_SOCKET_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

__attribute__((warn_unused_result)) int socket__new(int domain, int type, int protocol, bool waits);
/* Two Unix sockets that are connected. */
__attribute__((warn_unused_result)) int socket__pair(int type, bool waits, int ends[2]);
__attribute__((warn_unused_result)) int socket__accept(int listener, bool waits);
/* Who is at the other end of a Unix stream. */
__attribute__((warn_unused_result)) int socket__peer(int fd, uid_t *user);
/* [0] is read, [1] written; both wait. */
__attribute__((warn_unused_result)) int pipe__new(int ends[2]);
/* Have number `fd` be what `from` is, which stays open. */
__attribute__((warn_unused_result)) int descriptor__replace(int fd, int from);

#endif
