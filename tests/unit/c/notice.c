/* What the user is told of layers of confinement that are missing, and of what that opens. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "vmm/control/vmm.h"

#define LAYER(name) (1U << CONFINE_##name)

/* All layers but the missing ones. */
static void fill(struct confine_report *report, unsigned missing)
{
	static const char *const names[] = {"privileges", "namespaces", "limits", "capabilities", "files", "syscalls"};
	for (unsigned i = 0; i < CONFINE_LAYERS; i++) {
		report->layers[i].name = names[i];
		report->layers[i].applied = !(missing >> i & 1);
		strcpy(report->layers[i].detail, "so it is");
	}
}

static void nobody_listens(void *owner, const struct control_channel *channel)
{
	(void)owner;
	(void)channel;
}

/* What the starter gets of it: the frame, whose texts are in it as they are; "" of none. */
static const char *told(unsigned vmm_lacks, unsigned qemu_lacks)
{
	static const struct control_ops ops = {.closed = nobody_listens};
	static char text[4096];
	const struct vmm_config config = {.confine = CONFINE_AUTO};
	struct vmm vmm = {.config = &config};
	atomic_bool unfinished = false;
	int ends[2];
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
	CHECK_EQ(loop__new(&vmm.loop), 0);
	const struct control_options options = {
		.loop = vmm.loop, .starter = ends[0], .unfinished = &unfinished, .ops = &ops, .owner = &vmm};
	CHECK_EQ(control__new(&options, &vmm.control), 0);
	fill(&vmm.built.confinement, vmm_lacks);
	fill(&vmm.built.machine.child_confinement, qemu_lacks);
	notice__confinement(&vmm);
	memset(text, 0, sizeof(text));
	ssize_t n = read(ends[1], text, sizeof(text) - 1);
	for (ssize_t i = 0; i < n; i++) /* the length before it, and the heads of texts */
		if (!text[i])
			text[i] = '.';
	control__free(vmm.control);
	loop__free(vmm.loop);
	close(ends[1]);
	return text;
}

static void nothing_is_told_where_nothing_is_missing(void)
{
	CHECK_STR(told(0, 0), "");
}

static void each_is_named_with_what_it_lacks(void)
{
	const char *text = told(LAYER(NAMESPACES), LAYER(FILES));
	CHECK(strstr(text, "capsa-vmm lacks namespaces (so it is), QEMU lacks files (so it is)"));
	CHECK(strstr(text, "CONFINE_PARTIAL"));
}

static void what_is_opened_is_that_of_the_worse_and_not_of_both_together(void)
{
	CHECK(strstr(told(LAYER(FILES), LAYER(NAMESPACES)), "could find out which files there are"));
	CHECK(strstr(told(LAYER(NAMESPACES), LAYER(FILES)), "could find out which files there are"));
	CHECK(strstr(told(LAYER(FILES), LAYER(FILES) | LAYER(NAMESPACES)), "could read and write this user's files"));
	CHECK(strstr(told(LAYER(SYSCALLS), LAYER(FILES) | LAYER(NAMESPACES)), "could reach this machine's processes"));
	CHECK(strstr(told(0, LAYER(FILES)), "if it also breaks out of its mount namespace"));
	CHECK(strstr(told(LAYER(LIMITS), 0), "could do more than it should"));
}

int main(void)
{
	CASE(nothing_is_told_where_nothing_is_missing);
	CASE(each_is_named_with_what_it_lacks);
	CASE(what_is_opened_is_that_of_the_worse_and_not_of_both_together);
	return check__done();
}
