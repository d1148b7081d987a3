/** Engine `kvm`: the monitor's own vCPUs on /dev/kvm, where a probe ran guest code at speed. */

import { HostError } from "../errors/errors.ts";
import type { Engine, Look } from "./engine.ts";
import { rememberedProbe, thisMachine } from "./kvm_memory.ts";
import { type KvmProbe, probeKvm } from "./library.ts";

/** Enough for a true KVM to run the probe's guest many times over. */
const PROBE_BUDGET_MS = 50;

let found: KvmProbe | undefined;

export const kvm: Engine = {
  look: () => {
    // what the machine can do does not change under a process
    found ??= rememberedProbe(() => probeKvm(PROBE_BUDGET_MS), thisMachine());
    return lookOf(found);
  },
};

/** What a probe found, in words. */
export function lookOf(probe: KvmProbe): Look {
  const { why, mend } = explain(probe);
  const refusal = new HostError("KVM_UNUSABLE", `KVM cannot be used: ${why}`, { hint: mend });
  return { what: "/dev/kvm", found: why, ...(probe.state === "ok" ? {} : { refusal }) };
}

function explain(probe: KvmProbe): { readonly why: string; readonly mend: string } {
  const detail = probe.error === undefined ? "" : ` (${probe.error})`;
  switch (probe.state) {
    case "ok":
      return { why: "/dev/kvm runs guest code at full speed", mend: "nothing to do" };
    case "absent":
      return {
        why: "there is no /dev/kvm",
        mend: probe.cpuVirtualization
          ? "load the module: `modprobe kvm_intel` or `modprobe kvm_amd`"
          : "switch virtualization on in the firmware, or nested virtualization on in the hypervisor of this machine",
      };
    case "denied":
      return {
        why: "/dev/kvm may not be opened",
        mend: "join its group: `usermod -aG kvm $USER`, then log in again",
      };
    case "software":
      return {
        why: `/dev/kvm answers but emulates: ${probe.guestLoops} rounds in ${probe.guestMs.toFixed(1)} ms`,
        mend: "run on a machine, or a VM, with hardware virtualization",
      };
    case "broken":
      return {
        why: `/dev/kvm answers but cannot run a 64-bit guest${detail}`,
        mend: "run on a machine, or a VM, with hardware virtualization",
      };
    case "unsupported":
      return {
        why: "this build of capsa has no KVM engine",
        mend: "build it on x86-64 with kvm among the ENGINES of ffi/Makefile",
      };
  }
}
