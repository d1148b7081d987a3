/** What a sandbox is to be, as plain data: the one form that `capsa.toml` and the builder both end in. */

import type { JoinedNetwork } from "../network/lan.ts";
import type { NetworkSpec } from "../network/spec.ts";
import type { Secrets } from "../secrets/spec.ts";

export type { JoinedNetwork, PrivateNetwork } from "../network/lan.ts";
export type { NetworkSpec, UserNetwork } from "../network/spec.ts";
export type { SecretSpec, Secrets } from "../secrets/spec.ts";

/** Who the guest sees as owner of a share's files; see `capsa.toml.example`. */
export type Ownership =
  | { readonly mode: "root" | "caller" | "passthrough" }
  | { readonly mode: "map"; readonly uids: readonly IdRange[]; readonly gids: readonly IdRange[] };

/** `count` ids from `guest` on are `count` ids from `host` on. */
export interface IdRange {
  readonly guest: number;
  readonly host: number;
  readonly count: number;
}

export interface ShareSpec {
  /** Absolute path on the host, of a directory or of one regular file. */
  readonly host: string;
  /** Absolute path in the guest; missing directories are made, and a file's place too. */
  readonly guest: string;
  /** `transaction`: the guest may write, and what it writes is kept beside the directory until somebody applies it. */
  readonly mode: "ro" | "rw" | "transaction";
  readonly ownership: Ownership;
  /** How long the guest may trust its cache: `auto` 1 s, `always` for good, `never`. */
  readonly cache: "auto" | "always" | "never";
  /**
   * Whose the locks are that the guest takes on files (flock, fcntl): `host`, then they and those of the host's programs
   * exclude one another, or `guest`. `host` for mode `rw`, otherwise `guest`; mode `transaction` has no `host`.
   */
  readonly locks?: "host" | "guest";
  /**
   * Of a directory in mode `rw`: paths below it that the guest can neither change nor make, with all that is below them.
   */
  readonly protect?: readonly string[];
}

export type RootfsSpec =
  | { readonly kind: "base" }
  | { readonly kind: "host" }
  | { readonly kind: "directory"; readonly path: string };

export interface ProcessSpec {
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** What sandboxes and raw VMs have in common. */
export interface MachineSpec {
  readonly name: string;
  /** Virtual processors, 1 to 255. */
  readonly cpus: number;
  /** Guest memory, MiB. */
  readonly memoryMb: number;
  readonly engine: "auto" | "kvm" | "qemu";
  readonly confine: "auto" | "require" | "none";
  /** Absolute paths. */
  readonly kernel?: string;
  readonly initrd?: string;
}

export interface SandboxSpec extends MachineSpec {
  readonly rootfs: RootfsSpec;
  readonly shares: readonly ShareSpec[];
  /** Files that say what it is, by absolute path: protected in read-write shares that hold them. */
  readonly describedBy?: readonly string[];
  readonly network: NetworkSpec;
  /** Private networks that it is on, beside `network`; at most four. */
  readonly networks?: readonly JoinedNetwork[];
  /** Environment of the main process and of every exec. */
  readonly env: Readonly<Record<string, string>>;
  /** Values that its programs use without having them. */
  readonly secrets?: Secrets;
  /** The main process; its end ends the sandbox. Absent: the sandbox lives until it is stopped. */
  readonly run?: ProcessSpec;
  /** Absolute paths that replace capsa's own kernel and base initramfs. */
  readonly kernel?: string;
  readonly initrd?: string;
  /** Limit from start to agent ready, milliseconds. */
  readonly bootTimeoutMs: number;
  /** It is ended so long after its start, milliseconds; never without. */
  readonly ttlMs?: number;
  /** It is ended when nothing has used it for so long, milliseconds: no call of the agent, no forwarded stream. */
  readonly idleTimeoutMs?: number;
}
