/* 16550A: registers on the vCPU's thread, the socket on the loop's. */
#include "board/x86_64/serial.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/bell.h"
#include "ring.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH, FCR = IIR };
enum { IER_INPUT = 1, IER_OUTPUT = 2, IER_ALL = 0xf };
enum { IIR_NONE = 1, IIR_OUTPUT = 2, IIR_INPUT = 4, IIR_FIFO = 0xc0 };
enum { FCR_ENABLE = 1, FCR_CLEAR_INPUT = 2 };
enum { LCR_DIVISOR = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 0x10 };
enum { LSR_INPUT = 1, LSR_OUTPUT_EMPTY = 0x60 };
enum { MSR_CTS = 0x10, MSR_DSR = 0x20, MSR_RI = 0x40, MSR_DCD = 0x80 };

#define INPUT_SIZE 64           /* bytes held for the guest; a power of two */
#define OUTPUT_SIZE (64U << 10) /* bytes of output kept for a reader that is away */

struct serial {
	int fd, irq_fd;
	int wake_fd; /* bell: the guest has made room for input, or written output */
	struct loop *loop;
	bool watched; /* fd is known to the loop */
	bool deaf;    /* no more input is read */

	pthread_mutex_t lock; /* over what follows */
	uint8_t ier, fcr, lcr, mcr, scratch;
	uint16_t divisor;
	bool output_told; /* the interrupt for "output empty" waits to be read from IIR */
	uint8_t input[INPUT_SIZE];
	unsigned head, tail; /* free-running */
	struct ring output;
};

static bool has_input(const struct serial *serial)
{
	return serial->head != serial->tail;
}

static uint8_t interrupt_cause(const struct serial *serial)
{
	if (serial->ier & IER_INPUT && has_input(serial))
		return IIR_INPUT;
	if (serial->ier & IER_OUTPUT && serial->output_told)
		return IIR_OUTPUT;
	return IIR_NONE;
}

/* Handlers go on until no cause is left, so an edge for each new cause is enough. */
static void raise_line(const struct serial *serial)
{
	if (interrupt_cause(serial) != IIR_NONE)
		bell__ring(serial->irq_fd);
}

static void wake(const struct serial *serial)
{
	bell__ring(serial->wake_fd);
}

/* ---- the socket, on the loop's thread ---- */

static void hang_up(struct serial *serial)
{
	loop__del(serial->loop, serial->fd);
	serial->watched = false;
}

/* Listen for what can be acted upon: input when there is room for it, room when output waits. */
static void arm(struct serial *serial)
{
	pthread_mutex_lock(&serial->lock);
	bool has_room = serial->head - serial->tail<INPUT_SIZE, has_output = serial->output.len> 0;
	pthread_mutex_unlock(&serial->lock);
	unsigned events = (has_room && !serial->deaf ? LOOP_READ : 0U) | (has_output ? LOOP_WRITE : 0U);
	if (serial->watched && loop__mod(serial->loop, serial->fd, events) < 0)
		hang_up(serial);
}

static void take_input(struct serial *serial)
{
	uint8_t bytes[INPUT_SIZE];
	pthread_mutex_lock(&serial->lock);
	size_t room = INPUT_SIZE - (serial->head - serial->tail);
	ssize_t n = room ? recv(serial->fd, bytes, room, MSG_DONTWAIT) : -1;
	for (ssize_t i = 0; i < n; i++)
		serial->input[serial->head++ % INPUT_SIZE] = bytes[i];
	if (n > 0)
		raise_line(serial);
	pthread_mutex_unlock(&serial->lock);
	serial->deaf = serial->deaf || n == 0; /* nobody will type any more */
}

