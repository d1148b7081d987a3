/* The engines this build has: those of ENGINES in the Makefile, each in a folder of its name. */
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"

#define ENGINE(name) extern const struct engine_ops engine_##name;
ENGINES
#undef ENGINE

#define ENGINE(name) &engine_##name,
static const struct engine_ops *const engines[] = {ENGINES};
#undef ENGINE

const struct engine_ops *engine__find(const char *name, char *names, size_t names_len)
{
	size_t used = 0;
	names[0] = 0;
	for (unsigned i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
		int n = snprintf(names + used, names_len - used, "%s%s", used ? ", " : "", engines[i]->name);
		used += n > 0 && (size_t)n < names_len - used ? (size_t)n : 0;
	}
	return NULL;
}
