/* A NULL-terminated list of strings it owns: argument vectors and environments. */
#include "process/strings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Takes `text` over, also when it fails; NULL is one there was no memory for. */
static int append(struct strings *strings, char *text)
{
	if (!text)
		return -ENOMEM;
	if (strings->count + 2 > strings->capacity) {
		size_t capacity = strings->capacity ? strings->capacity * 2 : 16;
		char **list = realloc(strings->list, capacity * sizeof(*list)); // NOLINT(bugprone-sizeof-expression)
		if (!list) {
			free(text);
			return -ENOMEM;
		}
		strings->list = list;
		strings->capacity = capacity;
	}
	strings->list[strings->count++] = text;
	strings->list[strings->count] = NULL;
	return 0;
}

int strings__add(struct strings *strings, struct span text)
{
	char *copy;
	int err = span__copy(text, &copy);
	return err ? err : append(strings, copy);
}

int strings__add_text(struct strings *strings, const char *text)
{
	return append(strings, strdup(text));
}

int strings__add_array(struct strings *strings, const CborValue *array)
{
	CborValue item;
	if (cbor_value_enter_container(array, &item))
		return -EPROTO;
	struct span text;
	int err;
	while (!cbor_value_at_end(&item)) {
		err = cursor__string(&item, &text);
		if (!err)
			err = strings__add(strings, text);
		if (err)
			return err;
	}
	return 0;
}

int strings__add_all(struct strings *strings, const struct strings *from)
{
	int err = 0;
	for (size_t i = 0; i < from->count && !err; i++)
		err = strings__add_text(strings, from->list[i]);
	return err;
}

int environment__set(struct strings *environment, struct span name, struct span value)
{
	if (!name.length || memchr(name.at, '=', name.length) || memchr(name.at, 0, name.length) ||
	    (value.length && memchr(value.at, 0, value.length)))
		return -EINVAL;
	char *pair = malloc(name.length + value.length + 2);
	if (!pair)
		return -ENOMEM;
	memcpy(pair, name.at, name.length);
	pair[name.length] = '=';
	if (value.length)
		memcpy(pair + name.length + 1, value.at, value.length);
	pair[name.length + 1 + value.length] = '\0';
	for (size_t i = 0; i < environment->count; i++)
		if (strncmp(environment->list[i], pair, name.length + 1) == 0) {
			free(environment->list[i]);
			environment->list[i] = pair;
			return 0;
		}
	return append(environment, pair);
}

int environment__set_map(struct strings *environment, const CborValue *map)
{
	CborValue item;
	if (cbor_value_enter_container(map, &item))
		return -EPROTO;
	struct span name, value;
	int err;
	while (!cbor_value_at_end(&item)) {
		if (cursor__string(&item, &name) || cursor__string(&item, &value))
			return -EPROTO;
		err = environment__set(environment, name, value);
		if (err)
			return err;
	}
	return 0;
}

const char *environment__get(const struct strings *environment, const char *name)
{
	size_t length = strlen(name);
	for (size_t i = 0; i < environment->count; i++)
		if (strncmp(environment->list[i], name, length) == 0 && environment->list[i][length] == '=')
			return environment->list[i] + length + 1;
	return NULL;
}

void strings__free(struct strings *strings)
{
	for (size_t i = 0; i < strings->count; i++)
		free(strings->list[i]);
	free(strings->list);
	*strings = (struct strings){0};
}
