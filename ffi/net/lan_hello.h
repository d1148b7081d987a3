/* The first message on a connection of a private network: who joins. All others are frames. */
#ifndef CAPSA_NET_LAN_HELLO_H
#define CAPSA_NET_LAN_HELLO_H

#include "net/lan.h"

#define LAN_HELLO (8 + LAN_TOKEN + VIRTIO_NET_MAC + 4 + 16 + LAN_NAME + 1) /* bytes */

/* `token`: that of the member which is joined. */
void lan_hello__write(uint8_t to[LAN_HELLO], const uint8_t token[LAN_TOKEN], const struct lan_member *self);

/* False for what is no hello, has another token, or names what no member can be. */
__attribute__((warn_unused_result)) bool lan_hello__read(const uint8_t *message, size_t len,
							 const uint8_t token[LAN_TOKEN], struct lan_member *out);

#endif
