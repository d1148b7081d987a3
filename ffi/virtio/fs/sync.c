/* FUSE_SYNCFS, for which there is but syncfs(2): it writes out the host's whole file system, whoever wrote there. So it
 * is called only for a share that was changed since the last one, and seldom where a guest does not cease to ask. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/clock.h"
#include "virtio/fs/internal.h"

#define SECOND 1000000000ULL
#define BURST (8 * SECOND) /* of debt: what may follow upon one another */

uint64_t sync__wait_ms(const struct fs_session *s)
{
	uint64_t now = monotonic_ns();
	return s->sync_debt_until > now + BURST ? (s->sync_debt_until - now - BURST) / 1000000 + 1 : 0;
}

int sync__share(struct fs_session *s, struct fs_share *share)
{
	uint64_t began = monotonic_ns();
	int fd = inode__open(s, share->root, O_RDONLY);
	if (fd < 0)
		return fd;
	share->unsynced = false; /* before: what is written meanwhile counts */
	int err = syncfs(fd) ? -errno : 0;
	close(fd);
	share->unsynced = share->unsynced || err;
	uint64_t now = monotonic_ns(), cost = 2 * (now - began);
	if (s->sync_debt_until < now)
		s->sync_debt_until = now;
	s->sync_debt_until += cost > SECOND ? cost : SECOND;
	return err;
}

int op__syncfs(struct fs_request *req)
{
	if (!req->share || req->share->read_only || !req->share->unsynced)
		return 0;
	return sync__wait_ms(req->session) ? FS_WAIT : sync__share(req->session, req->share);
}
