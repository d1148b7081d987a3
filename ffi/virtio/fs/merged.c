/* Listing directories of two layers. The entries come in the order of a number that is made of the name alone: so an
 * offset leads on from there whatever has come or gone, and what was read ahead can be dropped at any time. As much is
 * read ahead as a window has room for, which a directory of any size passes by in parts. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "virtio/fs/layer.h"

enum { WINDOW = 16384, BUFFER = 32768 };

struct item {
	uint64_t offset, ino;
	uint32_t name; /* where it begins in `names` */
	uint8_t type;
	bool upper;
};

/* All entries with offsets in (from, to], sorted. */
struct fs_merged {
	uint64_t from, to;
	struct item *items;
	uint32_t count, capacity;
	char *names;
	size_t names_end, names_capacity;
};

static size_t bytes_of(const struct fs_merged *merged)
{
	return sizeof(*merged) + merged->capacity * sizeof(struct item) + merged->names_capacity;
}

void merged__free(struct fs_session *s, struct fs_handle *handle)
{
	struct fs_merged *merged = handle->merged;
	if (!merged)
		return;
	s->merged_bytes -= bytes_of(merged);
	free(merged->items);
	free(merged->names);
	free(merged);
	handle->merged = NULL;
}

/* --- the window --- */

/* Of two names with one number, which nobody meets by chance, one may be left out where a reply ends between them. */
static uint64_t offset_of(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325ULL;
	for (; *name; name++)
		hash = (hash ^ (uint8_t)*name) * 0x100000001b3ULL;
	hash ^= hash >> 33;
	hash *= 0xff51afd7ed558ccdULL;
	hash = (hash ^ hash >> 33) >> 1; /* it is a signed number to the guest */
	return hash > MERGED_DOTS && hash < INT64_MAX ? hash : hash ^ 0x5555;
}

static int compare(const void *a, const void *b, void *names)
{
	const struct item *one = a, *other = b;
	if (one->offset != other->offset)
		return one->offset < other->offset ? -1 : 1;
	int order = strcmp((char *)names + one->name, (char *)names + other->name);
	return order ? order : (int)other->upper - (int)one->upper;
}

static void sort(struct fs_merged *merged)
{
	if (merged->count)
		qsort_r(merged->items, merged->count, sizeof(struct item), compare, merged->names);
}

/* Keep the first half, and no part of what has one number. */
static void cut(struct fs_merged *merged)
{
	sort(merged);
	uint32_t keep = WINDOW;
	while (keep < merged->count && merged->items[keep].offset == merged->items[WINDOW - 1].offset)
		keep++;
	char *names = malloc(merged->names_capacity);
	if (!names || keep == merged->count) { /* then it only takes more */
		free(names);
		return;
	}
	size_t end = 0;
	for (uint32_t i = 0; i < keep; i++) {
		size_t len = strlen(merged->names + merged->items[i].name) + 1;
		memcpy(names + end, merged->names + merged->items[i].name, len);
		merged->items[i].name = (uint32_t)end;
		end += len;
	}
	free(merged->names);
	merged->names = names;
	merged->names_end = end;
	merged->count = keep;
	merged->to = merged->items[keep - 1].offset;
}

static int grow(void **what, size_t *capacity, size_t size)
{
	void *larger = realloc(*what, *capacity * 2 * size);
	if (!larger)
		return -ENOMEM;
	*what = larger;
	*capacity *= 2;
	return 0;
}

static int add(struct fs_merged *merged, const struct dirent64 *d, uint8_t type, bool upper)
{
	const char *name = d->d_name;
	uint64_t offset = offset_of(name);
	size_t len = strlen(name) + 1, capacity = merged->capacity;
	int err = 0;
	if (offset <= merged->from || offset > merged->to)
		return 0;
	if (merged->count == capacity) {
		void *items = merged->items;
		err = grow(&items, &capacity, sizeof(struct item));
		merged->items = items;
		merged->capacity = (uint32_t)capacity;
	}
	while (!err && merged->names_capacity - merged->names_end < len) {
		void *names = merged->names;
		err = grow(&names, &merged->names_capacity, 1);
		merged->names = names;
	}
	if (err)
		return err;
	memcpy(merged->names + merged->names_end, name, len);
	merged->items[merged->count++] = (struct item){
		.offset = offset,
		.ino = d->d_ino,
		.name = (uint32_t)merged->names_end,
		.type = type,
		.upper = upper,
	};
	merged->names_end += len;
	if (merged->count >= 2 * WINDOW)
		cut(merged);
	return 0;
}

/* Each name once; none that has a whiteout. */
static void merge(struct fs_merged *merged)
{
	uint32_t kept = 0;
	const char *last = NULL;
	sort(merged);
	for (uint32_t i = 0; i < merged->count; i++) {
		struct item item = merged->items[i];
		const char *name = merged->names + item.name;
		bool again = last && !strcmp(last, name);
		last = name;
		if (again || (item.upper && item.type == DT_CHR))
			continue;
		if (kept && item.offset <= merged->items[kept - 1].offset)
			item.offset = merged->items[kept - 1].offset + 1;
		merged->items[kept++] = item;
	}
	merged->count = kept;
}

