/** Cgroups by a kernel that has them, where this is root: what most machines that build capsa lack. */
import "../unit/vmm/hold.test.ts";
