/* Who a program runs as: users and groups by the names that /etc/passwd and /etc/group give them. */
#ifndef CAPSA_PROCESS_IDENTITY_H
#define CAPSA_PROCESS_IDENTITY_H

#include <sys/types.h>

#include "common/reader.h"

enum { IDENTITY_GROUPS = 256, IDENTITY_NAME = 64, IDENTITY_HOME = 1024 };

struct identity {
	uid_t user;
	gid_t group;
	gid_t groups[IDENTITY_GROUPS]; /* supplementary */
	size_t group_count;
	char name[IDENTITY_NAME], home[IDENTITY_HOME]; /* "" where /etc/passwd has no such user */
};

/*
 * "USER" or "USER:GROUP", each a name or a number. A user with an entry in /etc/passwd has the group it says, and
 * without GROUP the supplementary groups that list it in /etc/group; another number has the group of that number. A
 * name that is only digits is taken for a number.
 *
 * Returns 0, or -errno with a sentence in `text`: -EINVAL for a name that is not there, or what cannot be one.
 */
__attribute__((warn_unused_result)) int identity__find(struct span wanted, struct identity *identity, char *text,
						       size_t size);

#endif
