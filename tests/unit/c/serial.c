/* The serial port, driven as a kernel's driver does. */
#include "board/x86_64/serial.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>

#include "check.h"

static struct {
	struct loop *loop;
	pthread_t thread;
	struct serial *serial;
	int far; /* the console's other end */
} rig;

static void *run_loop(void *loop)
{
	loop__run(loop);
	return NULL;
}

static void set_up(void)
{
	int pair[2];
	CHECK_EQ(loop__new(&rig.loop), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	CHECK_EQ(serial__new(pair[0], rig.loop, &rig.serial), 0);
	CHECK_EQ(serial__start(rig.serial), 0);
	rig.far = pair[1];
	CHECK_EQ(pthread_create(&rig.thread, NULL, run_loop, rig.loop), 0);
}

static void tear_down(void)
{
	loop__stop(rig.loop);
	pthread_join(rig.thread, NULL);
	serial__free(rig.serial);
	loop__free(rig.loop);
	close(rig.far);
}

static uint8_t get(unsigned offset)
{
	return serial__read(rig.serial, offset);
}

static void put(unsigned offset, uint8_t value)
{
	serial__write(rig.serial, offset, value);
}

static bool was_interrupted(void)
{
	uint64_t count;
	return read(serial__irq_fd(rig.serial), &count, sizeof(count)) > 0;
}

/* Until the port says that there is input, half a second at most. */
static bool wait_for_input(void)
{
	for (int i = 0; i < 500 && !(get(5) & 1); i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	return get(5) & 1;
}

static void drivers_find_a_16550a(void)
{
	set_up();
	put(1, 0);
	CHECK_EQ(get(1), 0);
	put(1, 0x0f);
	CHECK_EQ(get(1), 0x0f);
	put(1, 0);
	put(4, 0x1a); /* loopback */
	CHECK_EQ(get(6) & 0xf0, 0x90);
	put(4, 0);
	put(2, 1);
	CHECK_EQ(get(2) & 0xc0, 0xc0);
	put(7, 0x5a);
	CHECK_EQ(get(7), 0x5a);
	put(3, 0x80); /* divisor */
	put(0, 0x34);
	put(1, 0x12);
	CHECK_EQ(get(0), 0x34);
	CHECK_EQ(get(1), 0x12);
	put(3, 3);
	CHECK_EQ(get(1), 0);
	tear_down();
}

/* `len` bytes of output, each waited for two seconds at most. */
static void receive(char *to, size_t len)
{
	for (size_t have = 0; have < len;) {
		struct pollfd far = {.fd = rig.far, .events = POLLIN};
		CHECK_EQ(poll(&far, 1, 2000), 1);
		ssize_t n = recv(rig.far, to + have, len - have, 0);
		CHECK(n > 0);
		have += (size_t)n;
	}
}

static void output_reaches_the_console(void)
{
	char text[8] = "";
	set_up();
	put(0, 'o');
	put(0, 'k');
	receive(text, 2);
	CHECK_STR(text, "ok");
	CHECK_EQ(get(5) & 0x60, 0x60);
	CHECK(!was_interrupted());
	put(1, 2);
	CHECK(was_interrupted());
	CHECK_EQ(get(2) & 0x0f, 2);
	CHECK_EQ(get(2) & 0x0f, 1);
	put(0, '!');
	CHECK(was_interrupted());
	tear_down();
}

static void input_interrupts_and_is_read(void)
{
	set_up();
	put(1, 1);
	CHECK_EQ(send(rig.far, "hi", 2, 0), 2);
	CHECK(wait_for_input());
	CHECK(was_interrupted());
	CHECK_EQ(get(2) & 0x0f, 4);
	CHECK_EQ(get(5) & 1, 1);
	CHECK_EQ(get(0), 'h');
	CHECK_EQ(get(0), 'i');
	CHECK_EQ(get(5) & 1, 0);
	CHECK_EQ(get(2) & 0x0f, 1);
	CHECK_EQ(get(0), 0);
	tear_down();
}

/* Far more than the port holds: what does not fit waits in the socket. */
static void much_input_waits_for_the_guest(void)
{
	enum { TOTAL = 3000 };
	set_up();
	char text[TOTAL];
	for (int i = 0; i < TOTAL; i++)
		text[i] = (char)('a' + i % 26);
	CHECK_EQ(send(rig.far, text, TOTAL, 0), TOTAL);
	int taken = 0;
	for (; taken < TOTAL && wait_for_input(); taken++)
		CHECK_EQ(get(0), 'a' + taken % 26);
	CHECK_EQ(taken, TOTAL);
	tear_down();
}

/* More than a socket holds in pieces of a byte, written faster than it is read. */
static void a_burst_of_output_is_whole(void)
{
	enum { TOTAL = 60000 };
	static char text[TOTAL];
	set_up();
	for (int i = 0; i < TOTAL; i++)
		put(0, (uint8_t)('a' + i % 26));
	receive(text, TOTAL);
	for (int i = 0; i < TOTAL; i++)
		CHECK_EQ(text[i], 'a' + i % 26);
	tear_down();
}

static void what_was_written_last_is_sent_at_the_end(void)
{
	char text[8] = "";
	int pair[2];
	struct loop *loop;
	CHECK_EQ(loop__new(&loop), 0); /* and never run */
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	CHECK_EQ(serial__new(pair[0], loop, &rig.serial), 0);
	CHECK_EQ(serial__start(rig.serial), 0);
	put(0, 'o');
	put(0, 'k');
	serial__free(rig.serial);
	CHECK_EQ(recv(pair[1], text, sizeof(text), 0), 2);
	CHECK_STR(text, "ok");
	close(pair[1]);
	loop__free(loop);
}

static void a_console_that_is_gone_is_no_trouble(void)
{
	set_up();
	CHECK_EQ(shutdown(rig.far, SHUT_RDWR), 0);
	for (int i = 0; i < 100; i++)
		put(0, 'x');
	CHECK(!wait_for_input());
	tear_down();
}

static void a_reader_that_is_away_stalls_nobody(void)
{
	set_up();
	for (int i = 0; i < 2000000; i++)
		put(0, 'x');
	tear_down();
}

int main(void)
{
	CASE(drivers_find_a_16550a);
	CASE(output_reaches_the_console);
	CASE(input_interrupts_and_is_read);
	CASE(much_input_waits_for_the_guest);
	CASE(a_burst_of_output_is_whole);
	CASE(what_was_written_last_is_sent_at_the_end);
	CASE(a_console_that_is_gone_is_no_trouble);
	CASE(a_reader_that_is_away_stalls_nobody);
	return check__done();
}
