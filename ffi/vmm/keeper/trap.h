/* What happens to a VMM that makes a system call it never makes. */
#ifndef CAPSA_VMM_KEEPER_TRAP_H
#define CAPSA_VMM_KEEPER_TRAP_H

/* From now on SIGSYS, as the filter of confine/syscalls.c has it sent, ends the process; its keeper is told which call
 * it was, over LINK_FD. Before the filter, whose calls leave no way to take it back. 0 or -errno. */
__attribute__((warn_unused_result)) int trap__install(void);

/* What the handler does. */
__attribute__((noreturn)) void trap__end(int call);

#endif
