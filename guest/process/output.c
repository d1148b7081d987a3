/* The read end of a process's stdout or stderr. */
#include "process/output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
	PIPE_SIZE = 256 * 1024,
	LITTLE = 32 * 1024,         /* bytes: a read of less is worth a pause */
	TERMINAL_SIZE = 128 * 1024, /* bytes: more than a terminal holds */
};

static void pause_over(void *arg)
{
	struct output *output = arg;
	output->pause = 0;
	(void)!loop__mod(output->loop, output->fd, LOOP_READ); /* `ready` finds out whether there is room */
}

static int take(struct output *output, struct loop *loop, loop_fn ready, void *arg, int fd)
{
	int err = loop__add(loop, fd, LOOP_READ, ready, arg);
	if (err)
		close(fd);
	*output = (struct output){.loop = loop, .fd = err ? -1 : fd};
	return err;
}

int output__open(struct output *output, struct loop *loop, loop_fn ready, void *arg, int *write_end)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	/* a larger pipe saves switches between writer and reader; the default also works */
	fcntl(ends[0], F_SETPIPE_SZ, PIPE_SIZE);
	int err = fcntl(ends[0], F_SETFL, O_RDONLY | O_NONBLOCK) ? -errno : 0;
	if (err)
		close(ends[0]);
	else
		err = take(output, loop, ready, arg, ends[0]);
	if (err)
		close(ends[1]);
	else
		*write_end = ends[1];
	return err;
}

int output__take(struct output *output, struct loop *loop, loop_fn ready, void *arg, int terminal)
{
	int err = take(output, loop, ready, arg, terminal);
	output->terminal = true;
	return err;
}

/* Asking the terminal itself: the kernel then first moves over what its program has written. */
static bool has_more(const struct output *output)
{
	struct pollfd asked = {.fd = output->fd, .events = POLLIN};
	return poll(&asked, 1, 0) == 1 && asked.revents & POLLIN;
}

/* As read(2), but of a terminal, which gives a page at a time, as much as it has. */
static ssize_t read_some(const struct output *output, uint8_t *bytes, size_t size)
{
	size_t got = 0;
	ssize_t n;
	do {
		n = read(output->fd, bytes + got, size - got);
		if (n > 0)
			got += (size_t)n;
	} while ((n < 0 && errno == EINTR) || (n > 0 && output->terminal && got < size));
	return got ? (ssize_t)got : n;
}

/* Without memory for it, it reads on. */
static void pause_reading(struct output *output)
{
	loop__timer_cancel(output->loop, output->pause);
	if (loop__timer(output->loop, OUTPUT_PAUSE_MS, pause_over, output, &output->pause))
		output->pause = 0;
}

ssize_t output__read(struct output *output, uint8_t *bytes, size_t size)
{
	if (output->sealed && size > output->due)
		size = output->due;
	ssize_t n = read_some(output, bytes, size);
	if (n < 0)
		return -errno;
	if (output->sealed)
		output->due -= (size_t)n;
	if (n == 0 || (output->sealed && (!output->due || (output->terminal && !has_more(output)))))
		output__close(output);
	else if ((size_t)n < size && n < LITTLE)
		pause_reading(output);
	return n;
}

void output__await(struct output *output, bool room)
{
	if (!output__ended(output))
		(void)!loop__mod(output->loop, output->fd, room && !output->pause ? LOOP_READ : 0);
}

void output__seal(struct output *output)
{
	int waiting = 0;
	if (output->sealed || output__ended(output))
		return;
	if (output->terminal)
		waiting = has_more(output) ? TERMINAL_SIZE : 0;
	else if (ioctl(output->fd, FIONREAD, &waiting))
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
	loop__del(output->loop, output->fd);
	loop__timer_cancel(output->loop, output->pause);
	output->pause = 0;
	close(output->fd);
	output->fd = -1;
}
