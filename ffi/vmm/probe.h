/* What of confinement this machine permits, found out by applying it. */
#ifndef CAPSA_VMM_PROBE_H
#define CAPSA_VMM_PROBE_H

/*
 * Confine a child as the VMM is confined and, unless `qemu` is NULL, another that becomes that program with --version.
 * A line for each layer of each goes to standard output: process, layer, 1 or 0, detail, with tabs between; and for
 * QEMU's end a line "qemu", "exit", its exit code, nothing. Last comes a line "cgroup", "memory", 1 or 0, the cgroup
 * that a child was put into, or why in none. The exit code for this process.
 */
int probe__confinement(const char *qemu);

#endif
