/* wordcount: how often each word occurs in standard input, the most frequent first. */
#include "table.h"

#include <ctype.h>
#include <stdio.h>

#define LONGEST 256

/* The next word in small letters, cut at LONGEST - 1; 0 at the end of the input. */
static int next_word(char word[LONGEST])
{
	size_t length = 0;
	int c;

	while ((c = getchar()) != EOF && !isalnum(c))
		;
	for (; c != EOF && isalnum(c); c = getchar())
		if (length < LONGEST - 1)
			word[length++] = (char)tolower(c);
	word[length] = '\0';
	return length > 0;
}

int main(int argc, char **argv)
{
	struct table table = {0};
	char word[LONGEST];

	(void)argv;
	if (argc > 1) {
		fprintf(stderr, "usage: wordcount <TEXT\n");
		return 2;
	}
	while (next_word(word)) {
		if (table_count(&table, word) != 0) {
			perror("wordcount");
			return 1;
		}
	}
	table_sort(&table);
	for (size_t i = 0; i < table.used; i++)
		printf("%lu %s\n", table.entries[i].count, table.entries[i].word);
	table_free(&table);
	return 0;
}
