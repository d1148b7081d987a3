/* Reading CBOR maps as JavaScript writes them, and log files cut where a unit ends. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "check.h"
#include "common/cbor_table.h"
#include "common/frame.h"
#include "profile.h"
#include "vmm/build/config.h"
#include "vmm/control/log.h"

struct thing {
	const char *text;
	uint64_t number;
	bool truth;
	struct span bytes;
	uint8_t small, after;
	uint16_t middle;
	CBOR_LIST_OF(uint16_t) list;
};

static struct failure why;
static struct cbor_arena arena;

static int read_thing(struct thing *thing, const void *bytes, size_t len)
{
	static const struct cbor_field number = {.kind = CBOR_U16, .max = 999};
	static const struct cbor_field fields[] = {
		{.key = "t", .kind = CBOR_TEXT, .offset = offsetof(struct thing, text)},
		{.key = "n", .kind = CBOR_U64, .offset = offsetof(struct thing, number)},
		{.key = "b", .kind = CBOR_BOOL, .offset = offsetof(struct thing, truth)},
		{.key = "d", .kind = CBOR_BYTES, .offset = offsetof(struct thing, bytes)},
		{.key = "s", .kind = CBOR_U8, .offset = offsetof(struct thing, small)},
		{.key = "m", .kind = CBOR_U16, .offset = offsetof(struct thing, middle), .min = 3},
		{.key = "l",
		 .kind = CBOR_LIST,
		 .offset = offsetof(struct thing, list),
		 .item = &number,
		 .size = sizeof(uint16_t),
		 .max = 2},
	};
	static const struct cbor_table table = CBOR_TABLE("thing", fields);
	struct cbor_reader reader = {.arena = &arena, .why = &why};
	cbor_arena__free(&arena);
	*thing = (struct thing){.text = NULL, .after = 7};
	return cbor_table__read(&reader, &table, bytes, len, thing);
}

#define READ(thing, literal) read_thing(thing, literal, sizeof(literal) - 1)

static void what_javascript_writes_is_read(void)
{
	struct thing thing;
	/* a map with a 16-bit head; a number past 32 bits as a double; bytes under tag 64 */
	CHECK_EQ(READ(&thing, "\xb9\x00\x04\x61t\x62hi\x61n\xfb\x41\xf0\x00\x00\x00\x00\x00\x00\x61"
			      "b\xf5\x61"
			      "d\xd8\x40\x43xyz"),
		 0);
	CHECK_STR(thing.text, "hi");
	CHECK(thing.number == 1ULL << 32);
	CHECK(thing.truth);
	CHECK_EQ(thing.bytes.length, 3);
	CHECK(memcmp(thing.bytes.at, "xyz", 3) == 0);
	CHECK_EQ(READ(&thing, "\xa1\x61n\x1b\x00\x00\x00\x01\x00\x00\x00\x00"), 0);
	CHECK(thing.number == 1ULL << 32);
	CHECK_EQ(READ(&thing, "\xa2\x61t\xf7\x61n\xf6"), 0); /* undefined and null are absent */
	CHECK(!thing.text);
}

static void numbers_are_as_wide_as_their_members(void)
{
	struct thing thing;
	CHECK_EQ(READ(&thing, "\xa3\x61s\x18\xff\x61m\x19\xff\xff\x61l\x82\x01\x19\x03\xe7"), 0);
	CHECK(thing.small == 255 && thing.after == 7 && thing.middle == 65535);
	CHECK(thing.list.count == 2 && thing.list.at[0] == 1 && thing.list.at[1] == 999);
}

static void what_is_wrong_is_refused_by_name(void)
{
	static const struct {
		const char *bytes;
		size_t len;
		const char *words;
	} list[] = {
#define ENTRY(literal, words) {literal, sizeof(literal) - 1, words}
		ENTRY("\x01", "not a map"),
		ENTRY("\xa1\x61n\xfb\x40\x09\x21\xfb\x54\x44\x2d\x18", "n must be an unsigned integer"),
		ENTRY("\xa1\x61n\x20", "n must be an unsigned integer"),
		ENTRY("\xa1\x61n\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00", "n must be an unsigned integer"),
		ENTRY("\xa1\x61t\x63"
		      "a\x00"
		      "b",
		      "t has a NUL"),
		ENTRY("\xa1\x61t\x43"
		      "abc",
		      "t must be a text string"),
		ENTRY("\xa1\x61"
		      "b\x01",
		      "b must be true or false"),
		ENTRY("\xa1\x61"
		      "d\x61x",
		      "d must be a byte string"),
		ENTRY("\xa1\x61x\x01", "\"x\""),
		ENTRY("\xa1\x01\x01", "key that is not text"),
		ENTRY("\xa2\x61n\x01\x61n\x02", "same key twice"),
		ENTRY("\xa2\x61n\x01", "well-formed"),
		ENTRY("\xa1\x61t\x7a\xff\xff\xff\xff", "well-formed"),
		ENTRY("\xa1\x61s\x19\x01\x00", "s is 256; allowed are 0 to 255"),
		ENTRY("\xa1\x61m\x02", "m is 2; allowed are 3 to 65535"),
		ENTRY("\xa1\x61l\x82\x01\x19\x03\xe8", "l[1] is 1000; allowed are 0 to 999"),
		ENTRY("\xa1\x61l\x83\x01\x01\x01", "l has more than 2 items"),
		ENTRY("\xa1\x61l\x01", "l must be an array"),
#undef ENTRY
	};
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		struct thing thing;
		CHECK(read_thing(&thing, list[i].bytes, list[i].len) < 0);
		if (!strstr(why.message, list[i].words))
			printf("# \"%s\" does not say \"%s\"\n", why.message, list[i].words);
		CHECK(strstr(why.message, list[i].words));
	}
}

