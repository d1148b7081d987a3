/* The name of an error number: what the protocol's error codes are. */
#ifndef CAPSA_WIRE_ERRNO_NAME_H
#define CAPSA_WIRE_ERRNO_NAME_H

/* "ENOENT" for ENOENT; "EIO" for a number without a name here. Takes either sign. */
const char *errno_name(int error);

#endif
