/* The order in which the layers go on, and whether they are enough. */
#include "confine/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine/linux/internal.h"

/* Each layer takes away what the ones before it needed. */
static const struct {
	const char *name;
	int (*vmm)(struct confine_work *work, struct confine_detail detail);
	int (*program)(struct confine_work *work, struct confine_detail detail);
} layers[CONFINE_LAYERS] = {
	[CONFINE_PRIVILEGES] = {"privileges", layer__privileges, layer__privileges},
	[CONFINE_NAMESPACES] = {"namespaces", layer__namespaces, program__namespaces},
	[CONFINE_LIMITS] = {"limits", layer__limits, program__limits},
	[CONFINE_CAPABILITIES] = {"capabilities", layer__capabilities, layer__capabilities},
	[CONFINE_FILES] = {"files", layer__files, layer__files},
	[CONFINE_SYSCALLS] = {"syscalls", layer__syscalls, program__syscalls},
};

static int confine__check(const struct confine_request *request, const struct confine_report *report,
			  struct failure *why)
{
	for (unsigned i = 0; i < CONFINE_LAYERS; i++)
		if (!report->layers[i].applied)
			return failure__set(
				why, EPERM, "CONFINE_FAILED",
				"confine = \"require\", but the layer \"%s\" of %s cannot be applied here: %s",
				report->layers[i].name, request->program ? "QEMU" : "capsa-vmm",
				report->layers[i].detail);
	return 0;
}

static int apply(struct confine_work *work, struct confine_report *report, struct failure *why)
{
	const struct confine_request *request = work->request;
	if (request->mode != CONFINE_NONE)
		files__prepare(work);
	for (unsigned i = 0; i < CONFINE_LAYERS; i++) {
		struct confine_detail detail = {report->layers[i].detail, sizeof(report->layers[i].detail)};
		report->layers[i].name = layers[i].name;
		if (request->mode == CONFINE_NONE)
			detail__say(detail, "confine = \"none\"");
		else
			report->layers[i].applied =
				(request->program ? layers[i].program : layers[i].vmm)(work, detail) == 0;
		if (i == CONFINE_NAMESPACES)
			work->alone = report->layers[i].applied;
	}
	return request->mode == CONFINE_REQUIRE ? confine__check(request, report, why) : 0;
}

int confine__apply(const struct confine_request *request, struct confine_report *report, struct failure *why)
{
	struct confine_work work = {.request = request, .program = -1, .connects = -1};
	memset(report, 0, sizeof(*report));
	return apply(&work, report, why);
}

int confine__become(const struct confine_request *request, const struct confine_birth *birth, char *const argv[],
		    void (*told)(void *arg, const struct confine_word *word), void *arg)
{
	struct confine_word word = {.error = 0};
	struct confine_work work = {.request = request, .birth = birth, .connects = -1};
	work.program = open(request->program->path, O_RDONLY | O_CLOEXEC);
	word.error = work.program < 0
			     ? failure__set(&word.why, errno, NULL, "%s cannot be opened", request->program->path)
			     : apply(&work, &word.report, &word.why);
	word.connects = work.connects;
	told(arg, &word);
	if (word.error)
		return word.error;
	if (work.connects >= 0)
		close(work.connects);
	if (request->mode == CONFINE_NONE)
		execv(request->program->path, argv);
	else /* by a number that no descriptor has again: see program__limits */
		syscall(SYS_execveat, work.program, "", argv, environ, PROGRAM_EXECUTED_BY);
	return -errno;
}
