/* no_new_privs, limits and capabilities. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine/linux/internal.h"

int layer__privileges(struct confine_work *work, struct confine_detail detail)
{
	(void)work;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		int error = errno;
		detail__say(detail, "prctl: %s", strerror(error));
		return -error;
	}
	detail__say(detail, "no_new_privs");
	return 0;
}

static int lower(int resource, rlim_t to)
{
	struct rlimit limit;
	if (getrlimit(resource, &limit) < 0)
		return -errno;
	limit.rlim_max = limit.rlim_max < to ? limit.rlim_max : to;
	limit.rlim_cur = limit.rlim_max;
	return setrlimit(resource, &limit) < 0 ? -errno : 0;
}

#define MOST_STACK (8U << 20)

/* A thread's stack is data as a whole, whatever of it is used, and some users have large ones: of this process's next
 * threads, and of a program that it becomes. */
static int limit_stacks(void)
{
	pthread_attr_t attr;
	size_t size;
	int error = pthread_getattr_default_np(&attr);
	if (error)
		return -error;
	if (pthread_attr_getstacksize(&attr, &size) == 0 && size > MOST_STACK) {
		pthread_attr_setstacksize(&attr, MOST_STACK);
		error = pthread_setattr_default_np(&attr);
	}
	pthread_attr_destroy(&attr);
	return error ? -error : lower(RLIMIT_STACK, MOST_STACK);
}

/* What a process maps to write and shares with nobody. */
static int limit_data(const struct confine_request *request, char *told, size_t size)
{
	*told = 0;
	if (!request->data)
		return 0;
	snprintf(told, size, ", %llu MiB of data", (unsigned long long)request->data >> 20);
	int error = limit_stacks();
	return error ? error : lower(RLIMIT_DATA, request->data);
}

int layer__limits(struct confine_work *work, struct confine_detail detail)
{
	char data[48];
	int error = lower(RLIMIT_CORE, 0);
	if (!error)
		error = lower(RLIMIT_MSGQUEUE, 0);
	if (!error)
		error = limit_data(work->request, data, sizeof(data));
	if (!error && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		error = -errno;
	if (error)
		detail__say(detail, "setrlimit, prctl: %s", strerror(-error));
	else
		detail__say(detail, "no core files, no message queues, no debugger%s", data);
	return error;
}

#define MOST_DESCRIPTORS 1024

/*
 * The program is executed by a descriptor whose number is the limit of them: once it is closed, which executing does,
 * none has that number again, and the one call that executes is of no use to anybody else.
 */
static int limit_descriptors(struct confine_work *work)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -errno;
	rlim_t most = limit.rlim_cur > MOST_DESCRIPTORS ? MOST_DESCRIPTORS : limit.rlim_cur / 2;
	int last = fcntl(work->program, F_DUPFD_CLOEXEC, (int)most);
	if (last < 0)
		return -errno;
	close(work->program);
	work->program = last;
	return lower(RLIMIT_NOFILE, (rlim_t)last);
}

/* A limit of one byte keeps a core file from a pipe as well, to which the kernel lets any other limit pass. */
int program__limits(struct confine_work *work, struct confine_detail detail)
{
	char data[48];
	int error = lower(RLIMIT_CORE, 1);
	if (!error)
		error = lower(RLIMIT_MSGQUEUE, 0);
	if (!error)
		error = limit_data(work->request, data, sizeof(data));
	if (!error)
		error = limit_descriptors(work);
	if (error)
		detail__say(detail, "setrlimit: %s", strerror(-error));
	else
		detail__say(detail, "no core files, no message queues, %d descriptors%s", work->program, data);
	return error;
}

/* Root serves the files of all users; what that takes, and nothing else, is kept. */
static uint64_t wanted_capabilities(const struct confine_request *request)
{
	bool writes = false;
	for (unsigned i = 0; i < request->share_count; i++)
		writes |= !request->shares[i].read_only;
	uint64_t wanted = request->share_count ? 1ULL << CAP_DAC_OVERRIDE : 0;
	if (writes)
		wanted |= 1ULL << CAP_CHOWN | 1ULL << CAP_FOWNER | 1ULL << CAP_FSETID;
	return wanted;
}

int layer__capabilities(struct confine_work *work, struct confine_detail detail)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
	if (syscall(SYS_capget, &header, data) < 0) {
		detail__say(detail, "capget: %s", strerror(errno));
		return -errno;
	}
	/* Capabilities over a user namespace made a moment ago are not over the host's files: none of those is kept. */
	const uint64_t held = data[0].permitted | (uint64_t)data[1].permitted << 32;
	const uint64_t kept = geteuid() == 0 ? held & wanted_capabilities(work->request) : 0;
	for (int i = 0; i <= CAP_LAST_CAP && held >> CAP_SETPCAP & 1; i++)
		if (!(kept >> i & 1))
			prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	data[0] = (struct __user_cap_data_struct){.effective = (uint32_t)kept, .permitted = (uint32_t)kept};
	data[1] = (struct __user_cap_data_struct){.effective = (uint32_t)(kept >> 32),
						  .permitted = (uint32_t)(kept >> 32)};
	if (syscall(SYS_capset, &header, data) < 0) {
		detail__say(detail, "capset: %s", strerror(errno));
		return -errno;
	}
	detail__say(detail, kept ? "all dropped but those over the shares' files" : "none left");
	return 0;
}
