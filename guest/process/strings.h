/* A NULL-terminated list of strings it owns: argument vectors and environments. */
#ifndef CAPSA_PROCESS_STRINGS_H
#define CAPSA_PROCESS_STRINGS_H

#include <stddef.h>

#include "common/reader.h"

/* All zero is an empty list. */
struct strings {
	char **list; /* NULL while nothing was added */
	size_t count, capacity;
};

/* Append a copy. Returns 0, -EINVAL (a NUL inside) or -ENOMEM. */
__attribute__((warn_unused_result)) int strings__add(struct strings *strings, struct span text);
__attribute__((warn_unused_result)) int strings__add_text(struct strings *strings, const char *text);
/* Append every item of a CBOR array of strings. Returns 0, -EPROTO for another item, or as strings__add. */
__attribute__((warn_unused_result)) int strings__add_array(struct strings *strings, const CborValue *array);
__attribute__((warn_unused_result)) int strings__add_all(struct strings *strings, const struct strings *from);

/* In a list of NAME=VALUE: set one, in place of an earlier value. Returns as strings__add; -EINVAL for a name that is
 * empty or has '='. */
__attribute__((warn_unused_result)) int environment__set(struct strings *environment, struct span name,
							 struct span value);
/* Set every pair of a CBOR map of strings. */
__attribute__((warn_unused_result)) int environment__set_map(struct strings *environment, const CborValue *map);
/* The value of `name`, or NULL. */
const char *environment__get(const struct strings *environment, const char *name);

void strings__free(struct strings *strings);

#endif
