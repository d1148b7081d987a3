/* DNS messages, read with bounds: every length and pointer in them may lie. */
#include "net/dns.h"

#include <stdio.h>
#include <string.h>

/* of the third byte, */
#define FLAG_ANSWER 0x80
#define OPCODE 0x78
#define AUTHORITATIVE 0x04
#define FLAG_TRUNCATED 0x02
#define RECURSION_DESIRED 0x01
/* and of the fourth */
#define RECURSION_AVAILABLE 0x80
#define CHECKING_DISABLED 0x10
#define CODE 0x0f

#define QUESTIONS 4 /* where the header counts them */
#define ANSWERS 6
#define AUTHORITIES 8
#define ADDITIONS 10

#define LABEL_MAX 63
#define NAME_MAX_WIRE 255
#define POINTER 0xc0
#define RECORD 10 /* bytes of one between its name and its data */
#define OPT 41
#define PART_OF_ZONE 251 /* IXFR; behind it AXFR */
#define ALL_OF_ZONE 252

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

uint16_t dns__id(const uint8_t *message)
{
	return load16(message);
}

void dns__set_id(uint8_t *message, uint16_t id)
{
	store16(message, id);
}

/* Names and records */

/* How many bytes of text it has become. */
static size_t put_letter(char *to, uint8_t letter)
{
	if (letter >= 'A' && letter <= 'Z')
		letter = (uint8_t)(letter + 'a' - 'A');
	*to = (char)letter;
	if ((letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || letter == '-' || letter == '_')
		return 1;
	return (size_t)snprintf(to, 5, "\\%03u", letter);
}

/* The question's name, which nothing comes before that a pointer could point to. Returns what follows it, 0 if broken.
 */
static size_t read_name(const uint8_t *message, size_t len, size_t at, char name[DNS_NAME_MAX + 1])
{
	size_t used = 0, begin = at;
	while (at < len && message[at]) {
		size_t label = message[at++];
		if (label > LABEL_MAX || label > len - at || at + label - begin >= NAME_MAX_WIRE)
			return 0;
		if (used)
			name[used++] = '.';
		for (size_t i = 0; i < label; i++)
			used += put_letter(&name[used], message[at++]);
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

struct record {
	size_t begin, data, end;
	uint16_t type, class;
	uint32_t ttl;
};

static bool read_record(const uint8_t *message, size_t len, size_t at, struct record *out)
{
	size_t head = skip_name(message, len, at);
	if (!head || len - head < RECORD)
		return false;
	*out = (struct record){
		.begin = at,
		.data = head + RECORD,
		.end = head + RECORD + load16(message + head + 8),
		.type = load16(message + head),
		.class = load16(message + head + 2),
		.ttl = load32(message + head + 4),
	};
	return out->end <= len;
}

/* What is asked */

bool dns__is_query(const uint8_t *message, size_t len)
{
	return len >= DNS_HEADER && !(message[2] & FLAG_ANSWER);
}

bool dns__question(const uint8_t *message, size_t len, bool answer, struct dns_question *out)
{
	if (len < DNS_HEADER || !(message[2] & FLAG_ANSWER) == answer || (message[2] & OPCODE) ||
	    load16(message + QUESTIONS) != 1)
		return false;
	size_t at = read_name(message, len, DNS_HEADER, out->name);
	if (!at || len - at < 4)
		return false;
	out->type = load16(message + at);
	out->class = load16(message + at + 2);
	out->len = at + 4;
	return true;
}

enum dns_code dns__judge(const uint8_t *query, size_t len, struct dns_question *out)
{
	if (query[2] & OPCODE)
		return DNS_NOT_IMPLEMENTED;
	if (!dns__question(query, len, false, out))
		return DNS_BROKEN_QUERY;
	return out->type == PART_OF_ZONE || out->type == ALL_OF_ZONE ? DNS_NOT_IMPLEMENTED : DNS_FINE;
}

static bool find_opt(const uint8_t *message, size_t len, struct record *out)
{
	struct dns_question question;
	bool is_answer = message[2] & FLAG_ANSWER;
	if (!dns__question(message, len, is_answer, &question))
		return false;
	unsigned left = load16(message + ANSWERS) + load16(message + AUTHORITIES) + load16(message + ADDITIONS);
	for (size_t at = question.len; left && read_record(message, len, at, out); left--, at = out->end)
		if (out->type == OPT && out->data == at + 1 + RECORD) /* its name is the root's */
			return true;
	return false;
}

size_t dns__room(const uint8_t *query, size_t len)
{
	struct record opt;
	return find_opt(query, len, &opt) && opt.class > DNS_PLAIN ? opt.class : DNS_PLAIN;
}

/* What is answered */

enum dns_code dns__code(const uint8_t *answer)
{
	return (enum dns_code)(answer[3] & CODE);
}

const char *dns__code_name(enum dns_code code)
{
	static const char *const names[] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
	return code < sizeof(names) / sizeof(names[0]) ? names[code] : "another error";
}

bool dns__is_failure(const uint8_t *answer)
{
	switch (dns__code(answer)) {
	case DNS_BROKEN_QUERY:
	case DNS_SERVER_FAILED:
	case DNS_NOT_IMPLEMENTED:
	case DNS_REFUSED:
		return true;
	case DNS_FINE: /* one that does not recurse, and leads to others or nowhere */
		return !(answer[2] & (AUTHORITATIVE | FLAG_TRUNCATED)) && !(answer[3] & RECURSION_AVAILABLE) &&
		       !load16(answer + ANSWERS) && !load16(answer + ADDITIONS);
	default:
		return false;
	}
}

bool dns__is_cut(const uint8_t *answer)
{
	return answer[2] & FLAG_TRUNCATED;
}

bool dns__is_whole(const uint8_t *message, size_t len)
{
	struct dns_question question;
	struct record record;
	if (!dns__question(message, len, true, &question))
		return false;
	unsigned left = load16(message + ANSWERS) + load16(message + AUTHORITIES) + load16(message + ADDITIONS);
	for (size_t at = question.len; left; left--, at = record.end) {
		if (!read_record(message, len, at, &record))
			return false;
		size_t size = record.end - record.data;
		if (record.class == DNS_IN &&
		    ((record.type == DNS_A && size != 4) || (record.type == DNS_AAAA && size != 16)))
			return false;
	}
	return true;
}

bool dns__addresses(const uint8_t *message, size_t len,
		    bool (*each)(void *arg, const struct address *address, uint32_t ttl), void *arg)
{
	struct dns_question question;
	struct record record;
	if (!dns__question(message, len, true, &question))
		return true;
	size_t at = question.len;
	for (unsigned left = load16(message + ANSWERS); left && read_record(message, len, at, &record); left--) {
		size_t size = record.end - record.data;
		bool is4 = record.type == DNS_A && size == 4, is6 = record.type == DNS_AAAA && size == 16;
		if (record.class == DNS_IN && (is4 || is6)) {
			struct address address =
				is4 ? address__from4(message + record.data) : address__from6(message + record.data);
			if (!each(arg, &address, record.ttl))
				return false;
		}
		at = record.end;
	}
	return true;
}

size_t dns__cut(uint8_t *answer, size_t len, size_t room)
{
	struct dns_question question;
	struct record record, opt = {.begin = 0};
	if (!dns__question(answer, len, true, &question))
		return dns__fail(answer, dns__code(answer));
	size_t opt_len = find_opt(answer, len, &opt) ? opt.end - opt.begin : 0, at = question.len;
	if (opt_len > room - at)
		opt_len = 0;
	unsigned left = load16(answer + ANSWERS), kept = 0;
	for (; left && read_record(answer, len, at, &record) && record.end + opt_len <= room; left--, kept++)
		at = record.end;
	if (opt_len)
		memmove(answer + at, answer + opt.begin, opt_len);
	answer[2] |= FLAG_TRUNCATED;
	store16(answer + ANSWERS, (uint16_t)kept);
	store16(answer + AUTHORITIES, 0);
	store16(answer + ADDITIONS, opt_len ? 1 : 0);
	return at + opt_len;
}

/* Answers of one's own */

static void make_answer(uint8_t *query, enum dns_code code)
{
	query[2] = FLAG_ANSWER | (query[2] & (OPCODE | RECURSION_DESIRED));
	query[3] = (uint8_t)(RECURSION_AVAILABLE | (query[3] & CHECKING_DISABLED) | code);
	memset(query + ANSWERS, 0, DNS_HEADER - ANSWERS);
}

size_t dns__deny(uint8_t *query, const struct dns_question *question, enum dns_code code)
{
	make_answer(query, code);
	return question->len;
}

size_t dns__fail(uint8_t *query, enum dns_code code)
{
	make_answer(query, code);
	store16(query + QUESTIONS, 0);
	return DNS_HEADER;
}

size_t dns__answer(uint8_t *query, const struct dns_question *question, const struct address *addresses, unsigned count)
{
	size_t at = question->len, skip = question->type == DNS_A ? 12 : 0;
	make_answer(query, DNS_FINE);
	store16(query + ANSWERS, (uint16_t)count);
	for (unsigned i = 0; i < count; i++) {
		static const uint8_t in_for_a_second[] = {0, DNS_IN, 0, 0, 0, 1};
		store16(query + at, POINTER << 8 | DNS_HEADER); /* the name is the question's */
		store16(query + at + 2, question->type);
		memcpy(query + at + 4, in_for_a_second, sizeof(in_for_a_second));
		store16(query + at + 10, (uint16_t)(16 - skip));
		memcpy(query + at + 12, addresses[i].bytes + skip, 16 - skip);
		at += 28 - skip;
	}
	return at;
}
