/* Guest memory as the host sees it: a table of regions and the one checked way to turn a guest address into a pointer.
 */
#ifndef CAPSA_MEMORY_H
#define CAPSA_MEMORY_H

#include <stddef.h>
#include <stdint.h>

#define GUEST_MEMORY_MAX_REGIONS 16

struct guest_region {
	uint64_t gpa;  /* guest physical address of the first byte */
	uint64_t size; /* bytes; gpa + size never overflows */
	uint8_t *host; /* mapping of the region, shared with the guest: its bytes change under us at any time */
	uint64_t user; /* address of the region in the vhost-user front end's space; 0 where there is none */
};

struct guest_memory {
	unsigned count;
	struct guest_region regions[GUEST_MEMORY_MAX_REGIONS];
};

/*
 * Host pointer to [gpa, gpa+len), which must lie whole inside one region.
 * Returns NULL for a range that is empty, overflows, or leaves the region. Every guest address passes here.
 */
void *guest_memory__at(const struct guest_memory *mem, uint64_t gpa, uint64_t len);

/* The same for an address of the vhost-user front end's space (ring addresses arrive so). */
void *guest_memory__at_user(const struct guest_memory *mem, uint64_t user, uint64_t len);

/* Bytes from gpa to the end of its region; 0 when gpa is in none. */
uint64_t guest_memory__room(const struct guest_memory *mem, uint64_t gpa);

#endif
