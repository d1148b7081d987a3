/* Why something could not be done, in words for the user: a stable code and one sentence with the mend in it. */
#ifndef CAPSA_COMMON_FAILURE_H
#define CAPSA_COMMON_FAILURE_H

struct failure {
	char code[32];     /* errno name ("ENOENT") or a capsa code ("ENGINE_FAILED") */
	char message[512]; /* what, where, why, what to do; one line of UTF-8 */
};

/* Fill in *failure (NULL is allowed) and return -error. `code` NULL: the name of `error`. */
__attribute__((warn_unused_result, format(printf, 4, 5))) int failure__set(struct failure *failure, int error,
									   const char *code, const char *format, ...);

#endif
