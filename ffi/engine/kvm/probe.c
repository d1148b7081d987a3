/* Whether /dev/kvm runs guest code at speed: a short 64-bit guest loop under a time budget, inside the caller's
 * process and without touching its signals. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "capsa.h"
#include "engine/kvm/probe.h"

/*
 * The guest runs in slices of so many loops until one is fast enough. A processor does a slice in a few microseconds,
 * one emulated by QEMU in some hundred; a KVM that emulates each instruction needs three milliseconds every time.
 */
#define SLICE_LOOPS 3000
#define SLICE_FAST_NS 1200000 /* of the vCPU thread's own processor time: a busy machine does not mislead */

/* How much a slow slice tells against a KVM, one in which the guest got nowhere less than another; and what is enough.
 */
#define SLOW_SLICE 4
#define IDLE_SLICE 1
#define SLOW_ENOUGH 12

#define SET_UP_BUDGETS 20 /* times the caller's budget, before the guest's first instruction */

/* Shared by the caller and the prober thread; whoever lets go last frees it. */
struct probe {
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool is_done;
	int holders;
	uint64_t deadline; /* CLOCK_MONOTONIC, ns: no slice begins later, and the caller waits little longer */
	struct capsa_kvm_probe result;
	uint64_t run_ns; /* how long the guest may run */

	int kvm, vm, vcpu;
	uint8_t *memory;
	struct kvm_run *run;
	size_t run_size;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void probe__let_go(struct probe *probe)
{
	pthread_mutex_lock(&probe->lock);
	bool last = --probe->holders == 0;
	pthread_mutex_unlock(&probe->lock);
	if (!last)
		return;
	pthread_cond_destroy(&probe->done);
	pthread_mutex_destroy(&probe->lock);
	free(probe);
}

static int probe__make_vm(struct probe *probe)
{
	probe->vm = ioctl(probe->kvm, KVM_CREATE_VM, 0);
	if (probe->vm < 0)
		return -errno;
	int error = probe_arch__set_up_vm(probe->kvm, probe->vm);
	if (error)
		return error;
	probe->memory = mmap(NULL, PROBE_GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (probe->memory == MAP_FAILED)
		return -errno;
	struct kvm_userspace_memory_region region = {.memory_size = PROBE_GUEST_SIZE,
						     .userspace_addr = (uintptr_t)probe->memory};
	if (ioctl(probe->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return -errno;
	probe->vcpu = ioctl(probe->vm, KVM_CREATE_VCPU, 0);
	if (probe->vcpu < 0)
		return -errno;
	int size = ioctl(probe->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return size < 0 ? -errno : -EIO;
	probe->run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, probe->vcpu, 0);
	if (probe->run == MAP_FAILED)
		return -errno;
	probe->run_size = (size_t)size;
	return probe_arch__set_up_guest(probe->vcpu, probe->memory);
}

/* Only while KVM_RUN runs is the signal unblocked, for the kernel's eyes: it ends the run and stays pending, so neither
 * a handler nor a default action of the process ever comes into play. */
static int probe__let_signal_end_run(const struct probe *probe, int signal)
{
	const uint64_t all_but_signal = ~(1ULL << (signal - 1));
	union { /* the kernel's struct ends in its own 64-bit signal set */
		struct kvm_signal_mask mask;
		uint8_t bytes[sizeof(struct kvm_signal_mask) + sizeof(all_but_signal)];
	} arg = {.mask.len = sizeof(all_but_signal)};
	memcpy(arg.mask.sigset, &all_but_signal, sizeof(all_but_signal));
	return ioctl(probe->vcpu, KVM_SET_SIGNAL_MASK, &arg) < 0 ? -errno : 0;
}

static void take_signal(int signal)
{
	sigset_t pending;
	sigemptyset(&pending);
	sigaddset(&pending, signal);
	sigtimedwait(&pending, NULL, &(struct timespec){0});
}

/* Run one slice, until `limit` (CLOCK_MONOTONIC, ns) at most; *fast says whether it was done, and at speed. */
static int probe__run_slice(struct probe *probe, timer_t timer, uint64_t limit, bool *fast)
{
	uint64_t left;
	int error = probe_arch__begin(probe->vcpu, SLICE_LOOPS);
	if (error)
		return error;
	struct itimerspec until = {
		.it_value = {.tv_sec = (time_t)(limit / 1000000000), .tv_nsec = (long)(limit % 1000000000)}};
	uint64_t started = now_ns(CLOCK_MONOTONIC), started_cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);
	timer_settime(timer, TIMER_ABSTIME, &until, NULL);
	error = ioctl(probe->vcpu, KVM_RUN, 0) < 0 ? -errno : 0;
	uint64_t cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - started_cpu;
	probe->result.guest_ns += now_ns(CLOCK_MONOTONIC) - started;
	int read = probe_arch__left(probe->vcpu, &left);
	if (read)
		return read;
	if (error == 0 && !probe_arch__has_halted(probe->run))
		return -EIO;
	if (error && error != -EINTR && error != -EAGAIN)
		return error;
	if (left > SLICE_LOOPS)
		return -EIO;
	probe->result.guest_loops += SLICE_LOOPS - left;
	*fast = error == 0 && left == 0 && cpu_ns < SLICE_FAST_NS;
	return 0;
}

/*
 * Slices until one is fast, or enough were slow. One in which the guest did nothing at all tells nothing: a KVM that
 * was just loaded wakes slowly where the machine has other things to do, while one that emulates always gets somewhere.
 */
static int probe__run_slices(struct probe *probe, timer_t timer)
{
	uint64_t limit = probe->deadline;
	unsigned slow = 0;
	bool fast = false;
	int error = 0;
	for (uint64_t now = now_ns(CLOCK_MONOTONIC); !error && !fast; now = now_ns(CLOCK_MONOTONIC)) {
		if (now >= probe->deadline || (now >= limit && slow >= SLOW_ENOUGH))
			break;
		const uint64_t loops = probe->result.guest_loops;
		error = probe__run_slice(probe, timer, now + (loops ? 1 : 2) * probe->run_ns, &fast);
		if (loops == 0 && probe->result.guest_loops > 0)
			limit = now + probe->run_ns;
		if (probe->result.guest_loops > 0)
			slow += probe->result.guest_loops > loops ? SLOW_SLICE : IDLE_SLICE;
	}
	if (!error && probe->result.guest_loops == 0)
		return -ETIMEDOUT;
	probe->result.state = fast ? CAPSA_KVM_OK : CAPSA_KVM_SOFTWARE;
	return error;
}

static int probe__run(struct probe *probe)
{
	const int signal = SIGRTMAX - 1;
	int error = probe__let_signal_end_run(probe, signal);
	if (error)
		return error;
	struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signal};
	event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	timer_t timer;
	if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
		return -errno;
	error = probe__run_slices(probe, timer);
	timer_delete(timer);
	take_signal(signal);
	return error;
}

static void probe__all(struct probe *probe)
{
	probe->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (probe->kvm < 0) {
		probe->result.error = errno;
		probe->result.state = errno == EACCES || errno == EPERM ? CAPSA_KVM_DENIED : CAPSA_KVM_ABSENT;
		return;
	}
	probe->result.api_version = ioctl(probe->kvm, KVM_GET_API_VERSION, 0);
	int error = -ENOTTY;
	if (probe->result.api_version == KVM_API_VERSION)
		error = probe__make_vm(probe);
	if (!error)
		error = probe__run(probe);
	if (error) {
		probe->result.state = CAPSA_KVM_BROKEN;
		probe->result.error = -error;
	}
}

static void probe__clean_up(struct probe *probe)
{
	if (probe->run != MAP_FAILED)
		munmap(probe->run, probe->run_size);
	if (probe->vcpu >= 0)
		close(probe->vcpu);
	if (probe->vm >= 0)
		close(probe->vm);
	if (probe->kvm >= 0)
		close(probe->kvm);
	if (probe->memory != MAP_FAILED)
		munmap(probe->memory, PROBE_GUEST_SIZE);
}

static void *probe__thread(void *arg)
{
	struct probe *probe = arg;
	probe__all(probe);
	pthread_mutex_lock(&probe->lock);
	probe->is_done = true;
	pthread_cond_signal(&probe->done);
	pthread_mutex_unlock(&probe->lock);
	probe__clean_up(probe);
	probe__let_go(probe);
	return NULL;
}

/* The prober's thread starts with every signal blocked: the process's signals stay with the process's threads. */
static int probe__start_thread(struct probe *probe)
{
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_t thread;
	int error = pthread_create(&thread, NULL, probe__thread, probe);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!error)
		pthread_detach(thread);
	return -error;
}

static struct probe *probe__new(uint64_t run_ns)
{
	struct probe *probe = calloc(1, sizeof(*probe));
	if (!probe)
		return NULL;
	probe->kvm = probe->vm = probe->vcpu = -1;
	probe->memory = MAP_FAILED;
	probe->run = MAP_FAILED;
	probe->holders = 1;
	probe->run_ns = run_ns;
	pthread_condattr_t attr;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&probe->done, &attr);
	pthread_condattr_destroy(&attr);
	pthread_mutex_init(&probe->lock, NULL);
	return probe;
}

