/* resolv.conf(5): lines of words, of which those that begin with "nameserver" and "options" are of interest. */
#include "net/resolv_conf.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE 256       /* bytes; what is longer says nothing here */
#define TIMEOUT_MAX 30 /* seconds, as the C library has it */
#define ATTEMPTS_MAX 5
#define BLANKS " \t\r\v\f"

/* "timeout:3" */
static bool is_number(const char *word, const char *key, unsigned most, unsigned *to)
{
	size_t len = strlen(key);
	if (strncmp(word, key, len) != 0)
		return false;
	unsigned long number = strtoul(word + len, NULL, 10);
	*to = number > most ? most : number ? (unsigned)number : 1;
	return true;
}

static void take_option(const char *word, struct name_servers *servers)
{
	if (strcmp(word, "rotate") == 0)
		servers->rotate = true;
	else if (!is_number(word, "timeout:", TIMEOUT_MAX, &servers->timeout))
		(void)is_number(word, "attempts:", ATTEMPTS_MAX, &servers->attempts);
}

static void read_line(const char *from, size_t len, struct name_servers *servers)
{
	char line[LINE], *rest;
	if (len >= sizeof(line) || memchr(from, 0, len))
		return;
	memcpy(line, from, len);
	line[len] = 0;
	const char *key = strtok_r(line, BLANKS, &rest), *word = key ? strtok_r(NULL, BLANKS, &rest) : NULL;
	if (word && strcmp(key, "nameserver") == 0 && servers->count < NAME_SERVERS)
		servers->count += name_server__parse(word, &servers->at[servers->count]) == 0;
	for (; word && strcmp(key, "options") == 0; word = strtok_r(NULL, BLANKS, &rest))
		take_option(word, servers);
}

void resolv_conf__read(const char *text, size_t len, struct name_servers *servers)
{
	*servers = (struct name_servers){.count = 0};
	for (size_t at = 0; at < len;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t line = end ? (size_t)(end - (text + at)) : len - at;
		read_line(text + at, line, servers);
		at += line + 1;
	}
	if (!servers->count)
		servers->count = name_server__parse("127.0.0.1", &servers->at[0]) == 0;
}
