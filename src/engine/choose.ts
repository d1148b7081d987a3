/** Which engine runs a sandbox, and what to tell the user about it. */

import { HostError } from "../errors/errors.ts";
import { type KvmProbe, probeKvm } from "./library.ts";

export type Engine = "kvm" | "qemu";

/** Enough for a true KVM to run the probe's guest many times over. */
const PROBE_BUDGET_MS = 50;

interface Choice {
  readonly engine: Engine;
  /** One line for the user, where the choice costs something. */
  readonly notice?: string;
}

/**
 * The engine for what was asked: `auto` is `CAPSA_ENGINE`, else KVM where a probe ran guest code at speed, else QEMU.
 * Throws {@link HostError} `KVM_UNUSABLE` when `kvm` was asked for by name and cannot be.
 */
export function chooseEngine(
  asked: "auto" | Engine,
  probe: () => KvmProbe = probeOnce,
  environment: string | undefined = process.env.CAPSA_ENGINE,
): Choice {
  const wanted = asked === "auto" ? fromEnvironment(environment) : asked;
  if (wanted === "qemu") return { engine: "qemu" };
  const result = probe();
  if (result.state === "ok") return { engine: "kvm" };
  const { why, mend } = explainProbe(result);
  if (wanted === "kvm") throw new HostError("KVM_UNUSABLE", `KVM cannot be used: ${why}`, { hint: mend });
  return {
    engine: "qemu",
    notice: `engine qemu: ${why}; software emulation runs programs several times slower than KVM`,
  };
}

let found: KvmProbe | undefined;

/** Once a process: what the machine can do does not change under it. */
function probeOnce(): KvmProbe {
  found ??= probeKvm(PROBE_BUDGET_MS);
  return found;
}

function fromEnvironment(value: string | undefined): "auto" | Engine {
  if (value === undefined || value === "" || value === "auto") return "auto";
  if (value === "kvm" || value === "qemu") return value;
  throw new HostError("SPEC_INVALID", `CAPSA_ENGINE is "${value}"; it may be auto, kvm or qemu`);
}

/** What a probe found in words, and what to do about it. */
export function explainProbe(probe: KvmProbe): { readonly why: string; readonly mend: string } {
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
      return { why: "this build of capsa has no KVM engine", mend: "build it for Linux on x86-64" };
  }
}
