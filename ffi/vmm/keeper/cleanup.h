/* What is left to do when a VMM is over: its logs are put away and its runtime directory goes. */
#ifndef CAPSA_VMM_KEEPER_CLEANUP_H
#define CAPSA_VMM_KEEPER_CLEANUP_H

#include <stdint.h>

#include "common/failure.h"

struct vmm_config;

#define CONSOLE_LOG "console.log"
#define EVENTS_LOG "events.log"
#define NETWORK_LOG "network.log"
#define SECRETS_LOG "secrets.log" /* of the proxy beside the VMM (src/secrets/proxy) */

/* Whether `runtime_dir` is a directory one may later remove: this user's, closed to others. 0, or -errno with *why. */
__attribute__((warn_unused_result)) int cleanup__check(const char *runtime_dir, struct failure *why);

/* Move the logs, where they are plain files, to the directory `archive` (NULL: drop them), then remove `runtime_dir`
 * and all it holds, following no symbolic link. Of each log `log_limit` bytes at most are copied where the archive is
 * on another file system. What cannot be removed, within two seconds, is left; calling it twice is fine. */
void cleanup__run(const char *runtime_dir, const char *archive, uint64_t log_limit);

/* The same of the VMM that was started with this. */
void cleanup__after(const struct vmm_config *config);

/* Nobody's terminal any more: standard error goes to /dev/null. */
void stdio__detach(void);

#endif