/* As much as the socket takes: what it does not is told once it has room. */
static void send_output(struct serial *serial)
{
	struct iovec iov[2];
	pthread_mutex_lock(&serial->lock);
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = ring__peek(&serial->output, iov)};
	ssize_t n = msg.msg_iovlen ? sendmsg(serial->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	if (n > 0)
		ring__drop(&serial->output, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		ring__drop(&serial->output, serial->output.len); /* nobody reads any more */
	pthread_mutex_unlock(&serial->lock);
}

static void on_socket(void *arg, int fd, unsigned ready)
{
	struct serial *serial = arg;
	(void)fd;
	if (ready & LOOP_READ && serial->deaf)
		hang_up(serial); /* reading was not asked for */
	else if (ready & LOOP_READ)
		take_input(serial);
	if (ready & LOOP_WRITE)
		send_output(serial);
	arm(serial);
}

static void on_wake(void *arg, int fd, unsigned ready)
{
	struct serial *serial = arg;
	(void)ready;
	(void)bell__hear(fd);
	send_output(serial);
	arm(serial);
}

/* ---- registers, on a vCPU's thread ---- */

/* In loopback, what drivers probe with, the modem's control lines come back as its status. */
static uint8_t modem_status(const struct serial *serial)
{
	if (!(serial->mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	return (uint8_t)((serial->mcr & MCR_RTS ? MSR_CTS : 0) | (serial->mcr & MCR_DTR ? MSR_DSR : 0) |
			 (serial->mcr & MCR_OUT1 ? MSR_RI : 0) | (serial->mcr & MCR_OUT2 ? MSR_DCD : 0));
}

static uint8_t read_data(struct serial *serial)
{
	if (!has_input(serial))
		return 0;
	bool was_full = serial->head - serial->tail == INPUT_SIZE;
	uint8_t byte = serial->input[serial->tail++ % INPUT_SIZE];
	if (was_full)
		wake(serial);
	return byte;
}

static uint8_t read_register(struct serial *serial, unsigned offset)
{
	switch (offset) {
	case DATA:
		return serial->lcr & LCR_DIVISOR ? (uint8_t)serial->divisor : read_data(serial);
	case IER:
		return serial->lcr & LCR_DIVISOR ? (uint8_t)(serial->divisor >> 8) : serial->ier;
	case IIR: {
		uint8_t cause = interrupt_cause(serial);
		if (cause == IIR_OUTPUT)
			serial->output_told = false;
		return (uint8_t)(cause | (serial->fcr & FCR_ENABLE ? IIR_FIFO : 0));
	}
	case LCR:
		return serial->lcr;
	case MCR:
		return serial->mcr;
	case LSR:
		return LSR_OUTPUT_EMPTY | (has_input(serial) ? LSR_INPUT : 0);
	case MSR:
		return modem_status(serial);
	default:
		return serial->scratch;
	}
}

static void write_data(struct serial *serial, uint8_t value)
{
	if (serial->mcr & MCR_LOOP) {
		if (serial->head - serial->tail < INPUT_SIZE)
			serial->input[serial->head++ % INPUT_SIZE] = value;
	} else {
		if (!serial->output.len) /* the loop takes all there is by then */
			wake(serial);
		ring__put(&serial->output, &value, 1);
	}
	serial->output_told = true;
	raise_line(serial);
}

static void write_enable(struct serial *serial, uint8_t value)
{
	bool wants_output = value & IER_OUTPUT && !(serial->ier & IER_OUTPUT);
	serial->ier = value & IER_ALL;
	if (wants_output)
		serial->output_told = true;
	raise_line(serial);
}

static void write_register(struct serial *serial, unsigned offset, uint8_t value)
{
	bool divisor = serial->lcr & LCR_DIVISOR;
	switch (offset) {
	case DATA:
		if (divisor)
			serial->divisor = (uint16_t)((serial->divisor & 0xff00) | value);
		else
			write_data(serial, value);
		break;
	case IER:
		if (divisor)
			serial->divisor = (uint16_t)((serial->divisor & 0x00ff) | value << 8);
		else
			write_enable(serial, value);
		break;
	case FCR:
		serial->fcr = value;
		if (value & FCR_CLEAR_INPUT && serial->mcr & MCR_LOOP)
			serial->tail = serial->head;
		break;
	case LCR:
		serial->lcr = value;
		break;
	case MCR:
		serial->mcr = value;
		break;
	case SCRATCH:
		serial->scratch = value;
		break;
	default: /* status is read only */
		break;
	}
}

uint8_t serial__read(struct serial *serial, unsigned offset)
{
	pthread_mutex_lock(&serial->lock);
	uint8_t value = read_register(serial, offset);
	pthread_mutex_unlock(&serial->lock);
	return value;
}

void serial__write(struct serial *serial, unsigned offset, uint8_t value)
{
	pthread_mutex_lock(&serial->lock);
	write_register(serial, offset, value);
	pthread_mutex_unlock(&serial->lock);
}

int serial__irq_fd(const struct serial *serial)
{
	return serial->irq_fd;
}

int serial__start(struct serial *serial)
{
	int error = loop__add(serial->loop, serial->wake_fd, LOOP_READ, on_wake, serial);
	if (!error)
		error = loop__add(serial->loop, serial->fd, LOOP_READ, on_socket, serial);
	serial->watched = !error;
	return error;
}

int serial__new(int fd, struct loop *loop, struct serial **out)
{
	struct serial *serial = calloc(1, sizeof(*serial));
	if (!serial) {
		close(fd);
		return -ENOMEM;
	}
	serial->fd = fd;
	serial->loop = loop;
	serial->divisor = 1;
	pthread_mutex_init(&serial->lock, NULL);
	serial->irq_fd = bell__new();
	serial->wake_fd = bell__new();
	int error = serial->irq_fd < 0    ? serial->irq_fd
		    : serial->wake_fd < 0 ? serial->wake_fd
					  : ring__open(&serial->output, OUTPUT_SIZE);
	if (error) {
		serial__free(serial);
		return error;
	}
	*out = serial;
	return 0;
}

void serial__free(struct serial *serial)
{
	if (!serial)
		return;
	const int fds[] = {serial->fd, serial->irq_fd, serial->wake_fd};
	send_output(serial); /* the guest's last words */
	loop__del(serial->loop, serial->fd);
	loop__del(serial->loop, serial->wake_fd);
	for (unsigned i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	ring__close(&serial->output);
	pthread_mutex_destroy(&serial->lock);
	free(serial);
}
