/* Words and how often each was seen: an open-addressing hash table that grows. */
#ifndef TABLE_H
#define TABLE_H

#include <stddef.h>

struct entry {
	char *word; /* NULL: free */
	unsigned long count;
};

struct table {
	struct entry *entries;
	size_t capacity; /* a power of two */
	size_t used;
};

/* Count one more `word`; 0, or -1 when memory is exhausted. */
int table_count(struct table *table, const char *word);

/* Most frequent first, equal ones by the alphabet. The table is of no more use for counting. */
void table_sort(struct table *table);

void table_free(struct table *table);

#endif