static void what_breaks_the_profile_is_refused(void)
{
	for (size_t i = 0; i < sizeof(violations) / sizeof(violations[0]); i++) {
		const struct violation *violation = &violations[i];
		struct vmm_config config;
		struct thing thing;
		CHECK(read_thing(&thing, violation->bytes, violation->length) < 0);
		CHECK(strstr(why.message, violation->words));
		CHECK(vmm_config__read(&config, (const uint8_t *)violation->bytes, violation->length, &why) < 0);
		if (!strstr(why.message, violation->words))
			printf("# \"%s\" does not say \"%s\"\n", why.message, violation->words);
		CHECK(strstr(why.message, violation->words));
	}
}

static void frames_hold_what_was_put_in(void)
{
	struct buffer queue = {.data = NULL};
	struct writer out = frame__begin(&queue);
	writer__uint(&out, "a", 1);
	writer__open(&out, "m");
	writer__text(&out, "b", "c");
	writer__open(&out, "n");
	writer__close(&out);
	writer__close(&out);
	writer__bool(&out, "t", true);
	CHECK_EQ(frame__end(&out), 0);
	static const char want[] = "\x00\x00\x00\x11\xa3\x61"
				   "a\x01\x61m\xa2\x61"
				   "b\x61"
				   "c\x61n\xa0\x61t\xf5";
	CHECK_EQ(buffer__pending(&queue), sizeof(want) - 1);
	CHECK(memcmp(buffer__head(&queue), want, sizeof(want) - 1) == 0);
	CHECK_EQ(frame__length(buffer__head(&queue)), sizeof(want) - 5);
	buffer__free(&queue);
}

static void a_frame_that_is_too_large_is_not_queued(void)
{
	struct buffer queue = {.data = NULL};
	uint8_t *much = calloc(1, FRAME_LIMIT);
	CHECK(much);
	struct writer out = frame__begin(&queue);
	writer__bytes(&out, "d", much, FRAME_LIMIT);
	CHECK_EQ(frame__end(&out), -EMSGSIZE);
	CHECK_EQ(buffer__pending(&queue), 0);
	out = frame__begin(&queue); /* the count of pairs has one byte */
	for (unsigned i = 0; i < 24; i++)
		writer__bool(&out, "more", true);
	CHECK_EQ(frame__end(&out), -EMSGSIZE);
	CHECK_EQ(buffer__pending(&queue), 0);
	out = frame__begin(&queue);
	for (unsigned i = 0; i < WRITER_DEPTH; i++)
		writer__open(&out, "deeper");
	CHECK_EQ(frame__end(&out), -EMSGSIZE);
	CHECK_EQ(buffer__pending(&queue), 0);
	out = frame__begin(&queue); /* one that is forgotten */
	writer__bytes(&out, "d", much, 5000);
	out = frame__begin(&queue);
	writer__uint(&out, "e", 7);
	CHECK_EQ(frame__end(&out), 0);
	CHECK_EQ(buffer__pending(&queue), 8);
	CHECK(memcmp(buffer__head(&queue),
		     "\0\0\0\x04\xa1\x61"
		     "e\x07",
		     8) == 0);
	buffer__free(&queue);
	free(much);
}

static char dir[] = "/tmp/capsa-log-XXXXXX";

static uint64_t file_size(int dir_fd, const char *name, char *first)
{
	int fd = openat(dir_fd, name, O_RDONLY);
	CHECK(fd >= 0);
	CHECK_EQ(read(fd, first, 8), 8);
	off_t size = lseek(fd, 0, SEEK_END);
	close(fd);
	return (uint64_t)size;
}

static void logs_are_cut_between_units(void)
{
	CHECK(mkdtemp(dir));
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	struct log *log;
	char first[8];
	CHECK_EQ(log__new(dir_fd, "lines", LOG_LINES, 4096, &log), 0);
	for (int i = 0; i < 5000; i++)
		log__append(log, "seven..\n", 8);
	CHECK(file_size(dir_fd, "lines", first) <= 4096);
	CHECK(memcmp(first, "seven..\n", 8) == 0);
	CHECK_EQ(log__size(log), file_size(dir_fd, "lines", first));
	log__free(log);
	CHECK_EQ(log__new(dir_fd, "frames", LOG_FRAMES, 4096, &log), 0);
	for (int i = 0; i < 5000; i++) { /* in pieces that are not the frames */
		log__append(log, "\0\0\0\x09nin", 7);
		log__append(log, "e.....", 6);
	}
	CHECK(file_size(dir_fd, "frames", first) <= 4096);
	CHECK(memcmp(first, "\0\0\0\x09nine", 8) == 0);
	log__free(log);
	CHECK_EQ(log__new(dir_fd, "garbage", LOG_FRAMES, 4096, &log), 0);
	for (int i = 0; i < 5000; i++)
		log__append(log, "\xff\xff\xff\xff....", 8);
	CHECK(file_size(dir_fd, "garbage", first) <= 4096);
	log__free(log);
	unlinkat(dir_fd, "lines", 0);
	unlinkat(dir_fd, "frames", 0);
	unlinkat(dir_fd, "garbage", 0);
	close(dir_fd);
	rmdir(dir);
}

int main(void)
{
	CASE(what_javascript_writes_is_read);
	CASE(numbers_are_as_wide_as_their_members);
	CASE(what_is_wrong_is_refused_by_name);
	CASE(what_breaks_the_profile_is_refused);
	CASE(frames_hold_what_was_put_in);
	CASE(a_frame_that_is_too_large_is_not_queued);
	CASE(logs_are_cut_between_units);
	return check__done();
}
