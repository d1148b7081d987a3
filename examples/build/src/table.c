/* Words and how often each was seen. */
#include "table.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash(const char *word)
{
	uint64_t value = 14695981039346656037u;

	for (; *word; word++)
		value = (value ^ (unsigned char)*word) * 1099511628211u;
	return value;
}

static struct entry *find(struct entry *entries, size_t capacity, const char *word)
{
	size_t at = hash(word) & (capacity - 1);

	while (entries[at].word && strcmp(entries[at].word, word) != 0)
		at = (at + 1) & (capacity - 1);
	return &entries[at];
}

static int grow(struct table *table)
{
	size_t capacity = table->capacity ? table->capacity * 2 : 64;
	struct entry *entries = calloc(capacity, sizeof(*entries));

	if (!entries)
		return -1;
	for (size_t i = 0; i < table->capacity; i++)
		if (table->entries[i].word)
			*find(entries, capacity, table->entries[i].word) = table->entries[i];
	free(table->entries);
	table->entries = entries;
	table->capacity = capacity;
	return 0;
}

int table_count(struct table *table, const char *word)
{
	struct entry *entry;

	if (table->used * 2 >= table->capacity && grow(table) != 0)
		return -1;
	entry = find(table->entries, table->capacity, word);
	if (!entry->word) {
		size_t size = strlen(word) + 1;

		entry->word = malloc(size);
		if (!entry->word)
			return -1;
		memcpy(entry->word, word, size);
		table->used++;
	}
	entry->count++;
	return 0;
}

static int compare(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;

	if (!a->word || !b->word)
		return !a->word - !b->word;
	if (a->count != b->count)
		return a->count < b->count ? 1 : -1;
	return strcmp(a->word, b->word);
}

void table_sort(struct table *table)
{
	if (table->entries)
		qsort(table->entries, table->capacity, sizeof(*table->entries), compare);
}

void table_free(struct table *table)
{
	for (size_t i = 0; i < table->capacity; i++)
		free(table->entries[i].word);
	free(table->entries);
}
