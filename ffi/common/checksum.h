/* The Internet checksum (RFC 1071). */
#ifndef CAPSA_COMMON_CHECKSUM_H
#define CAPSA_COMMON_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* `sum` so far (0 at first) with `len` bytes more; only the last piece of several may be of an odd length. */
uint64_t checksum__add(uint64_t sum, const void *bytes, size_t len);
/* The checksum in the order of bytes in which it is stored; 0xffff stands for 0, as UDP has it. */
uint16_t checksum__end(uint64_t sum);

#endif
