/* An authority whose certificates the guest's programs are to believe, beside those that their root file system has. */
#ifndef CAPSA_INIT_TRUST_H
#define CAPSA_INIT_TRUST_H

/*
 * Put `pem` where TLS libraries look: into the bundle of certificates, wherever the distribution has it, in any case at
 * Debian's place; and among the single ones, by OpenSSL's hash of capsa's name. All of it in the guest's own layer.
 * NULL: nothing is done. Returns 0 or -errno; *what is what failed.
 */
__attribute__((warn_unused_result)) int trust__add(const char *pem, const char **what);

#endif
