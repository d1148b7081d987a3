/* Stream sockets that libslirp has opened: what it does not ask of them, nor set. */
#ifndef CAPSA_NET_STREAM_SOCKETS_H
#define CAPSA_NET_STREAM_SOCKETS_H

#include <stdbool.h>

/* Find out, after as long as this machine's kernel waits, when the peer of one that is silent is there no more. */
void stream_socket__keep_alive(int fd);
/* Closing it is a reset for the peer, whatever it has yet to get. */
void stream_socket__reset_at_close(int fd);
/* Whether the kernel has no connection for it any more: its peer has reset it, or is gone. It may have ended it before,
 * too, where this side has as well. */
bool stream_socket__is_over(int fd);

#endif
