/* Users and groups by name: the files alone, as name services would have to be asked over a network that is not there.
 */
#include "process/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	FILE_LIMIT = 4 << 20, /* bytes of a file that is read */
	FIELDS = 7,           /* of a line of /etc/passwd; /etc/group has four */
};

/* Fields of a line, terminated. */
enum { NAME, PASSWORD, NUMBER, PASSWD_GROUP, GROUP_MEMBERS = 3, PASSWD_HOME = 5 };

/* Open a file that programs in the sandbox may have put anything in place of: a fifo would hold the agent up. Returns a
 * descriptor and its *size, or -errno. */
static int open_file(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err = 0;
	if (fd < 0)
		return -errno;
	struct stat status;
	if (fstat(fd, &status))
		err = -errno;
	else if (!S_ISREG(status.st_mode))
		err = -EINVAL;
	else if (status.st_size > FILE_LIMIT)
		err = -EFBIG;
	if (err) {
		close(fd);
		return err;
	}
	*size = (size_t)status.st_size;
	return fd;
}

/* The whole of a file, terminated, for the caller to free; NULL with *error, -errno. */
static char *read_file(const char *path, int *err)
{
	size_t size = 0, length = 0;
	int fd = open_file(path, &size);
	char *text = fd < 0 ? NULL : malloc(size + 1);
	ssize_t n = 1;
	*err = fd < 0 ? fd : text ? 0 : -ENOMEM;
	while (text && length < size && n > 0) {
		n = read(fd, text + length, size - length);
		length += n > 0 ? (size_t)n : 0;
	}
	if (text)
		text[length] = '\0';
	if (text && n < 0) {
		*err = -errno;
		free(text);
		text = NULL;
	}
	if (fd >= 0)
		close(fd);
	return text;
}

/* The next line that has at least `least` fields, cut apart in place; NULL at the end. *at moves on. */
static bool next_line(char **at, char *fields[FIELDS], size_t least)
{
	size_t count;
	char *line;
	do {
		if (!*at || !**at)
			return false;
		line = strsep(at, "\n");
		for (count = 0; count < FIELDS && line; count++)
			fields[count] = strsep(&line, ":");
	} while (count < least);
	return true;
}

/* A whole decimal number that fits an id; (uid_t)-1 means "unchanged" to the kernel, and is none. */
static bool number(const char *text, uint32_t *value)
{
	uint64_t sum = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		sum = sum * 10 + (uint64_t)(*text - '0');
		if (sum >= UINT32_MAX)
			return false;
	}
	*value = (uint32_t)sum;
	return true;
}

/* Look the user up, by name or number. Returns whether it has an entry. */
static bool find_user(char *passwd, const char *wanted, struct identity *identity)
{
	char *fields[FIELDS];
	uint32_t asked = 0, user, group;
	bool by_number = number(wanted, &asked);
	while (next_line(&passwd, fields, FIELDS)) {
		if (!number(fields[NUMBER], &user) || !number(fields[PASSWD_GROUP], &group) ||
		    (by_number ? user != asked : strcmp(fields[NAME], wanted) != 0))
			continue;
		identity->user = user;
		identity->group = group;
		snprintf(identity->name, sizeof(identity->name), "%s", fields[NAME]);
		snprintf(identity->home, sizeof(identity->home), "%s", fields[PASSWD_HOME]);
		return true;
	}
	return false;
}

static bool find_group(char *groups, const char *wanted, gid_t *group)
{
	char *fields[FIELDS];
	uint32_t value;
	while (next_line(&groups, fields, GROUP_MEMBERS))
		if (strcmp(fields[NAME], wanted) == 0 && number(fields[NUMBER], &value)) {
			*group = value;
			return true;
		}
	return false;
}

static bool is_member(char *members, const char *name)
{
	char *member;
	while ((member = strsep(&members, ",")))
		if (strcmp(member, name) == 0)
			return true;
	return false;
}

static void add_supplementary(char *groups, struct identity *identity)
{
	char *fields[FIELDS];
	uint32_t value;
	while (identity->group_count < IDENTITY_GROUPS && next_line(&groups, fields, GROUP_MEMBERS + 1))
		if (number(fields[NUMBER], &value) && is_member(fields[GROUP_MEMBERS], identity->name))
			identity->groups[identity->group_count++] = value;
}

__attribute__((format(printf, 4, 5))) static int explain(int err, char *text, size_t size, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, size, format, arguments);
	va_end(arguments);
	return err;
}

static int find(const char *user, const char *group, struct identity *identity, char *text, size_t size)
{
	int err = 0;
	char *passwd = read_file("/etc/passwd", &err);
	*identity = (struct identity){0};
	if (err && err != -ENOENT)
		return explain(err, text, size, "user \"%s\": /etc/passwd: %s", user, strerror(-err));
	int known = passwd && find_user(passwd, user, identity);
	free(passwd);
	if (!known && !number(user, &identity->user))
		return explain(-EINVAL, text, size, "user \"%s\": not in the sandbox's /etc/passwd", user);
	if (!known)
		identity->group = identity->user;
	if (group ? number(group, &identity->group) : !known)
		return 0;
	char *groups = read_file("/etc/group", &err);
	if (err && (group || err != -ENOENT))
		return explain(err, text, size, "user \"%s\": /etc/group: %s", user, strerror(-err));
	if (group && !find_group(groups, group, &identity->group))
		err = explain(-EINVAL, text, size, "group \"%s\": not in the sandbox's /etc/group", group);
	else if (!group && groups)
		add_supplementary(groups, identity);
	free(groups);
	return group ? err : 0;
}

int identity__find(struct span wanted, struct identity *identity, char *text, size_t size)
{
	char *user;
	int err = span__copy(wanted, &user);
	if (err)
		return explain(err, text, size, "user: %s", err == -EINVAL ? "a NUL inside" : strerror(-err));
	char *group = user;
	strsep(&group, ":");
	if (*user && (!group || *group))
		err = find(user, group, identity, text, size);
	else
		err = explain(-EINVAL, text, size, "user: \"NAME\" or \"NAME:GROUP\" is wanted");
	free(user);
	return err;
}
