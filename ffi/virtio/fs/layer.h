/* What a layer of changes has noted beside its files: attributes, and the origins of copies (layer.c). */
#ifndef CAPSA_VIRTIO_FS_LAYER_H
#define CAPSA_VIRTIO_FS_LAYER_H

#include "virtio/fs/internal.h"

/* What the guest neither sees nor sets: names as overlayfs has them with "userxattr". */
#define LAYER_ATTRIBUTES "user.overlay."

/* Of a name in `work` or `index`, with its NUL. */
enum { LAYER_NAME = 80 };

struct layer_notes {
	uint64_t number; /* 0: none */
	int32_t links;
	bool opaque, redirected;
};

/* What is not there, or is not as it is written here, is as without it. */
void layer__read_notes(int fd, struct layer_notes *notes);
int layer__note_number(int fd, uint64_t number, int32_t links);
int layer__note_opaque(int fd);
int layer__set_opaque(struct fs_session *s, int dir, const char *name);
/* A name in `work` that nothing has. */
void layer__aside(struct fs_layer *layer, char name[static LAYER_NAME]);

/* The name in `index` of copies of this file; false where files cannot be told from one another for long enough. */
bool layer__origin(const struct statx *stx, char name[static LAYER_NAME]);
/* What the layer does to a directory by itself does not show in its times. */
int layer__restore_times(int dir, const struct statx *before);
/* Copies keep the numbers of what they are copies of, which the host may give away again. */
void layer__note_copy(struct fs_layer *layer, uint64_t number);
bool layer__may_be_copy(const struct fs_layer *layer, uint64_t number);
/* Give the copy that is there this name, too, in a directory that is as it was for whoever looks. */
int layer__link_origin(struct fs_session *s, struct fs_inode *dir, const char *name, const char *origin);

/* settled.c: whether what the layer has there, which is `own`, was applied, and the host has changed it since. */
bool settled__is_overtaken(struct fs_session *s, struct fs_inode *dir, const char *name, const struct statx *own);

/* redirect.c: before a directory of the layer, through which another one shows, gets another name: where that is.
 * -EXDEV where that cannot be noted. */
int redirect__note(struct fs_session *s, struct fs_inode *dir);
bool redirect__is_noted(int fd);
/* Whether it still is, of a directory where it was: an apply takes it away. */
bool redirect__is_kept(struct fs_session *s, struct fs_inode *dir);
/* Have what was noted show through it. -ENOENT where it is not there any more. */
int redirect__follow(struct fs_session *s, struct fs_inode *dir);
/* Whether what shows through it is still where it was. */
bool redirect__leads_on(struct fs_session *s, const struct fs_inode *dir);

#endif
