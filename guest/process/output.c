/* The read end of a process's stdout or stderr. */
#include "process/output.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	PIPE_SIZE = 256 * 1024,
	LITTLE = 32 * 1024,         /* bytes: a read of less is worth a pause */
	TERMINAL_SIZE = 128 * 1024, /* bytes: more than a terminal holds */
};

static void pause_over(struct timer *timer)
{
	struct output *output = container_of(timer, struct output, pause);

	output->watch.events = POLLIN; /* `ready` finds out whether there is room */
}

static void take(struct output *output, struct loop *loop, void (*ready)(struct watch *, short), int fd)
{
	*output = (struct output){.watch = {.fd = fd, .events = POLLIN, .ready = ready}, .pause = {.fire = pause_over}};
	loop__add(loop, &output->watch);
}

int output__open(struct output *output, struct loop *loop, void (*ready)(struct watch *, short), int *write_end)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	/* a larger pipe saves switches between writer and reader; the default also works */
	fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE);
	if (fcntl(ends[0], F_SETFL, O_RDONLY | O_NONBLOCK)) {
		int error = -errno;

		close(ends[0]);
		close(ends[1]);
		return error;
	}
	take(output, loop, ready, ends[0]);
	*write_end = ends[1];
	return 0;
}

void output__take(struct output *output, struct loop *loop, void (*ready)(struct watch *, short), int terminal)
{
	take(output, loop, ready, terminal);
	output->terminal = true;
}

/* Asking the terminal itself: the kernel then first moves over what its program has written. */
static bool has_more(const struct output *output)
{
	struct pollfd asked = {.fd = output->watch.fd, .events = POLLIN};

	return poll(&asked, 1, 0) == 1 && asked.revents & POLLIN;
}

/* As read(2), but of a terminal, which gives a page at a time, as much as it has. */
static ssize_t read_some(const struct output *output, uint8_t *bytes, size_t size)
{
	size_t got = 0;
	ssize_t n;

	do {
		n = read(output->watch.fd, bytes + got, size - got);
		if (n > 0)
			got += (size_t)n;
	} while ((n < 0 && errno == EINTR) || (n > 0 && output->terminal && got < size));
	return got ? (ssize_t)got : n;
}

ssize_t output__read(struct output *output, uint8_t *bytes, size_t size)
{
	ssize_t n;

	if (output->sealed && size > output->due)
		size = output->due;
	n = read_some(output, bytes, size);
	if (n < 0)
		return -errno;
	if (output->sealed)
		output->due -= (size_t)n;
	if (n == 0 || (output->sealed && (!output->due || (output->terminal && !has_more(output)))))
		output__close(output);
	else if ((size_t)n < size && n < LITTLE)
		timer__set(output->watch.loop, &output->pause, OUTPUT_PAUSE_MS);
	return n;
}

void output__await(struct output *output, bool room)
{
	output->watch.events = room && !output->pause.loop ? POLLIN : 0;
}

void output__seal(struct output *output)
{
	int waiting = 0;

	if (output->sealed || output__ended(output))
		return;
	if (output->terminal)
		waiting = has_more(output) ? TERMINAL_SIZE : 0;
	else if (ioctl(output->watch.fd, FIONREAD, &waiting))
		waiting = 0;
	output->sealed = true;
	output->due = (size_t)waiting;
	if (!waiting)
		output__close(output);
}

void output__close(struct output *output)
{
	if (output__ended(output))
		return;
	watch__remove(&output->watch);
	timer__clear(&output->pause);
	close(output->watch.fd);
	output->watch.fd = -1;
}
