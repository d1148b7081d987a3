/* Guest memory: region lookup. Regions are few, so each lookup walks them. */
#include "memory.h"

/* Whether [at, at+len) lies in [start, start+size), with nothing that can overflow. */
static int inside(uint64_t start, uint64_t size, uint64_t at, uint64_t len)
{
	return len && at >= start && at - start < size && len <= size - (at - start);
}

void *guest_memory__at(const struct guest_memory *mem, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < mem->count; i++) {
		const struct guest_region *r = &mem->regions[i];
		if (inside(r->gpa, r->size, gpa, len))
			return r->host + (gpa - r->gpa);
	}
	return NULL;
}

void *guest_memory__at_user(const struct guest_memory *mem, uint64_t user, uint64_t len)
{
	for (unsigned i = 0; i < mem->count; i++) {
		const struct guest_region *r = &mem->regions[i];
		if (r->user && inside(r->user, r->size, user, len))
			return r->host + (user - r->user);
	}
	return NULL;
}

uint64_t guest_memory__room(const struct guest_memory *mem, uint64_t gpa)
{
	for (unsigned i = 0; i < mem->count; i++) {
		const struct guest_region *r = &mem->regions[i];
		if (inside(r->gpa, r->size, gpa, 1))
			return r->size - (gpa - r->gpa);
	}
	return 0;
}
