/** libcapsa through bun:ffi: starting a monitor, collecting it, probing KVM, network rules (ffi/include/capsa.h). */

import { dlopen, ptr } from "bun:ffi";
import { constants } from "node:os";
import { join } from "node:path";
import { HostError } from "../errors/errors.ts";
import { libraryDirectory } from "../host/installation.ts";
import { errnoName } from "../host/libc.ts";

/** What this code was written for; the library says what it is. */
const ABI_VERSION = 1;

const SYMBOLS = {
  capsa_abi_version: { args: [], returns: "u32" },
  capsa_listen: { args: ["ptr"], returns: "i32" },
  capsa_start_joined: { args: ["ptr", "ptr", "u64", "ptr", "u32", "ptr"], returns: "i32" },
  capsa_reap: { args: ["i32", "ptr"], returns: "i32" },
  capsa_signal: { args: ["i32", "u64", "i32"], returns: "i32" },
  capsa_probe_kvm: { args: ["u32", "ptr"], returns: "i32" },
  capsa_explain: { args: ["ptr", "u64", "ptr", "u64"], returns: "i32" },
} as const;

type Library = ReturnType<typeof dlopen<typeof SYMBOLS>>["symbols"];

let loaded: { directory: string; symbols: Library } | undefined;

function library(): Library {
  const directory = libraryDirectory();
  if (loaded?.directory === directory) return loaded.symbols;
  const path = join(directory, process.platform === "darwin" ? "libcapsa.dylib" : "libcapsa.so");
  let symbols: Library;
  try {
    symbols = dlopen(path, SYMBOLS).symbols;
  } catch (cause) {
    throw new HostError("LIBRARY_MISSING", `libcapsa cannot be loaded from ${path}`, {
      hint: "run `make setup` in capsa's directory, or point CAPSA_LIB_DIR at a build of it",
      cause,
    });
  }
  checkAbi(symbols.capsa_abi_version(), path);
  loaded = { directory, symbols };
  return symbols;
}

/** See whether there is a library of this version. Throws {@link HostError} `LIBRARY_MISSING`, `ABI_MISMATCH`. */
export function checkLibrary(): void {
  library();
}

/** Throws {@link HostError} `ABI_MISMATCH` unless the library at `path` has the version this code was written for. */
export function checkAbi(version: number, path: string): void {
  if (version === ABI_VERSION) return;
  throw new HostError(
    "ABI_MISMATCH",
    `${path} has interface version ${version}, this capsa needs ${ABI_VERSION}`,
    {
      hint: "library and package are of different versions: build both from the same checkout with `make -C ffi`",
    },
  );
}

/** A started monitor: its process id, and a descriptor of its control channel, which the caller takes over. */
interface StartedVmm {
  readonly pid: number;
  readonly control: number;
}

/** A Unix socket for members of a private network to come to: its descriptor. Throws {@link HostError}. */
export function listenForMembers(path: string): number {
  const fd = library().capsa_listen(ptr(Buffer.from(`${path}\0`)));
  if (fd >= 0) return fd;
  throw new HostError(errnoName(-fd), `no socket can be made at ${path} (${errnoName(-fd)})`);
}

/**
 * Start the monitor with an encoded `vmm-config`; `listeners`, one for each of its private networks, are closed here in
 * any case. Throws {@link HostError} with the errno's name.
 */
export function startVmm(program: string, config: Uint8Array, listeners: readonly number[] = []): StartedVmm {
  const path = Buffer.from(`${program}\0`);
  const fds = Int32Array.from([...listeners, -1]); // never empty, which has no address
  const out = new Int32Array(2);
  const count = listeners.length;
  const result = library().capsa_start_joined(
    ptr(path),
    ptr(config),
    config.length,
    ptr(fds),
    count,
    ptr(out),
  );
  if (result < 0) {
    const code = errnoName(-result);
    throw new HostError(code, `${program} could not be started (${code})`);
  }
  return { pid: out[0]!, control: out[1]! };
}

/** Collect an ended monitor; true once it is collected or was none of ours. Never blocks. */
export function reapVmm(pid: number): boolean {
  return library().capsa_reap(pid, ptr(new Int32Array(1))) !== 0;
}

/** Send a signal to the process that has had this number since `start`, of /proc; nobody gets it where that has ended. */
export function signalProcess({ pid, start }: { pid: number; start: string }, signal: NodeJS.Signals): void {
  library().capsa_signal(pid, BigInt(start), constants.signals[signal]);
}

/** What a run of a few guest instructions on /dev/kvm showed (`struct capsa_kvm_probe`). */
export interface KvmProbe {
  readonly state: "ok" | "absent" | "denied" | "software" | "broken" | "unsupported";
  /** errno name of the failing call, where one failed. */
  readonly error: string | undefined;
  readonly apiVersion: number;
  /** The processor says that it has VMX or SVM. */
  readonly cpuVirtualization: boolean;
  /** How long the guest loop took, milliseconds, and how many rounds it managed. */
  readonly guestMs: number;
  readonly guestLoops: number;
}

const STATES = ["ok", "absent", "denied", "software", "broken", "unsupported"] as const;

/** Probe within `budgetMs`. Throws {@link HostError} when even that cannot be done. */
export function probeKvm(budgetMs: number): KvmProbe {
  const out = new DataView(new ArrayBuffer(32));
  const result = library().capsa_probe_kvm(budgetMs, ptr(out));
  if (result < 0)
    throw new HostError(errnoName(-result), `/dev/kvm could not be probed (${errnoName(-result)})`);
  const error = out.getInt32(4, true);
  return {
    state: STATES[out.getInt32(0, true)] ?? "broken",
    error: error === 0 ? undefined : errnoName(error),
    apiVersion: out.getInt32(8, true),
    cpuVirtualization: out.getInt32(12, true) === 1,
    guestMs: Number(out.getBigUint64(16, true)) / 1e6,
    guestLoops: Number(out.getBigUint64(24, true)),
  };
}

const EXPLANATION_MAX = 8192; // bytes

/** The monitor's answer to an encoded `offline-question` (ffi/vmm.cddl), encoded. Throws {@link HostError}. */
export function explainOffline(question: Uint8Array): Uint8Array {
  const answer = new Uint8Array(EXPLANATION_MAX);
  const length = library().capsa_explain(ptr(question), question.length, ptr(answer), answer.length);
  if (length < 0)
    throw new HostError(errnoName(-length), `libcapsa cannot explain this (${errnoName(-length)})`);
  return answer.subarray(0, length);
}
