/* Numbers for what the guest refers to by number: inodes and handles. */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <stdlib.h>

void *slots__get(const struct fs_slots *slots, uint64_t id)
{
	uint32_t index = (uint32_t)id;
	if (index >= slots->count || slots->slots[index].generation != (uint32_t)(id >> 32))
		return NULL;
	return slots->slots[index].object;
}

static int grow(struct fs_slots *slots)
{
	uint32_t capacity = slots->capacity ? slots->capacity * 2 : 64;
	struct fs_slot *larger = realloc(slots->slots, capacity * sizeof(*larger));
	if (!larger)
		return -ENOMEM;
	slots->slots = larger;
	slots->capacity = capacity;
	return 0;
}

int slots__add(struct fs_slots *slots, void *object, uint32_t max, uint64_t *id)
{
	uint32_t index = slots->free;
	if (slots->live >= max)
		return -ENFILE;
	if (index) {
		slots->free = slots->slots[index].next_free;
	} else {
		if (slots->count + 1 >= slots->capacity && grow(slots))
			return -ENOMEM;
		if (!slots->count) /* slot 0 stays empty: no number is 0 */
			slots->slots[slots->count++] = (struct fs_slot){0};
		index = slots->count++;
		slots->slots[index] = (struct fs_slot){0};
	}
	slots->slots[index].object = object;
	slots->live++;
	*id = (uint64_t)slots->slots[index].generation << 32 | index;
	return 0;
}

void slots__remove(struct fs_slots *slots, uint64_t id)
{
	uint32_t index = (uint32_t)id;
	slots->slots[index] = (struct fs_slot){
		.generation = slots->slots[index].generation + 1,
		.next_free = slots->free,
	};
	slots->free = index;
	slots->live--;
}

void slots__free(struct fs_slots *slots)
{
	free(slots->slots);
	*slots = (struct fs_slots){0};
}
