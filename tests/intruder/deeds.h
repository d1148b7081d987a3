/* What an intruder tries, by its name. */
#ifndef CAPSA_TESTS_DEEDS_H
#define CAPSA_TESTS_DEEDS_H

#define DEED_MAX 512 /* bytes of an argument */
#define DEED_NOT_UNDERSTOOD 9999

/* 0 when it was let through, else the errno with which it was refused, or DEED_NOT_UNDERSTOOD. */
int deeds__act(const char *deed, const char *arg);

#endif
