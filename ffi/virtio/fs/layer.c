/* What a layer of changes has noted beside its files: attributes of them, and the origins of copies. A VMM that a guest
 * has taken over may have written anything there: it is bounds-checked, and leads nowhere but into the layer. */
#include "virtio/fs/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OPAQUE LAYER_ATTRIBUTES "opaque" /* "y": as overlayfs has it */
#define NUMBER LAYER_ATTRIBUTES "capsa"  /* the inode number that is shown, and how many names there are besides */

void layer__read_notes(int fd, struct layer_notes *notes)
{
	char value[64] = "";
	unsigned long long number;
	int links;
	*notes = (struct layer_notes){.number = 0};
	if (fgetxattr(fd, NUMBER, value, sizeof(value) - 1) > 0 && sscanf(value, "%llx %d", &number, &links) == 2) {
		notes->number = number;
		notes->links = links;
	}
	notes->redirected = redirect__is_noted(fd);
	notes->opaque = fgetxattr(fd, OPAQUE, value, sizeof(value)) == 1 && value[0] == 'y';
}

int layer__note_number(int fd, uint64_t number, int32_t links)
{
	char value[64];
	int len = snprintf(value, sizeof(value), "%llx %d", (unsigned long long)number, links);
	return fsetxattr(fd, NUMBER, value, (size_t)len, 0) ? -errno : 0;
}

int layer__note_opaque(int fd)
{
	return fsetxattr(fd, OPAQUE, "y", 1, 0) ? -errno : 0;
}

int layer__set_opaque(struct fs_session *s, int dir, const char *name)
{
	int fd = fd__open(s, dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	int err = layer__note_opaque(fd);
	close(fd);
	return err;
}

void layer__aside(struct fs_layer *layer, char name[static LAYER_NAME])
{
	/* the first number is of the time of the start: nobody who died here has left one */
	snprintf(name, LAYER_NAME, "%llx", (unsigned long long)++layer->serial);
}

bool layer__origin(const struct statx *stx, char name[static LAYER_NAME])
{
	if (!(stx->stx_mask & STATX_BTIME)) /* its number may be another file's by and by */
		return false;
	snprintf(name, LAYER_NAME, "%llx.%llx.%llx.%x", (unsigned long long)stat__dev(stx),
		 (unsigned long long)stx->stx_ino, (unsigned long long)stx->stx_btime.tv_sec, stx->stx_btime.tv_nsec);
	return true;
}

enum { COPIED_BITS = 1 << 20 };

static uint32_t bit_of(uint64_t number)
{
	return (uint32_t)(number * 0x9e3779b97f4a7c15ULL >> 44);
}

void layer__note_copy(struct fs_layer *layer, uint64_t number)
{
	if (!layer->copied)
		layer->copied = calloc(COPIED_BITS / 8, 1);
	if (layer->copied)
		layer->copied[bit_of(number) / 8] |= (uint8_t)(1U << bit_of(number) % 8);
}

bool layer__may_be_copy(const struct fs_layer *layer, uint64_t number)
{
	return layer->copied && layer->copied[bit_of(number) / 8] & 1U << bit_of(number) % 8;
}

int layer__restore_times(int dir, const struct statx *before)
{
	struct timespec times[2] = {
		{.tv_nsec = UTIME_OMIT},
		{.tv_sec = before->stx_mtime.tv_sec, .tv_nsec = before->stx_mtime.tv_nsec},
	};
	return utimensat(dir, "", times, AT_EMPTY_PATH) ? -errno : 0;
}

/* One name fewer is the shared directory's alone. */
static void count_name(struct fs_session *s, int dir, const char *name, struct fs_inode *known)
{
	struct layer_notes notes;
	int fd = fd__open(s, dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (fd >= 0) {
		layer__read_notes(fd, &notes);
		(void)layer__note_number(fd, notes.number, notes.links - 1);
		close(fd);
	}
	if (known)
		known->links--;
}

int layer__link_origin(struct fs_session *s, struct fs_inode *dir, const char *name, const char *origin)
{
	const struct fs_share *share = dir->share;
	struct statx before, stx;
	int err = union__own(s, dir, false);
	int fd = err ? err : inode__fd(s, dir);
	err = fd < 0 ? fd : stat__at(fd, "", &before);
	if (!err && linkat(share->layer->index, origin, fd, name, 0))
		err = -errno;
	if (err)
		return err;
	err = stat__at(fd, name, &stx);
	if (!err)
		count_name(s, fd, name, inode__find(s, share, &stx));
	return err ? err : layer__restore_times(fd, &before);
}
