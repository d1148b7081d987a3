/* The name of an error number: what the error codes of both protocols are. */
#ifndef CAPSA_COMMON_ERRNO_NAME_H
#define CAPSA_COMMON_ERRNO_NAME_H

/* "ENOENT" for ENOENT; "EIO" for a number without a name here. Takes either sign. */
const char *errno_name(int err);

#endif