int32_t capsa_probe_kvm(uint32_t budget_ms, struct capsa_kvm_probe *out)
{
	if (!out || budget_ms == 0)
		return -EINVAL;
	const uint64_t budget_ns = (uint64_t)budget_ms * 1000000;
	struct probe *probe = probe__new(budget_ns / 2);
	if (!probe)
		return -ENOMEM;
	probe->holders++;
	/* Making a machine takes a few milliseconds, many more only where a true KVM has just been loaded. */
	probe->deadline = now_ns(CLOCK_MONOTONIC) + SET_UP_BUDGETS * budget_ns;
	int error = probe__start_thread(probe);
	if (error) {
		probe->holders--;
		probe__let_go(probe);
		return error;
	}
	pthread_mutex_lock(&probe->lock);
	const uint64_t end = probe->deadline + budget_ns;
	const struct timespec until = {.tv_sec = (time_t)(end / 1000000000), .tv_nsec = (long)(end % 1000000000)};
	int waited = 0;
	while (!probe->is_done && waited != ETIMEDOUT)
		waited = pthread_cond_timedwait(&probe->done, &probe->lock, &until);
	if (probe->is_done)
		*out = probe->result;
	else /* a call into KVM has not come back: what it is doing is certainly not running guest code at speed */
		*out = (struct capsa_kvm_probe){.state = CAPSA_KVM_SOFTWARE, .error = ETIMEDOUT, .guest_ns = budget_ns};
	pthread_mutex_unlock(&probe->lock);
	probe__let_go(probe);
	out->cpu_virt = probe_arch__virtualizes();
	return 0;
}
