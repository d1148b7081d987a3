/* Where a walk is, in text. */
#include "tree/path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int append(struct tree_path *path, const char *text, size_t length)
{
	size_t wanted = path->length + length + 1;
	if (wanted > path->capacity) {
		size_t capacity = wanted < 256 ? 256 : wanted * 2;
		char *grown = realloc(path->text, capacity);
		if (!grown)
			return -ENOMEM;
		path->text = grown;
		path->capacity = capacity;
	}
	memcpy(path->text + path->length, text, length);
	path->length += length;
	path->text[path->length] = '\0';
	return 0;
}

int tree_path__set(struct tree_path *path, const char *root)
{
	size_t length = strlen(root);
	while (length > 1 && root[length - 1] == '/')
		length--;
	path->length = 0;
	path->root = length;
	return append(path, root, length);
}

int tree_path__push(struct tree_path *path, const char *name)
{
	size_t before = path->length;
	int err = path->length && path->text[path->length - 1] == '/' ? 0 : append(path, "/", 1);
	if (!err)
		err = append(path, name, strlen(name));
	if (err)
		path->length = before;
	return err;
}

void tree_path__pop(struct tree_path *path)
{
	while (path->length > path->root && path->text[path->length - 1] != '/')
		path->length--;
	if (path->length > path->root)
		path->length--;
	path->text[path->length] = '\0';
}

const char *tree_path__name(const struct tree_path *path)
{
	const char *slash = strrchr(path->text, '/');
	return slash && !slash[1] ? "." : slash + 1;
}

const char *tree_path__below(const struct tree_path *path)
{
	const char *below = path->text + path->root;
	return *below == '/' ? below + 1 : below;
}

void tree_path__free(struct tree_path *path)
{
	free(path->text);
	*path = (struct tree_path){0};
}
