/* The Internet checksum, four bytes at a time: carries are folded in at the end. */
#include "common/checksum.h"

#include <string.h>

uint64_t checksum__add(uint64_t sum, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint32_t word;
	for (; len >= sizeof(word); len -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		sum += word;
	}
	word = 0;
	memcpy(&word, at, len);
	return sum + word;
}

uint16_t checksum__end(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	uint16_t result = (uint16_t)~sum;
	return result ? result : 0xffff;
}
