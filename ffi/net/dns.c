/* DNS messages, read with bounds: every length and pointer in them may lie. */
#include "net/dns.h"

#include <string.h>

#define FLAG_ANSWER 0x80
#define FLAG_RECURSION_AVAILABLE 0x80
#define OPCODE 0x78
#define FLAG_TRUNCATED 0x02
#define RECURSION_DESIRED 0x01
#define NO_SUCH_NAME 3
#define REFUSED 5
#define CLASS_IN 1
#define LABEL_MAX 63
#define POINTER 0xc0

static uint16_t load16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t load32(const uint8_t *at)
{
	return (uint32_t)load16(at) << 16 | load16(at + 2);
}

static void store16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

bool dns__is_cut(const uint8_t *message)
{
	return message[2] & FLAG_TRUNCATED;
}

uint16_t dns__id(const uint8_t *message)
{
	return load16(message);
}

void dns__set_id(uint8_t *message, uint16_t id)
{
	store16(message, id);
}

static bool take_letter(char *to, uint8_t letter)
{
	if (letter >= 'A' && letter <= 'Z')
		letter = (uint8_t)(letter + 'a' - 'A');
	*to = (char)letter;
	return (letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '-' || letter == '_';
}

/* The question's name, which nothing comes before that a pointer could point to. Returns what follows it, 0 if broken.
 */
static size_t read_name(const uint8_t *message, size_t len, size_t at, char name[POLICY_NAME_MAX + 1])
{
	size_t used = 0;
	while (at < len && message[at]) {
		size_t label = message[at++];
		if (label > LABEL_MAX || label > len - at || used + label + (used > 0) > POLICY_NAME_MAX)
			return 0;
		if (used)
			name[used++] = '.';
		for (size_t i = 0; i < label; i++)
			if (!take_letter(&name[used++], message[at++]))
				return 0;
	}
	name[used] = 0;
	return at < len ? at + 1 : 0;
}

/* What follows the name at `at`: labels, and perhaps a pointer at their end, which need not be followed. 0 if broken.
 */
static size_t skip_name(const uint8_t *message, size_t len, size_t at)
{
	while (at < len) {
		uint8_t label = message[at];
		if (!label)
			return at + 1;
		if ((label & POINTER) == POINTER)
			return at + 2 <= len ? at + 2 : 0;
		if (label > LABEL_MAX)
			return 0;
		at += 1U + label;
	}
	return 0;
}

bool dns__question(const uint8_t *message, size_t len, bool answer, struct dns_question *out)
{
	if (len < DNS_HEADER || !(message[2] & FLAG_ANSWER) == answer || (message[2] & OPCODE) ||
	    load16(message + 4) != 1)
		return false;
	size_t at = read_name(message, len, DNS_HEADER, out->name);
	if (!at || len - at < 4)
		return false;
	out->type = load16(message + at);
	out->class = load16(message + at + 2);
	out->len = at + 4;
	return out->class == CLASS_IN;
}

bool dns__addresses(const uint8_t *message, size_t len,
		    bool (*each)(void *arg, const struct address *address, uint32_t ttl), void *arg)
{
	struct dns_question question;
	if (!dns__question(message, len, true, &question))
		return false;
	size_t at = question.len;
	for (unsigned left = load16(message + 6); left; left--) {
		at = skip_name(message, len, at);
		if (!at || len - at < 10)
			return false;
		uint16_t type = load16(message + at), class = load16(message + at + 2), size = load16(message + at + 8);
		uint32_t ttl = load32(message + at + 4);
		at += 10;
		if (size > len - at)
			return false;
		bool is4 = type == DNS_A && size == 4, is6 = type == DNS_AAAA && size == 16;
		if (class == CLASS_IN && (type == DNS_A || type == DNS_AAAA)) {
			if (!is4 && !is6)
				return false;
			struct address address = is4 ? address__from4(message + at) : address__from6(message + at);
			if (!each(arg, &address, ttl))
				return false;
		}
		at += size;
	}
	return true;
}

static size_t deny(uint8_t *query, const struct dns_question *question, uint8_t code)
{
	query[2] |= FLAG_ANSWER;
	query[3] = FLAG_RECURSION_AVAILABLE | code;
	memset(query + 6, 0, DNS_HEADER - 6); /* no answers, nor anything else */
	return question->len;
}

size_t dns__refuse(uint8_t *query, const struct dns_question *question)
{
	return deny(query, question, REFUSED);
}

size_t dns__absent(uint8_t *query, const struct dns_question *question)
{
	return deny(query, question, NO_SUCH_NAME);
}

size_t dns__answer(uint8_t *query, const struct dns_question *question, const struct address *addresses, unsigned count)
{
	size_t at = question->len, skip = question->type == DNS_A ? 12 : 0;
	query[2] = FLAG_ANSWER | (query[2] & RECURSION_DESIRED);
	query[3] = FLAG_RECURSION_AVAILABLE;
	memset(query + 6, 0, DNS_HEADER - 6);
	store16(query + 6, (uint16_t)count);
	for (unsigned i = 0; i < count; i++) {
		static const uint8_t in_for_a_second[] = {0, CLASS_IN, 0, 0, 0, 1};
		store16(query + at, POINTER << 8 | DNS_HEADER); /* the name is the question's */
		store16(query + at + 2, question->type);
		memcpy(query + at + 4, in_for_a_second, sizeof(in_for_a_second));
		store16(query + at + 10, (uint16_t)(16 - skip));
		memcpy(query + at + 12, addresses[i].bytes + skip, 16 - skip);
		at += 28 - skip;
	}
	return at;
}
