/* Open files and directories of the guest. */
#include "virtio/fs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

int handle__new(struct fs_session *s, struct fs_inode *inode, int fd, bool directory, bool writable,
		struct fs_handle **out)
{
	struct fs_handle *handle = calloc(1, sizeof(*handle));
	if (!handle)
		return -ENOMEM;
	int err = slots__add(&s->handles, handle, s->handles_max, &handle->id);
	if (err) {
		free(handle);
		return err;
	}
	handle->fd = fd;
	handle->directory = directory;
	handle->writable = writable;
	handle->inode = inode;
	handle->next = inode->handles;
	inode->handles = handle;
	inode->refs++;
	*out = handle;
	return 0;
}

struct fs_handle *handle__get(const struct fs_request *req, uint64_t id, bool directory)
{
	struct fs_handle *handle = slots__get(&req->session->handles, id);
	return handle && handle->inode == req->inode && handle->directory == directory ? handle : NULL;
}

void listing__free(struct fs_session *s, struct fs_handle *handle)
{
	s->listings -= handle->listing != NULL;
	free(handle->listing);
	handle->listing = NULL;
	merged__free(s, handle);
}

void handle__free(struct fs_session *s, struct fs_handle *handle)
{
	struct fs_inode *inode = handle->inode;
	struct fs_handle **link = &inode->handles;
	while (*link != handle)
		link = &(*link)->next;
	*link = handle->next;
	lock__closed(s, handle);
	slots__remove(&s->handles, handle->id);
	if (handle->fd >= 0) {
		quota__closed(s, inode, handle->fd);
		close(handle->fd);
	}
	listing__free(s, handle);
	free(handle);
	inode->refs--;
	inode__put(s, inode);
}

void handle__free_all(struct fs_session *s)
{
	for (uint32_t i = 0; i < s->handles.count; i++)
		if (s->handles.slots[i].object)
			handle__free(s, s->handles.slots[i].object);
}
