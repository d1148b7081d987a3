/* Run a program as on a machine that lacks what the named layers of confinement are made of.
 * Usage: without LAYER[,LAYER…] PROGRAM [ARGUMENT…]     LAYER: namespaces, files, syscalls */
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int lack(scmp_filter_ctx filter, const char *layer)
{
	static const unsigned long namespaces[] = {CLONE_NEWNS,   CLONE_NEWUTS, CLONE_NEWIPC,
						   CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET};
	int error = 0;
	if (strcmp(layer, "files") == 0)
		return seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(landlock_create_ruleset), 0);
	if (strcmp(layer, "syscalls") == 0) {
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(seccomp), 0);
		return error ? error
			     : seccomp_rule_add(filter, SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1,
						SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP));
	}
	if (strcmp(layer, "namespaces") != 0)
		return -EINVAL;
	for (unsigned i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]) && !error; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
					 SCMP_A0(SCMP_CMP_MASKED_EQ, namespaces[i], namespaces[i]));
	if (!error)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 0);
	return error ? error : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

int main(int argc, char *argv[])
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int error = filter && argc > 2 ? 0 : -EINVAL;
	for (char *layer = argc > 2 ? strtok(argv[1], ",") : NULL; layer && !error; layer = strtok(NULL, ","))
		error = lack(filter, layer);
	if (!error)
		error = seccomp_load(filter);
	if (!error) {
		execvp(argv[2], argv + 2);
		error = -errno;
	}
	fprintf(stderr, "without: %s\n", strerror(-error));
	return 125;
}
