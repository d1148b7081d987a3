/* Hellos: fields of fixed lengths, one behind the other. */
#include "net/lan_hello.h"

#include <string.h>

static const uint8_t magic[8] = {'c', 'a', 'p', 's', 'a', 'l', 'n', '1'};

#define TOKEN_AT 8
#define MAC_AT (TOKEN_AT + LAN_TOKEN)
#define IPV4_AT (MAC_AT + VIRTIO_NET_MAC)
#define IPV6_AT (IPV4_AT + 4)
#define NAME_AT (IPV6_AT + 16)

bool lan__is_name(const char *name)
{
	size_t len = strlen(name);
	return len > 0 && len <= LAN_NAME && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len;
}

void lan_hello__write(uint8_t to[LAN_HELLO], const uint8_t token[LAN_TOKEN], const struct lan_member *self)
{
	memset(to, 0, LAN_HELLO);
	memcpy(to, magic, sizeof(magic));
	memcpy(to + TOKEN_AT, token, LAN_TOKEN);
	memcpy(to + MAC_AT, self->mac, VIRTIO_NET_MAC);
	memcpy(to + IPV4_AT, self->address[0].bytes + 12, 4);
	memcpy(to + IPV6_AT, self->address[1].bytes, 16);
	memcpy(to + NAME_AT, self->name, strlen(self->name));
}

/* In a time that does not tell where the first difference is. */
static bool is_same(const uint8_t *one, const uint8_t *other, size_t len)
{
	unsigned differences = 0;
	for (size_t i = 0; i < len; i++)
		differences |= one[i] ^ other[i];
	return !differences;
}

bool lan_hello__read(const uint8_t *message, size_t len, const uint8_t token[LAN_TOKEN], struct lan_member *out)
{
	if (len != LAN_HELLO || memcmp(message, magic, sizeof(magic)) != 0 ||
	    !is_same(message + TOKEN_AT, token, LAN_TOKEN) || message[LAN_HELLO - 1])
		return false;
	memcpy(out->name, message + NAME_AT, sizeof(out->name));
	memcpy(out->mac, message + MAC_AT, sizeof(out->mac));
	out->address[0] = address__from4(message + IPV4_AT);
	out->address[1] = address__from6(message + IPV6_AT);
	return lan__is_name(out->name) && !(out->mac[0] & 1) && !address__is4(&out->address[1]);
}
