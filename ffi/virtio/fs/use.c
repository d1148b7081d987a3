/* What the guest has done with each share: kept on the worker, read from anywhere. The guest may make up a million
 * names: a share keeps the first ones that it wrote, and whether there were others. */
#include "virtio/fs/internal.h"

#include <string.h>

void use__look(struct fs_share *share)
{
	atomic_store_explicit(&share->used, true, memory_order_relaxed);
}

static bool is_kept(const struct fs_share *share, size_t end, const char *name)
{
	for (size_t at = 0; at < end; at += strlen(share->wrote + at) + 1)
		if (!strcmp(share->wrote + at, name))
			return true;
	return false;
}

void use__write(struct fs_session *s, struct fs_share *share, const struct fs_inode *dir, const char *name)
{
	size_t end = atomic_load_explicit(&share->wrote_end, memory_order_relaxed);
	use__look(share);
	atomic_store_explicit(&share->written, true, memory_order_relaxed);
	share->unsynced = true;
	/* renames on both sides may have made a circle of what is remembered */
	for (unsigned depth = 0; dir && dir != share->root; dir = dir->parent, depth++) {
		if (depth == FS_DEPTH_MAX)
			return;
		name = dir->name;
	}
	if (!dir || !name || is_kept(share, end, name)) /* it has no place any more, or is the root itself */
		return;
	size_t size = strlen(name) + 1;
	if (size > sizeof(share->wrote) - end || size > FS_WROTE_MAX - s->wrote) {
		atomic_store_explicit(&share->wrote_more, true, memory_order_relaxed);
		return;
	}
	memcpy(share->wrote + end, name, size);
	s->wrote += size;
	atomic_store_explicit(&share->wrote_end, end + size, memory_order_release);
}

bool use__get(const struct fs_session *s, unsigned index, struct fs_use *use)
{
	if (index >= s->share_count)
		return false;
	const struct fs_share *share = &s->shares[index];
	*use = (struct fs_use){
		.name = share->name,
		.used = atomic_load_explicit(&share->used, memory_order_relaxed),
		.written = atomic_load_explicit(&share->written, memory_order_relaxed),
		.wrote = share->wrote,
		.wrote_end = atomic_load_explicit(&share->wrote_end, memory_order_acquire),
		.wrote_more = atomic_load_explicit(&share->wrote_more, memory_order_relaxed),
	};
	return true;
}
