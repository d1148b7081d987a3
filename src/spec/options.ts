/** What a sandbox is to be, as the object that a program writes: the keys of a [sandbox.NAME] table of `capsa.toml`. */

import type { IdRange, PrivateNetwork, SandboxSpec, SecretSpec, ShareSpec, UserNetwork } from "./spec.ts";

/** A directory of this machine, or one file, that the sandbox sees. */
export interface ShareKeys extends Partial<Pick<ShareSpec, "mode" | "cache" | "locks" | "protect">> {
  /** A relative path starts at the working directory. */
  readonly host: string;
  /** Absolute path in the guest. */
  readonly guest: string;
  /** How much the guest may add: `"512M"`, or a number of bytes. */
  readonly size?: number | string;
  /** Who owns the files in the guest's eyes (`"root"`). */
  readonly ownership?:
    | "root"
    | "caller"
    | "passthrough"
    | { readonly uids?: readonly IdRange[]; readonly gids?: readonly IdRange[] };
}

/** How far a sandbox reaches into this machine's network. */
export interface NetworkKeys extends Partial<Omit<UserNetwork, "mode" | "bytesPerSecond">> {
  /** What may cross the network in a second, each way: `"10Mbit"`, or a number of bytes. */
  readonly bandwidth?: number | string;
}

/**
 * What {@link Capsa.open} takes: the keys of a `[sandbox.NAME]` table of `capsa.toml`, each optional and with the same
 * default. Relative paths start at the working directory.
 */
export interface SandboxOptions
  extends Partial<
    Pick<SandboxSpec, "name" | "cpus" | "engine" | "confine" | "kernel" | "initrd" | "env" | "labels">
  > {
  /** `"512M"`, `"2G"`, or a number of MiB. */
  readonly memory?: number | string;
  /** `"base"` (busybox, the default), `"host"` (this machine's /usr, read-only) or a directory: `"./rootfs"`. */
  readonly rootfs?: "base" | "host" | (string & {});
  readonly shares?: readonly ShareKeys[];
  /** `"none"` (the default), `"user"` (everything outside), or rules: `{ allow: ["example.org:443"] }`. */
  readonly network?: "none" | "user" | NetworkKeys;
  /** Private networks, which `Capsa.network()` has made; `as`: its name there. */
  readonly networks?: readonly (PrivateNetwork & { readonly as?: string })[];
  /** Values that its programs use without having them, by the names of the variables. */
  readonly secrets?: Readonly<Record<string, SecretSpec>>;
  /** The main process: a command of the shell, or a program and its arguments. Its end is the sandbox's end. */
  readonly run?: string | readonly string[];
  /** Of the main process. */
  readonly cwd?: string;
  /** How long the start may take: `"30s"`, or a number of milliseconds. */
  readonly bootTimeout?: number | string;
  /** It ends so long after its start. */
  readonly ttl?: number | string;
  /** It ends when nothing has used it for so long. */
  readonly idleTimeout?: number | string;
}
