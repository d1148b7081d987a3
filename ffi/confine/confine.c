/* The order in which the layers go on, and whether they are enough. */
#include "confine/confine.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "confine/internal.h"

void detail__say(struct confine_detail detail, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vsnprintf(detail.text, detail.size, format, args);
	va_end(args);
}

/* Each layer takes away what the ones before it needed. */
static const struct {
	const char *name;
	int (*apply)(struct confine_work *work, struct confine_detail detail);
} layers[CONFINE_LAYERS] = {
	[CONFINE_PRIVILEGES] = {"privileges", layer__privileges},
	[CONFINE_NAMESPACES] = {"namespaces", layer__namespaces},
	[CONFINE_LIMITS] = {"limits", layer__limits},
	[CONFINE_CAPABILITIES] = {"capabilities", layer__capabilities},
	[CONFINE_FILES] = {"files", layer__files},
	[CONFINE_SYSCALLS] = {"syscalls", layer__syscalls},
};

/* Files are kept from the process by an empty mount namespace or by Landlock, sockets by either and the system call
 * filter, all else by that filter. */
static int confine__check(const struct confine_report *report, struct failure *why)
{
	static const enum confine_layer always[] = {CONFINE_PRIVILEGES, CONFINE_CAPABILITIES, CONFINE_SYSCALLS};
	for (unsigned i = 0; i < sizeof(always) / sizeof(always[0]); i++)
		if (!report->layers[always[i]].applied)
			return failure__set(why, EPERM, "CONFINE_FAILED",
					    "confine = \"require\", but the layer \"%s\" cannot be applied here: %s",
					    report->layers[always[i]].name, report->layers[always[i]].detail);
	if (!report->layers[CONFINE_NAMESPACES].applied && !report->layers[CONFINE_FILES].applied)
		return failure__set(
			why, EPERM, "CONFINE_FAILED",
			"confine = \"require\", but nothing here keeps files away: namespaces: %s; Landlock: %s",
			report->layers[CONFINE_NAMESPACES].detail, report->layers[CONFINE_FILES].detail);
	return 0;
}

int confine__apply(const struct confine_request *request, struct confine_report *report, struct failure *why)
{
	struct confine_work work = {.request = request};
	memset(report, 0, sizeof(*report));
	if (request->mode != CONFINE_NONE)
		files__prepare(&work);
	for (unsigned i = 0; i < CONFINE_LAYERS; i++) {
		struct confine_detail detail = {report->layers[i].detail, sizeof(report->layers[i].detail)};
		report->layers[i].name = layers[i].name;
		if (request->mode == CONFINE_NONE)
			detail__say(detail, "confine = \"none\"");
		else
			report->layers[i].applied = layers[i].apply(&work, detail) == 0;
		if (i == CONFINE_NAMESPACES)
			work.alone = report->layers[i].applied;
	}
	return request->mode == CONFINE_REQUIRE ? confine__check(report, why) : 0;
}
