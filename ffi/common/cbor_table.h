/* Reading CBOR maps by tables of their keys: the configuration, the control channel's requests, what was saved. */
#ifndef CAPSA_COMMON_CBOR_TABLE_H
#define CAPSA_COMMON_CBOR_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/failure.h"
#include "common/reader.h"

/* A list as it is read: a field of kind CBOR_LIST has its member declared with CBOR_LIST_OF. */
#define CBOR_LIST_OF(type)                                                                                             \
	struct {                                                                                                       \
		type *at;                                                                                              \
		unsigned count;                                                                                        \
	}

/* Where the texts and lists of a message go while it is read; they live until cbor_arena__free. Zeroed at first. */
struct cbor_arena {
	struct cbor_block *first;
};

void cbor_arena__free(struct cbor_arena *arena);

struct cbor_reader {
	struct cbor_arena *arena;
	struct failure *why;
};

/* What a field is in the message, and what its member is in C. */
enum cbor_kind {
	CBOR_TEXT,   /* const char *, NUL-terminated, no NUL inside */
	CBOR_PATH,   /* the same, an absolute path */
	CBOR_PARSED, /* a text, of which `parse` makes the member */
	CBOR_CHOICE, /* a text of `words`: an enum, `min` for the first of them */
	CBOR_BOOL,   /* bool */
	CBOR_U8,     /* uint8_t; numbers are within min..max, where a max of 0 is the most that the member holds. A */
	CBOR_U16,    /* uint16_t; float with that value will do, as JavaScript writes numbers past 32 bits */
	CBOR_U32,    /* uint32_t */
	CBOR_U64,    /* uint64_t */
	CBOR_BYTES,  /* struct span; tag 64 (RFC 8746) is allowed */
	CBOR_DATA,   /* uint8_t[max]: a byte string of exactly that length */
	CBOR_MAP,    /* a struct, by `table` */
	CBOR_TUPLE,  /* the same, as an array of the table's fields in their order */
	CBOR_LIST,   /* CBOR_LIST_OF: at most `max` times `item`, of `size` bytes each */
};

struct cbor_table;

struct cbor_field {
	const char *key;
	enum cbor_kind kind;
	bool required;
	size_t offset; /* of the member */
	size_t size;
	uint64_t min, max;
	const char *const *words; /* NULL-terminated */
	const struct cbor_table *table;
	const struct cbor_field *item;
	/* 0, or not: then the text is `must`, as in "must be a network". */
	int (*parse)(const char *text, void *member);
	/* What is wrong with a member that was read, as in "must be a path below the root"; NULL: nothing. */
	const char *(*wrong)(const void *member);
	const char *must;
};

struct cbor_table {
	const char *name; /* the map's in ffi/vmm.cddl */
	const struct cbor_field *fields;
	unsigned count; /* at most 64 */
	bool open;      /* unknown keys are passed over; else they are refused */
	/* Fill in what an absent key stands for, where that is not zeros; NULL: it always is. */
	void (*begin)(void *into);
	/* Look at the whole once it is read: 0, or -errno with *reader->why. NULL: nothing is to be looked at. */
	int (*check)(struct cbor_reader *reader, void *into, const char *where);
};

#define CBOR_TABLE(its_name, its_fields, ...)                                                                          \
	{                                                                                                              \
		.name = (its_name), .fields = (its_fields), .count = sizeof(its_fields) / sizeof((its_fields)[0]),     \
		__VA_ARGS__                                                                                            \
	}

/*
 * Read `bytes`, a message as message__parse wants it, into the struct `into` (zeroed by the caller). An undefined or
 * null value counts as an absent key. `where` names what is read in failures: "" for the message itself. 0, or -errno
 * with *reader->why.
 */
__attribute__((warn_unused_result)) int cbor_table__read(struct cbor_reader *reader, const struct cbor_table *table,
							 const uint8_t *bytes, size_t len, void *into);

/* Refuse, in words: -EINVAL. */
int cbor_reader__refuse(struct cbor_reader *reader, const char *where, const char *what);

#endif
