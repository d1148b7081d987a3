/* The probe of /dev/kvm: its answers, its time, and that it leaves nothing behind. */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "capsa.h"
#include "check.h"

enum { BUDGET_MS = 50, AT_ONCE = 4 };

static double now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int entries_of(const char *path)
{
	DIR *dir = opendir(path);
	CHECK(dir != NULL);
	int count = 0;
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static bool makes_sense(const struct capsa_kvm_probe *probe)
{
	switch (probe->state) {
	case CAPSA_KVM_OK:
		return probe->error == 0 && probe->api_version == 12 && probe->guest_loops > 0 && probe->guest_ns > 0;
	case CAPSA_KVM_SOFTWARE:
		return probe->guest_ns > 0;
	case CAPSA_KVM_ABSENT:
	case CAPSA_KVM_DENIED:
	case CAPSA_KVM_BROKEN:
		return probe->error != 0;
	default:
		return false;
	}
}

static void the_answer_makes_sense(void)
{
	struct capsa_kvm_probe probe = {.state = -1};
	CHECK_EQ(capsa_probe_kvm(BUDGET_MS, &probe), 0);
	CHECK(makes_sense(&probe));
	if (access("/dev/kvm", F_OK) < 0)
		CHECK_EQ(probe.state, CAPSA_KVM_ABSENT);
}

static void what_cannot_be_answered_is_refused(void)
{
	struct capsa_kvm_probe probe;
	CHECK_EQ(capsa_probe_kvm(BUDGET_MS, NULL), -EINVAL);
	CHECK_EQ(capsa_probe_kvm(0, &probe), -EINVAL);
}

static void a_kvm_that_only_pretends_is_told_in_under_100_ms(void)
{
	struct capsa_kvm_probe probe;
	double best = 1e9;
	for (int round = 0; round < 5; round++) { /* other programs have their turns as well */
		double began = now_ms();
		CHECK_EQ(capsa_probe_kvm(BUDGET_MS, &probe), 0);
		if (probe.state != CAPSA_KVM_SOFTWARE)
			SKIP("the KVM here, if any, does not pretend");
		double took = now_ms() - began;
		best = took < best ? took : best;
	}
	CHECK(best < 100);
}

/* A prober tidies up after it has answered. */
static void wait_until_alone(void)
{
	const int alone = 3; /* ".", ".." and this thread */
	for (int i = 0; i < 5000 && entries_of("/proc/self/task") > alone; i++)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	CHECK_EQ(entries_of("/proc/self/task"), alone);
}

static void nothing_is_left_behind(void)
{
	struct capsa_kvm_probe probe;
	wait_until_alone();
	int files = entries_of("/proc/self/fd");
	for (int round = 0; round < 5; round++)
		CHECK_EQ(capsa_probe_kvm(BUDGET_MS, &probe), 0);
	wait_until_alone();
	CHECK_EQ(entries_of("/proc/self/fd"), files);
}

/* The signal that ends the guest's run has its default action, which would end the process. */
static void signals_stay_as_they_are(void)
{
	struct capsa_kvm_probe probe;
	sigset_t before, after, pending;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	CHECK_EQ(capsa_probe_kvm(BUDGET_MS, &probe), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	CHECK_EQ(sigpending(&pending), 0);
	for (int i = 1; i <= SIGRTMAX; i++) {
		struct sigaction action;
		CHECK_EQ(sigismember(&after, i), sigismember(&before, i));
		CHECK(sigismember(&pending, i) != 1);
		if (i >= SIGRTMIN && sigaction(i, NULL, &action) == 0)
			CHECK(action.sa_handler == SIG_DFL);
	}
}

static void *probe_once(void *result)
{
	struct capsa_kvm_probe probe;
	*(bool *)result = capsa_probe_kvm(BUDGET_MS, &probe) == 0 && makes_sense(&probe);
	return NULL;
}

static void many_threads_may_ask_at_once(void)
{
	pthread_t threads[AT_ONCE];
	bool results[AT_ONCE] = {false};
	for (int i = 0; i < AT_ONCE; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, probe_once, &results[i]), 0);
	for (int i = 0; i < AT_ONCE; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < AT_ONCE; i++)
		CHECK(results[i]);
}

int main(void)
{
	CASE(the_answer_makes_sense);
	CASE(what_cannot_be_answered_is_refused);
	CASE(a_kvm_that_only_pretends_is_told_in_under_100_ms);
	CASE(nothing_is_left_behind);
	CASE(signals_stay_as_they_are);
	CASE(many_threads_may_ask_at_once);
	return check__done();
}
