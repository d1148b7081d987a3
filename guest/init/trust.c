/* Trust in an authority: three files below /etc, as there is no call that all TLS libraries would obey. */
#include "init/trust.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "process/directories.h"

#define DIRECTORY "/etc/ssl/certs"
#define BUNDLE DIRECTORY "/ca-certificates.crt" /* Debian, Alpine, Arch */
#define ALONE DIRECTORY "/capsa.pem"
/* `openssl x509 -subject_hash` of the one name that src/secrets/authority.ts gives it */
#define HASHED DIRECTORY "/0b2e654a.0"

/* Where others have their bundle. */
static const char *const elsewhere[] = {"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "/etc/ssl/ca-bundle.pem",
					"/etc/ssl/cert.pem"};

static int append(const char *path, int flags, const char *pem)
{
	size_t length = strlen(pem);
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | flags, 0644), err = 0;
	if (fd < 0)
		return -errno;
	/* what is there may not end its last line */
	if (write(fd, "\n", 1) != 1 || write(fd, pem, length) != (ssize_t)length)
		err = errno ? -errno : -EIO;
	close(fd);
	return err;
}

/* Into each bundle there is; the first of them is Debian's, too, where that is missing, or a link to nowhere. */
static int add_to_bundles(const char *pem)
{
	if (access(BUNDLE, F_OK) && unlink(BUNDLE) && errno != ENOENT)
		return -errno;
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(*elsewhere); i++) {
		int err = append(elsewhere[i], 0, pem);
		if (err == -ENOENT)
			continue;
		if (err || (access(BUNDLE, F_OK) && symlink(elsewhere[i], BUNDLE)))
			return err ? err : -errno;
	}
	return append(BUNDLE, O_CREAT, pem);
}

int trust__add(const char *pem, const char **what)
{
	if (!pem)
		return 0;
	*what = "trust: " DIRECTORY " cannot be made";
	int err = directories__make(DIRECTORY);
	if (err)
		return err;
	*what = "trust: " BUNDLE " cannot be written";
	err = add_to_bundles(pem);
	if (err)
		return err;
	*what = "trust: " ALONE " cannot be written";
	if ((unlink(ALONE) && errno != ENOENT) || (unlink(HASHED) && errno != ENOENT))
		return -errno;
	err = append(ALONE, O_CREAT | O_EXCL, pem);
	if (err)
		return err;
	return symlink("capsa.pem", HASHED) ? -errno : 0;
}
