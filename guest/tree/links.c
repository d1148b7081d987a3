/* Files with several names that a walk has come across, by device and inode. */
#include "tree/links.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 4096 };

struct links_file {
	struct links_file *next;
	dev_t device;
	ino_t inode;
	char name[];
};

static struct links_file **bucket_of(const struct links *links, const struct stat *status)
{
	return &links->buckets[(status->st_ino ^ status->st_dev * 31) % BUCKETS];
}

const char *links__find(const struct links *links, const struct stat *status)
{
	if (status->st_nlink < 2 || !links->buckets)
		return NULL;
	for (const struct links_file *file = *bucket_of(links, status); file; file = file->next)
		if (file->inode == status->st_ino && file->device == status->st_dev)
			return file->name;
	return NULL;
}

int links__add(struct links *links, const struct stat *status, const char *name)
{
	size_t size = strlen(name) + 1;
	if (status->st_nlink < 2 || links->count == LINKS_MOST)
		return 0;
	if (!links->buckets)
		links->buckets = calloc(BUCKETS, sizeof(*links->buckets)); // NOLINT(bugprone-sizeof-expression)
	struct links_file *file;
	file = links->buckets ? malloc(sizeof(*file) + size) : NULL;
	if (!file)
		return -ENOMEM;
	struct links_file **bucket = bucket_of(links, status);
	file->device = status->st_dev;
	file->inode = status->st_ino;
	memcpy(file->name, name, size);
	file->next = *bucket;
	*bucket = file;
	links->count++;
	return 0;
}

void links__free(struct links *links)
{
	for (size_t i = 0; links->buckets && i < BUCKETS; i++)
		while (links->buckets[i]) {
			struct links_file *file = links->buckets[i];
			links->buckets[i] = file->next;
			free(file);
		}
	free(links->buckets);
	*links = (struct links){0};
}
