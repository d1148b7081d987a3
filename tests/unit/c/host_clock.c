/* The host's clock as the VMM tells it to a guest: answers, what comes unasked, and a guest that does as it likes. */
#include "vmm/control/host_clock.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>

#include "check.h"
#include "os/worker.h"

/* In place of the kernel's: a clock that jumps, and a host that sleeps, when a case wants it. */
static int jumps;
static int64_t slept;

int timerfd_create(int clock, int flags)
{
	CHECK(clock == CLOCK_REALTIME && flags == (TFD_CLOEXEC | TFD_NONBLOCK));
	return jumps = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int timerfd_settime(int fd, int flags, const struct itimerspec *new, struct itimerspec *old)
{
	(void)old;
	CHECK(fd == jumps && flags == (TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) && new->it_value.tv_sec > 0);
	return 0;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	long result = syscall(SYS_clock_gettime, id, t);
	if (id == CLOCK_BOOTTIME)
		t->tv_sec += slept;
	return (int)result;
}

static char dir[64];
static struct worker vmm;
static struct host_clock *served;
static int guest;

static void nothing(void *arg)
{
	(void)arg;
}

/* Let the VMM do what there is to do. */
static void turn(void)
{
	for (int i = 0; i < 3; i++)
		CHECK_EQ(loop__call(vmm.loop, nothing, NULL), 0);
}

static void set_up(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	strcpy(dir, "/tmp/capsa-clock.XXXXXX");
	CHECK(mkdtemp(dir) && worker__init(&vmm, "vmm") == 0);
	CHECK_EQ(host_clock__new(vmm.loop, dir, 54, &served), 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/host-54.sock", dir);
	guest = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(connect(guest, (struct sockaddr *)&address, sizeof(address)), 0);
	CHECK_EQ(worker__start(&vmm), 0);
	turn();
}

static void free_it(void *arg)
{
	host_clock__free(arg);
}

static void tear_down(void)
{
	CHECK_EQ(loop__call(vmm.loop, free_it, served), 0);
	worker__end(&vmm);
	close(guest);
	guest = -1;
	CHECK_EQ(rmdir(dir), 0); /* the socket went with the first connection */
}

static void stand(void *arg)
{
	for (unsigned i = 0; i < *(unsigned *)arg; i++)
		host_clock__stood(served);
}

/* It stands still, so often. */
static void stand_still(unsigned times)
{
	CHECK_EQ(loop__call(vmm.loop, stand, &times), 0);
}

static void jump(void)
{
	CHECK_EQ(write(jumps, &(uint64_t){1}, sizeof(uint64_t)), sizeof(uint64_t));
}

static int64_t wall(void)
{
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The next message is of this kind, and its time was read between `since` and now. */
static void expect(uint64_t what, int64_t since)
{
	uint64_t message[2];
	CHECK_EQ(recv(guest, message, sizeof(message), MSG_WAITALL), sizeof(message));
	CHECK_EQ(le64toh(message[0]), what);
	CHECK((int64_t)le64toh(message[1]) >= since && (int64_t)le64toh(message[1]) <= wall());
}

static void expect_silence(void)
{
	char byte;
	turn();
	CHECK(recv(guest, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

static void each_question_has_its_answer(void)
{
	set_up();
	for (unsigned number = 1; number <= 255; number += 127) {
		const uint8_t question = (uint8_t)number;
		const int64_t since = wall();
		CHECK_EQ(send(guest, &question, 1, 0), 1);
		expect(number, since);
	}
	expect_silence();
	tear_down();
}

static void of_many_at_once_the_last_is_answered(void)
{
	static uint8_t questions[50000];
	uint64_t message[2] = {0};
	unsigned answers = 0;
	set_up();
	memset(questions, 7, sizeof(questions));
	questions[sizeof(questions) - 1] = 9;
	CHECK_EQ(send(guest, questions, sizeof(questions), 0), sizeof(questions));
	for (; le64toh(message[0]) != 9; answers++)
		CHECK_EQ(recv(guest, message, sizeof(message), MSG_WAITALL), sizeof(message));
	CHECK(answers < 100); /* each is of all that had come */
	expect_silence();
	tear_down();
}

static void one_that_stood_still_is_told_so(void)
{
	set_up();
	const int64_t since = wall();
	stand_still(1);
	expect(0, since);
	host_clock__stood(NULL);
	expect_silence();
	tear_down();
}

static void a_jump_of_the_clock_is_told_and_a_suspended_host_as_a_standstill(void)
{
	set_up();
	jump();
	expect(256, 0);
	slept += 60;
	jump();
	expect(0, 0);
	jump();
	expect(256, 0); /* that sleep is over */
	expect_silence();
	tear_down();
}

static void a_guest_that_reads_nothing_holds_nobody_up(void)
{
	uint64_t message[2];
	ssize_t n;
	set_up();
	stand_still(100000);
	while ((n = recv(guest, message, sizeof(message), MSG_DONTWAIT)) > 0)
		CHECK_EQ(n, sizeof(message)); /* whole ones only */
	CHECK_EQ(send(guest, &(uint8_t){3}, 1, 0), 1);
	expect(3, 0);
	tear_down();
}

static void a_guest_that_goes_or_never_came_is_not_missed(void)
{
	set_up();
	shutdown(guest, SHUT_RDWR);
	turn();
	stand_still(1);
	tear_down();
	strcpy(dir, "/tmp/capsa-clock.XXXXXX");
	CHECK(mkdtemp(dir) && worker__init(&vmm, "vmm") == 0);
	CHECK_EQ(host_clock__new(vmm.loop, dir, 54, &served), 0);
	stand_still(1);
	tear_down();
}

int main(void)
{
	CASE(each_question_has_its_answer);
	CASE(of_many_at_once_the_last_is_answered);
	CASE(one_that_stood_still_is_told_so);
	CASE(a_jump_of_the_clock_is_told_and_a_suspended_host_as_a_standstill);
	CASE(a_guest_that_reads_nothing_holds_nobody_up);
	CASE(a_guest_that_goes_or_never_came_is_not_missed);
	return check__done();
}
