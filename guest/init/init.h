/* Init: process 1 of a sandbox, from the kernel's hand-over to power off. */
#ifndef CAPSA_INIT_INIT_H
#define CAPSA_INIT_INIT_H

#include <stdnoreturn.h>

noreturn void init__run(void);

#endif
