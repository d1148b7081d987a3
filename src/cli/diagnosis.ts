/** What this machine and this installation can do for a sandbox: each finding, and the mend where there is one. */
import { dlopen } from "bun:ffi";
import { accessSync, constants, statfsSync } from "node:fs";
import { checkStaging } from "../changes/staging.ts";
import { chooseEngine, explainProbe } from "../engine/choose.ts";
import { type KvmProbe, probeKvm } from "../engine/library.ts";
import { CapsaError } from "../errors/errors.ts";
import { runtimeBase } from "../host/directories.ts";
import { initramfsPath, kernelPath, qemuPath, vmmPath } from "../host/installation.ts";
import { confinement } from "./confinement.ts";
import { names } from "./names.ts";

export interface Finding {
  readonly name: string;
  /** `note`: sandboxes start, but something is slower or weaker; `bad`: none can start. */
  readonly state: "ok" | "note" | "bad";
  readonly found: string;
  readonly mend?: string;
}

const PROBE_BUDGET_MS = 50;
const MIB = 1024 ** 2;
/** Room that a start needs for its initramfs, sockets and logs. */
const LEAST_ROOM = 64 * MIB;

/** Every check, in the order in which a start would meet them. */
export async function diagnose(): Promise<Finding[]> {
  const engines = engine();
  return [
    ...engines,
    await checked("kernel", async () => usable(await kernelPath(), constants.R_OK)),
    await checked("guest", () => usable(initramfsPath(), constants.R_OK)),
    await checked("monitor", () => usable(vmmPath(), constants.X_OK)),
    network(),
    await checked("names", () => names()),
    await checked("runtime directory", () => room(runtimeBase())),
    transactions(),
    ...cages(engines.some(({ name, state }) => name === "QEMU" && state === "ok")),
  ];
}

/** What runs the processors, and why. */
function engine(): Finding[] {
  let probe: KvmProbe;
  try {
    probe = probeKvm(PROBE_BUDGET_MS);
  } catch (error) {
    return [failed("library", error)];
  }
  const { why, mend } = explainProbe(probe);
  const found = probe.state === "software" ? `a software KVM: ${why}` : why;
  const kvm: Finding = {
    name: "/dev/kvm",
    found,
    ...(probe.state === "ok" ? { state: "ok" } : { state: "note", mend }),
  };
  try {
    const choice = chooseEngine("auto", () => probe);
    if (choice.engine === "kvm") return [kvm, { name: "engine", state: "ok", found: "kvm" }];
    const reason = choice.notice ? `because ${why}` : "because CAPSA_ENGINE says so";
    return [
      kvm,
      {
        name: "engine",
        state: "note",
        found: `qemu, ${reason}; software emulation runs programs several times slower than KVM`,
      },
      { name: "QEMU", state: "ok", found: version(qemuPath()) },
    ];
  } catch (error) {
    return [kvm, failed("engine", error)];
  }
}

function version(qemu: string): string {
  const { stdout } = Bun.spawnSync([qemu, "--version"], { stdin: "ignore", stderr: "ignore" });
  const number = /version (\S+)/.exec(stdout.toString())?.[1];
  return number ? `${qemu}, version ${number}` : qemu;
}

/** A file of this installation, which this user has to be able to read, or to run. */
function usable(path: string, access: number): Omit<Finding, "name"> {
  try {
    accessSync(path, access);
    return { state: "ok", found: path };
  } catch {
    return {
      state: "bad",
      found: `${path} is not accessible to this user`,
      mend: `give access, or run \`make setup\` as this user`,
    };
  }
}

/** What the monitor of a sandbox with a network links with. */
function network(): Finding {
  const library = "libslirp.so.0";
  try {
    dlopen(library, { slirp_version_string: { returns: "cstring" } }).close();
    return { name: "network", state: "ok", found: library };
  } catch {
    const found = `${library} is not installed: sandboxes that have a network cannot start`;
    return { name: "network", state: "note", found, mend: "apt-get install libslirp0" };
  }
}

function room(directory: string): Omit<Finding, "name"> {
  const { bavail, bsize } = statfsSync(directory);
  const free = bavail * bsize;
  const found = `${directory}, ${Math.floor(free / MIB)} MiB free`;
  if (free >= LEAST_ROOM) return { state: "ok", found };
  return { state: "bad", found, mend: `make room: a start needs ${LEAST_ROOM / MIB} MiB there` };
}

/** Whether shares can have changes kept; a sandbox without such shares needs none of it. */
function transactions(): Finding {
  const name = "transactions";
  try {
    return { name, state: "ok", found: `changes can be kept in ${checkStaging()}` };
  } catch (error) {
    return { mend: "set XDG_STATE_HOME to a directory of yours", ...failed(name, error), state: "note" };
  }
}

function cages(withQemu: boolean): Finding[] {
  try {
    return confinement(withQemu ? qemuPath() : undefined);
  } catch (error) {
    return [failed("cage", error)];
  }
}

async function checked(
  name: string,
  check: () => Omit<Finding, "name"> | Promise<Omit<Finding, "name">>,
): Promise<Finding> {
  try {
    return { name, ...(await check()) };
  } catch (error) {
    return failed(name, error);
  }
}

function failed(name: string, error: unknown): Finding {
  const hint = error instanceof CapsaError ? error.hint : undefined;
  return { name, state: "bad", found: (error as Error).message, ...(hint ? { mend: hint } : {}) };
}
