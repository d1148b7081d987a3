/* resolv.conf(5): lines of words, of which those that begin with "nameserver" are of interest. */
#include "net/resolv_conf.h"

#include <string.h>

#define KEY "nameserver"
#define ADDRESS_MAX 63 /* bytes; what is longer is no address */

static size_t skip_blanks(const char *line, size_t len, size_t at)
{
	while (at < len && (line[at] == ' ' || line[at] == '\t'))
		at++;
	return at;
}

/* Whether the line names one. */
static int read_line(const char *line, size_t len, struct address *server)
{
	char text[ADDRESS_MAX + 1];
	size_t from = skip_blanks(line, len, 0);
	if (len - from < sizeof(KEY) || memcmp(line + from, KEY, sizeof(KEY) - 1) != 0)
		return 0;
	size_t begin = skip_blanks(line, len, from + sizeof(KEY) - 1), end = begin;
	while (end < len && !strchr(" \t\r\v\f", line[end]))
		end++;
	if (begin == from + sizeof(KEY) - 1 || end == begin || end - begin > ADDRESS_MAX)
		return 0;
	memcpy(text, line + begin, end - begin);
	text[end - begin] = 0;
	return address__parse(text, server) == 0;
}

unsigned resolv_conf__servers(const char *text, size_t len, struct address servers[RESOLVER_SERVERS])
{
	unsigned count = 0;
	for (size_t at = 0; at < len && count < RESOLVER_SERVERS;) {
		const char *end = memchr(text + at, '\n', len - at);
		size_t line = end ? (size_t)(end - (text + at)) : len - at;
		count += (unsigned)read_line(text + at, line, &servers[count]);
		at += line + 1;
	}
	return count ? count : address__parse("127.0.0.1", &servers[0]) == 0;
}
