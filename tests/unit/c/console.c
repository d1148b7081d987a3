/* virtio-console: bytes pass both ways, and a reader that is away stalls nobody. */
#include "virtio/console.h"

#include <errno.h>
#include <sys/socket.h>

#include "driver.h"

static struct driver d;
static struct driver_queue rx, tx;
static struct driver_device dd;
static int host;

static void enable(void)
{
	driver_queue__init(&rx, &d, &dd.dev->queues[0], 16, DRIVER_EVENT_IDX);
	driver_queue__init(&tx, &d, &dd.dev->queues[1], 128, 0);
	driver_device__activate(&dd);
}

static void set_up(void)
{
	int pair[2];
	struct virtio_device *dev;
	driver__init(&d, 4 << 20);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	CHECK_EQ(virtio_console__new(pair[0], &dev), 0);
	host = pair[1];
	driver_device__start(&dd, dev);
	enable();
}

static void tear_down(void)
{
	driver_device__stop(&dd);
	driver_queue__free(&rx);
	driver_queue__free(&tx);
	driver__free(&d);
	if (host >= 0)
		close(host);
}

/* Read from the host side until `len` bytes or two seconds passed; returns the bytes read. */
static size_t receive(uint8_t *to, size_t len)
{
	size_t done = 0;
	while (done < len) {
		struct pollfd p = {.fd = host, .events = POLLIN};
		if (poll(&p, 1, 2000) <= 0)
			break;
		ssize_t n = read(host, to + done, len - done);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return done;
}

static void print(uint64_t gpa, uint32_t len)
{
	struct driver_buf buf = {gpa, len};
	CHECK(driver_queue__add(&tx, &buf, 1, 0) >= 0);
	driver_device__kick(&dd, 1);
	CHECK(driver_queue__wait(&tx, NULL, 5000) >= 0);
}

static void output_reaches_the_host(void)
{
	set_up();
	uint8_t got[16] = {0};
	uint64_t buf = driver__alloc(&d, 16);
	memcpy(driver__at(&d, buf), "hello", 5);
	print(buf, 5);
	CHECK_EQ(receive(got, 5), 5);
	CHECK_STR((char *)got, "hello");
	tear_down();
}

static void output_never_waits_and_keeps_its_newest_bytes(void)
{
	set_up();
	enum { CHUNK = 32 << 10, CHUNKS = 64 };
	uint64_t buf = driver__alloc(&d, CHUNK);
	for (unsigned i = 0; i < CHUNKS; i++) {
		memset(driver__at(&d, buf), (int)i, CHUNK);
		print(buf, CHUNK);
	}
	uint8_t *got = malloc((size_t)CHUNK * CHUNKS);
	size_t kept = receive(got, (size_t)CHUNK * CHUNKS);
	CHECK(kept < (size_t)CHUNK * CHUNKS);
	for (unsigned i = 1; i < kept; i++)
		CHECK(got[i] >= got[i - 1]);
	for (unsigned i = 1; i <= 64 << 10; i++)
		CHECK_EQ(got[kept - i], CHUNKS - 1 - (i - 1) / CHUNK);
	free(got);
	tear_down();
}

static void one_write_larger_than_the_backlog(void)
{
	set_up();
	enum { LEN = 1 << 20 };
	uint64_t buf = driver__alloc(&d, LEN);
	uint8_t *bytes = driver__at(&d, buf);
	for (unsigned i = 0; i < LEN; i++)
		bytes[i] = (uint8_t)(i >> 8);
	print(buf, LEN);
	uint8_t *got = malloc(LEN);
	size_t kept = receive(got, LEN);
	CHECK(kept >= 64 << 10 && kept < LEN);
	CHECK(memcmp(got + kept - (64 << 10), bytes + LEN - (64 << 10), 64 << 10) == 0);
	free(got);
	tear_down();
}

static void a_host_that_left_is_survived(void)
{
	set_up();
	close(host);
	host = -1;
	uint64_t buf = driver__alloc(&d, 64);
	print(buf, 64);
	print(buf, 64);
	tear_down();
}

static void input_waits_for_the_guest(void)
{
	set_up();
	uint32_t len;
	CHECK_EQ(write(host, "abcdef", 6), 6);
	struct driver_buf buf = {driver__alloc(&d, 4), 4};
	CHECK_EQ(driver_queue__wait(&rx, &len, 50), -1);
	CHECK(driver_queue__add(&rx, &buf, 0, 1) >= 0);
	driver_device__kick(&dd, 0);
	CHECK(driver_queue__wait(&rx, &len, 5000) >= 0);
	CHECK_EQ(len, 4);
	CHECK(memcmp(driver__at(&d, buf.gpa), "abcd", 4) == 0);
	/* the second buffer comes after the ring was empty: the device has asked to be told */
	driver_device__sync(&dd);
	uint16_t avail_event = __atomic_load_n(&rx.used[2 + 4 * 16], __ATOMIC_SEQ_CST);
	CHECK_EQ(avail_event, 1);
	CHECK(driver_queue__add(&rx, &buf, 0, 1) >= 0);
	driver_device__kick(&dd, 0);
	CHECK(driver_queue__wait(&rx, &len, 5000) >= 0);
	CHECK_EQ(len, 2);
	CHECK(memcmp(driver__at(&d, buf.gpa), "ef", 2) == 0);
	tear_down();
}

static void end_of_input_leaves_output_working(void)
{
	set_up();
	struct driver_buf buf = {driver__alloc(&d, 4), 4};
	uint8_t got[4];
	CHECK(driver_queue__add(&rx, &buf, 0, 1) >= 0);
	driver_device__kick(&dd, 0);
	CHECK_EQ(shutdown(host, SHUT_WR), 0);
	CHECK_EQ(driver_queue__wait(&rx, NULL, 50), -1);
	print(buf.gpa, 4);
	CHECK_EQ(receive(got, 4), 4);
	tear_down();
}

static void output_before_a_reset_is_still_sent(void)
{
	set_up();
	enum { LEN = 300 << 10 }; /* more than the socket takes at once */
	uint64_t buf = driver__alloc(&d, LEN);
	memset(driver__at(&d, buf), 'z', LEN);
	print(buf, LEN);
	driver_device__reset(&dd);
	uint8_t *got = malloc(LEN);
	size_t kept = receive(got, LEN); /* what the socket takes, and the backlog */
	CHECK(kept > 64 << 10 && got[0] == 'z' && got[kept - 1] == 'z');
	free(got);
	driver_queue__free(&rx);
	driver_queue__free(&tx);
	enable();
	print(buf, 4);
	uint8_t more[4];
	CHECK_EQ(receive(more, 4), 4);
	tear_down();
}

int main(void)
{
	CASE(output_reaches_the_host);
	CASE(output_never_waits_and_keeps_its_newest_bytes);
	CASE(one_write_larger_than_the_backlog);
	CASE(a_host_that_left_is_survived);
	CASE(input_waits_for_the_guest);
	CASE(end_of_input_leaves_output_working);
	CASE(output_before_a_reset_is_still_sent);
	return check__done();
}
