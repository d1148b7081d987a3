/* What the kernel is told once: names, limits, the loopback interface; and its end. */
#include "init/system.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#ifdef __x86_64__
#include <cpuid.h>
#endif

enum {
	OPEN_FILES_SOFT = 1024,
	OPEN_FILES_HARD = 524288,
	/* bytes the host may send ahead on each connection; the kernel's 256 KiB make large writes a third slower */
	RECEIVE_AHEAD = 1 << 20,
};

void system__hold_standard_streams(void)
{
	int fd;
	do
		fd = open("/", O_RDONLY | O_DIRECTORY);
	while (fd >= 0 && fd < 2);
	if (fd > 2)
		close(fd);
}

void system__open_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

void system__go_first(void)
{
	/* the raw call: libc's says that there is none */
	syscall(SYS_sched_setscheduler, 0, SCHED_FIFO | SCHED_RESET_ON_FORK,
		&(struct sched_param){.sched_priority = 1});
}

static void loopback_up(void)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
		request.ifr_flags |= IFF_UP;
		ioctl(fd, SIOCSIFFLAGS, &request);
	}
	close(fd);
}

/* Whether QEMU emulates the processor: the hypervisor's signature (CPUID leaf 0x40000000) says so. */
static bool is_emulated(void)
{
#ifdef __x86_64__
	unsigned eax, name[3];

	__cpuid(0x40000000, eax, name[0], name[1], name[2]);
	return memcmp(name, "TCGTCGTCGTCG", sizeof(name)) == 0;
#else
	return false;
#endif
}

/* The emulator finds code it has translated by its virtual address: where each process has its libraries elsewhere,
 * every start of a program is translated anew, which takes 3 to 5 times as long. The wall around a sandbox is the
 * machine. */
static void fix_addresses(void)
{
	int fd = open("/proc/sys/kernel/randomize_va_space", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "0", 1) < 0)
		perror("capsa-init: randomize_va_space");
	close(fd);
}

void system__configure(const char *hostname)
{
	const struct rlimit files = {.rlim_cur = OPEN_FILES_SOFT, .rlim_max = OPEN_FILES_HARD};
	const struct rlimit core = {.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
	umask(022);
	sethostname(hostname, strlen(hostname));
	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_CORE, &core);
	reboot(RB_DISABLE_CAD);
	loopback_up();
	if (is_emulated())
		fix_addresses();
}

uint64_t system__boottime(void)
{
	struct timespec now;
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int system__listen(uint32_t port)
{
	struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
	const unsigned long long ahead = RECEIVE_AHEAD;
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* accepted connections inherit it; without it they are slower, that is all */
	setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_MAX_SIZE, &ahead, sizeof(ahead));
	setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &ahead, sizeof(ahead));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, 128)) {
		int err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

noreturn void system__end(void)
{
	sync();
	/* by reset, which every machine here takes as its end; without ACPI there is no power to switch off */
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}
