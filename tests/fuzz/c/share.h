/* What fuzzers of virtio-fs share: a share in a fresh directory with a secret beside it, what the host changes there,
 * and what a guest has seen of numbers. */
#ifndef FUZZ_SHARE_H
#define FUZZ_SHARE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "input.h"

enum {
	SEEN = 32,
	FILE_MAX = 1 << 20, /* bytes a file of the share may have */
};

static char top[] = "share-XXXXXX", secret[64], share[64], layer[64];
static int home; /* the working directory, from which a session that watches goes away */
static const char words[] = "not to be changed";

/* Of the share, where share__plant was called: two files that are there, the first by the name "s/r" too, and one that
 * is not. */
static const char *const protected[] = {"p", "q/p", "q/n"};
static struct stat protected_before[2];
static bool planted;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	require(!S_ISBLK(st->st_mode) && (!S_ISCHR(st->st_mode) || !st->st_rdev)); /* whiteouts alone */
	if (type == FTW_DNR || type == FTW_DP)
		chmod(path, 0700);
	return at->level == 0 ? 0 : type == FTW_DP || type == FTW_DNR ? rmdir(path) : unlink(path);
}

static void empty(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void clean_up(void)
{
	require(!fchdir(home));
	empty(top);
	rmdir(top);
}

/* Once, before all inputs. */
static void share__set_up(void)
{
	struct rlimit limit = {.rlim_cur = FILE_MAX, .rlim_max = RLIM_INFINITY};
	home = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	require(home >= 0 && mkdtemp(top) != NULL);
	atexit(clean_up);
	snprintf(secret, sizeof(secret), "%s/secret", top);
	snprintf(share, sizeof(share), "%s/share", top);
	snprintf(layer, sizeof(layer), "%s/layer", top);
	FILE *f = fopen(secret, "w");
	require(f && fputs(words, f) >= 0 && !fclose(f) && !mkdir(share, 0700));
	sigset_t too_large; /* blocked, not ignored: libFuzzer sets handlers of its own */
	sigemptyset(&too_large);
	sigaddset(&too_large, SIGXFSZ);
	require(!sigprocmask(SIG_BLOCK, &too_large, NULL));
	require(!setrlimit(RLIMIT_FSIZE, &limit));
}

/* One that takes what is changed in the share: a descriptor. */
static int share__layer(void)
{
	char path[80];
	require(!mkdir(layer, 0700) || errno == EEXIST);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", layer, i ? "work" : "upper");
		require(!mkdir(path, 0700));
	}
	return open(layer, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void path_of(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%s/%s", share, name);
}

/* What is protected, afresh for an input. */
static void share__plant(void)
{
	planted = true;
	char path[80], other[80];
	path_of(path, sizeof(path), "q");
	path_of(other, sizeof(other), "s");
	require(!mkdir(path, 0700) && !mkdir(other, 0700));
	for (unsigned i = 0; i < 2; i++) {
		path_of(path, sizeof(path), protected[i]);
		FILE *f = fopen(path, "w");
		require(f && fputs(words, f) >= 0 && !fclose(f));
	}
	path_of(path, sizeof(path), "p");
	path_of(other, sizeof(other), "s/r");
	require(!link(path, other));
	for (unsigned i = 0; i < 2; i++) {
		path_of(path, sizeof(path), protected[i]);
		require(!lstat(path, &protected_before[i]));
	}
}

static void check_planted(void)
{
	char path[80], text[64];
	struct stat st;
	path_of(path, sizeof(path), "q");
	chmod(path, 0700);
	for (unsigned i = 0; i < 2; i++) {
		const struct stat *before = &protected_before[i];
		path_of(path, sizeof(path), protected[i]);
		require(!lstat(path, &st) && st.st_ino == before->st_ino && st.st_mode == before->st_mode);
		require(!memcmp(&st.st_mtim, &before->st_mtim, sizeof(st.st_mtim)));
		FILE *f = fopen(path, "r");
		memset(text, 0, sizeof(text));
		require(f && fread(text, 1, sizeof(text), f) == sizeof(words) - 1 && !strcmp(text, words));
		fclose(f);
	}
	path_of(path, sizeof(path), protected[2]);
	require(lstat(path, &st) && errno == ENOENT);
}

/* After each input: what lies beside the share, or is protected in it, is as it was; and the share is empty again. */
static void share__check(void)
{
	char text[64] = {0};
	require(!fchdir(home));
	FILE *f = fopen(secret, "r");
	require(f && fread(text, 1, sizeof(text), f) == sizeof(words) - 1 && !strcmp(text, words));
	fclose(f);
	chmod(share, 0700);
	if (planted)
		check_planted();
	empty(share);
	chmod(share, 0700);
	empty(layer);
}

static void host_changes(uint8_t what)
{
	char path[80], other[80];
	require(!fchdir(home));
	snprintf(path, sizeof(path), "%s/%c", share, 'a' + what % 4);
	snprintf(other, sizeof(other), "%s/%c", share, 'a' + (what >> 2) % 4);
	struct stat st;
	if (planted && !lstat(path, &st) &&
	    st.st_ino == protected_before[0].st_ino) /* the guest has moved "s/r" there */
		return;
	switch (what >> 4 & 3) {
	case 0:
		(void)!mkdir(path, 0700);
		break;
	case 1:
		(void)!remove(path);
		break;
	case 2:
		(void)!rename(path, other);
		break;
	default:
		close(open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
	}
}

/* Numbers of nodes, or of handles, that the guest was told. */
struct seen {
	uint64_t numbers[SEEN];
	unsigned count;
};

static void see(struct seen *seen, uint64_t number)
{
	seen->numbers[seen->count++ % SEEN] = number;
}

static uint64_t pick(const struct seen *seen, uint8_t which)
{
	unsigned count = seen->count < SEEN ? seen->count : SEEN;
	return count ? seen->numbers[which % count] : which;
}

/* What a reply of `got` bytes behind its header tells of numbers. */
static void see_reply(const uint8_t *payload, size_t got, struct seen *nodes, struct seen *handles)
{
	uint64_t number;
	if (got < sizeof(number))
		return;
	memcpy(&number, payload, sizeof(number));
	see(got >= sizeof(struct fuse_entry_out) ? nodes : handles, number);
	if (got == sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out)) {
		memcpy(&number, payload + sizeof(struct fuse_entry_out), sizeof(number));
		see(handles, number);
	}
}

/* Leave out of a request what is slow, and has nothing to find; false where that is all of it. */
static bool quicken(uint8_t op, uint8_t *body, size_t n)
{
	if (op == FUSE_SYNCFS || op == FUSE_FSYNC || op == FUSE_FSYNCDIR)
		return false;
	if ((op == FUSE_OPEN || op == FUSE_CREATE || op == FUSE_TMPFILE) && n >= 4) { /* O_SYNC */
		body[1] &= (uint8_t)~0x10;
		body[2] &= (uint8_t)~0x10;
	}
	if (op == FUSE_FALLOCATE && n >= sizeof(struct fuse_fallocate_in)) {
		struct fuse_fallocate_in in; /* blocks past the end are not bounded by the limit of sizes */
		memcpy(&in, body, sizeof(in));
		in.offset %= FILE_MAX;
		in.length %= FILE_MAX;
		memcpy(body, &in, sizeof(in));
	}
	return true;
}

#endif
