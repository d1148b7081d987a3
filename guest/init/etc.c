/* /etc/hosts and /etc/resolv.conf, by hosts(5) and resolv.conf(5). */
#include "init/etc.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define HOSTS "/etc/hosts"
#define RESOLV_CONF "/etc/resolv.conf"

static int make_etc(void)
{
	return mkdir("/etc", 0755) && errno != EEXIST ? -errno : 0;
}

/* Shares are virtiofs, which is FUSE; nothing else here is. */
static bool is_of_share(const char *path)
{
	struct statfs at;
	return (statfs(path, &at) == 0 || statfs("/etc", &at) == 0) && at.f_type == FUSE_SUPER_MAGIC;
}

/* A root file system may have a link there, to a service's file that is not: the link makes room. */
static int unlink_dead_link(const char *path)
{
	return access(path, F_OK) && unlink(path) && errno != ENOENT ? -errno : 0;
}

/* Whether what is to come needs a line of its own. */
static bool ends_within_line(FILE *file)
{
	return fseek(file, -1, SEEK_END) == 0 && fgetc(file) != '\n';
}

int etc__add_host(const char *name, const char *ipv4, const char *ipv6)
{
	int err = make_etc();
	if (!err)
		err = is_of_share(HOSTS) ? 1 : unlink_dead_link(HOSTS);
	if (err)
		return err < 0 ? err : 0;
	FILE *file = fopen(HOSTS, "a+e");
	if (!file)
		return -errno;
	if (fprintf(file, "%s%s\t%s\n%s\t%s\n", ends_within_line(file) ? "\n" : "", ipv4, name, ipv6, name) < 0)
		err = -EIO;
	return fclose(file) ? -errno : err;
}

/* "search a b"; nothing without words. */
static int write_words(FILE *file, const char *key, const struct strings *words)
{
	int written = words && words->count ? fprintf(file, "%s", key) : 0;
	for (size_t i = 0; written >= 0 && words && i < words->count; i++)
		written = fprintf(file, " %s%s", words->list[i], i + 1 == words->count ? "\n" : "");
	return written < 0 ? -EIO : 0;
}

int etc__write_resolv_conf(const struct strings *servers, const struct strings *search, const struct strings *options)
{
	int err = make_etc();
	if (err || is_of_share(RESOLV_CONF))
		return err;
	if (unlink(RESOLV_CONF) && errno != ENOENT)
		return -errno;
	FILE *file = fopen(RESOLV_CONF, "wxe");
	if (!file)
		return -errno;
	for (size_t i = 0; i < servers->count; i++)
		if (fprintf(file, "nameserver %s\n", servers->list[i]) < 0)
			err = -EIO;
	if (!err)
		err = write_words(file, "search", search);
	if (!err)
		err = write_words(file, "options", options);
	return fclose(file) ? -errno : err;
}
