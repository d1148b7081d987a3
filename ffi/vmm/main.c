/* capsa-vmm: reads its configuration, splits into keeper and VMM, and leaves with the VMM's exit code. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/errno_name.h"
#include "vmm/build/handover.h"
#include "vmm/keeper/cleanup.h"
#include "vmm/keeper/keeper.h"
#include "vmm/probe.h"
#include "vmm/vmm.h"

#define MAX_CONFIG (1U << 20)

#ifdef __SANITIZE_ADDRESS__
/* LeakSanitizer stops and traces its own process to look for leaks, which a confined one cannot. */
__attribute__((visibility("default"))) int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0;
}
#endif

static int read_config(struct vmm_config *config, struct failure *why)
{
	struct stat st;
	if (fstat(HANDOVER_CONFIG, &st) < 0 || st.st_size <= 0 || st.st_size > (off_t)MAX_CONFIG)
		return failure__set(why, EINVAL, "CONFIG_INVALID", "the VMM got no configuration");
	size_t len = (size_t)st.st_size;
	uint8_t *encoded = malloc(len);
	if (!encoded)
		return failure__set(why, ENOMEM, NULL, "no memory for the VMM's configuration");
	int err = pread(HANDOVER_CONFIG, encoded, len, 0) == (ssize_t)len
			  ? vmm_config__read(config, encoded, len, why)
			  : failure__set(why, EIO, NULL, "the VMM's configuration cannot be read");
	free(encoded);
	return err;
}

/* A vsock stream and an open file of a share each hold a descriptor, and there may be thousands. */
static void allow_open_files(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

int main(int argc, char *argv[])
{
	if (argc > 1 && strcmp(argv[1], "confinement") == 0)
		return probe__confinement(argc > 2 ? argv[2] : NULL);
	uint64_t began = monotonic_ns();
	struct vmm_config config = {.version = 0};
	struct failure why;
	struct stat st;
	if (fstat(HANDOVER_CONTROL, &st) < 0 || !S_ISSOCK(st.st_mode)) {
		fputs("capsa-vmm: started by libcapsa, not by hand; `capsa up` starts a sandbox\n", stderr);
		return 2;
	}
	fcntl(HANDOVER_CONTROL, F_SETFD, FD_CLOEXEC);
	int err = read_config(&config, &why);
	fcntl(HANDOVER_CONFIG, F_SETFD, FD_CLOEXEC); /* keeper__split puts something else there */
	if (err) {
		control__last_words(HANDOVER_CONTROL, &why);
		return 1;
	}
	if (config.detached || isatty(STDERR_FILENO)) /* who was taken over would read its keys */
		stdio__detach();
	for (unsigned i = 0; i < vmm_config__lans(&config); i++)
		fcntl(HANDOVER_LISTENERS + (int)i, F_SETFD, FD_CLOEXEC);
	allow_open_files();
	struct keeper keeper = {.link = -1};
	int code = 1;
	err = chdir("/") < 0 ? failure__set(&why, errno, NULL, "cannot change to /")
			     : cleanup__check(config.runtime_dir, &why);
	if (!err) {
		err = keeper__split(&keeper, &config, HANDOVER_CONTROL);
		if (err < 0)
			(void)!failure__set(&why, -err, NULL, "the VMM cannot start its keeper (%s)", errno_name(-err));
	}
	if (err < 0)
		control__last_words(HANDOVER_CONTROL, &why);
	else
		code = err ? keeper__watch(&keeper) : vmm__run(&config, &keeper, began);
	vmm_config__free(&config);
	return code;
}
