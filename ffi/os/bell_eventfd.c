/* Bells as Linux has them: what KVM and vhost-user ring is an eventfd. */
#include "os/bell.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int bell__new(void)
{
	int bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return bell < 0 ? -errno : bell;
}

void bell__ring(int bell)
{
	ssize_t ignored = write(bell, &(uint64_t){1}, sizeof(uint64_t));
	(void)ignored;
}

int bell__hear(int bell)
{
	uint64_t count;
	ssize_t n = read(bell, &count, sizeof(count));
	return n < 0 ? -errno : n == (ssize_t)sizeof(count) ? 0 : -EINVAL;
}
