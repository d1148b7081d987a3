/* Names of sandboxes: a short table behind a lock. */
#include "net/names.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "net/lan.h"

struct entry {
	char name[LAN_NAME + 1]; /* "": free */
	struct address pair[2];
};

struct names {
	pthread_mutex_t lock;
	struct entry entries[NAMES_MAX];
};

int names__new(struct names **out)
{
	struct names *names = calloc(1, sizeof(*names));
	if (!names)
		return -ENOMEM;
	pthread_mutex_init(&names->lock, NULL);
	*out = names;
	return 0;
}

void names__free(struct names *names)
{
	if (!names)
		return;
	pthread_mutex_destroy(&names->lock);
	free(names);
}

void names__add(struct names *names, const char *name, const struct address pair[2])
{
	unsigned i = 0;
	pthread_mutex_lock(&names->lock);
	while (i < NAMES_MAX && *names->entries[i].name)
		i++;
	if (i < NAMES_MAX) {
		struct entry *entry = &names->entries[i];
		snprintf(entry->name, sizeof(entry->name), "%s", name);
		memcpy(entry->pair, pair, sizeof(entry->pair));
	}
	pthread_mutex_unlock(&names->lock);
}

void names__remove(struct names *names, const struct address pair[2])
{
	pthread_mutex_lock(&names->lock);
	for (unsigned i = 0; i < NAMES_MAX; i++)
		if (address__equal(&names->entries[i].pair[0], &pair[0]))
			names->entries[i] = (struct entry){.name = ""};
	pthread_mutex_unlock(&names->lock);
}

size_t names__answer(struct names *names, uint8_t *query, const struct dns_question *question)
{
	struct address found[NAMES_EACH];
	unsigned count = 0;
	bool known = false, is6 = question->type == DNS_AAAA, is4 = question->type == DNS_A;
	if (!*question->name)
		return 0;
	pthread_mutex_lock(&names->lock);
	for (unsigned i = 0; i < NAMES_MAX && count < NAMES_EACH; i++) {
		if (strcmp(names->entries[i].name, question->name) != 0)
			continue;
		known = true;
		if (question->class == DNS_IN && (is4 || is6))
			found[count++] = names->entries[i].pair[is6];
	}
	pthread_mutex_unlock(&names->lock);
	return known ? dns__answer(query, question, found, count) : 0;
}