/* --- the host's directories --- */

static uint8_t type_of(int dir, const struct dirent64 *d)
{
	struct statx stx;
	if (d->d_type != DT_UNKNOWN)
		return d->d_type;
	return stat__at(dir, d->d_name, &stx) ? DT_UNKNOWN : (uint8_t)IFTODT(stx.stx_mode);
}

static int add_all(struct fs_merged *merged, int dir, bool upper)
{
	_Alignas(struct dirent64) char data[BUFFER];
	ssize_t n;
	int err = 0;
	while (!err && (n = getdents64(dir, data, sizeof(data))) != 0) {
		if (n < 0)
			return errno == ENOENT ? 0 : -errno; /* it was removed */
		for (ssize_t at = 0; !err && at < n;) {
			const struct dirent64 *d = (const void *)(data + at);
			at += d->d_reclen;
			if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
				err = add(merged, d, type_of(dir, d), upper);
		}
	}
	return err;
}

/* What is not where it was has no entries, as an open directory that is removed. */
static int add_layer(struct fs_session *s, struct fs_merged *merged, struct fs_inode *dir)
{
	int fd = inode__open(s, dir, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd == -ESTALE || fd == -ENOENT ? 0 : fd;
	int err = add_all(merged, fd, dir->upper);
	close(fd);
	return err;
}

static void drop_others(struct fs_session *s, const struct fs_handle *handle)
{
	for (uint32_t i = 0; s->merged_bytes > FS_MERGED_MAX && i < s->handles.count; i++) {
		struct fs_handle *other = s->handles.slots[i].object;
		if (other && other != handle)
			merged__free(s, other);
	}
}

static int fill(struct fs_session *s, struct fs_handle *handle, uint64_t from)
{
	struct fs_inode *dir = handle->inode;
	struct fs_merged *merged = calloc(1, sizeof(*merged));
	merged__free(s, handle);
	if (!merged)
		return -ENOMEM;
	*merged = (struct fs_merged){.from = from, .to = INT64_MAX, .capacity = 64, .names_capacity = 1024};
	merged->items = malloc(merged->capacity * sizeof(struct item));
	merged->names = malloc(merged->names_capacity);
	int err = merged->items && merged->names ? add_layer(s, merged, dir) : -ENOMEM;
	struct fs_inode *under = union__under(s, dir);
	if (!err && under)
		err = add_layer(s, merged, under);
	handle->merged = merged;
	s->merged_bytes += bytes_of(merged);
	if (err)
		merged__free(s, handle);
	else
		merge(merged);
	drop_others(s, handle);
	return err;
}

uint64_t merged__number(struct fs_session *s, struct fs_inode *dir, const struct fs_merged_entry *entry)
{
	const struct fs_inode *in = entry->upper || !dir->upper ? dir : dir->under, *known;
	struct fs_found found;
	struct fs_inode *inode;
	known = in ? inode__numbered(s, in, entry->ino) : NULL;
	if (known)
		return known->number;
	if (in && !entry->upper && in->key.dev == dir->top_dev && !layer__may_be_copy(dir->share->layer, entry->ino))
		return entry->ino;
	if (union__find(s, dir, entry->name, &found) || union__intern(s, dir, entry->name, &found, &inode))
		return entry->ino; /* it is gone meanwhile: any number says so */
	uint64_t number = inode->number;
	inode__put(s, inode);
	return number;
}

/* The first item behind the offset; `count` if there is none. */
static uint32_t search(const struct fs_merged *merged, uint64_t offset)
{
	uint32_t low = 0, high = merged->count;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		if (merged->items[middle].offset > offset)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

int merged__next(struct fs_session *s, struct fs_handle *handle, uint64_t offset, struct fs_merged_entry *entry)
{
	if (offset < MERGED_DOTS) {
		*entry = (struct fs_merged_entry){.name = &".."[1 - offset], .offset = offset + 1, .type = DT_DIR};
		if (!offset)
			merged__free(s, handle); /* it is read anew from the start */
		return 1;
	}
	for (;;) {
		struct fs_merged *merged = handle->merged;
		if (!merged || offset < merged->from || offset >= merged->to) {
			int err = offset >= INT64_MAX ? 0 : fill(s, handle, offset);
			if (err || offset >= INT64_MAX)
				return err;
			merged = handle->merged;
		}
		uint32_t at = search(merged, offset);
		if (at < merged->count) {
			const struct item *item = &merged->items[at];
			*entry = (struct fs_merged_entry){
				.name = merged->names + item->name,
				.offset = item->offset,
				.ino = item->ino,
				.upper = item->upper,
				.type = item->type,
			};
			return 1;
		}
		if (merged->to == INT64_MAX)
			return 0;
		offset = merged->to;
	}
}
