/** What a sandbox is to be, as plain data: the one form that `capsa.toml` and the builder both end in. */

import type { EngineName } from "../engine/engines.ts";

/** The host's network by user-mode NAT: the sandbox's connections are sockets of its VMM. */
export interface UserNetwork {
  readonly mode: "user";
  /**
   * What may be reached, and nothing else: `"registry.example:443"`, `"*.example.org:443"`, `"10.0.0.0/8:5432"`,
   * `"192.0.2.1:53/udp"`. Absent: everything but the host itself, link-local and metadata addresses.
   */
  readonly allow?: readonly string[];
  /** What may not be reached, whatever is allowed; as above. */
  readonly deny: readonly string[];
  /** What is let through, as by `allow`, and told of; where everything is allowed this closes nothing. */
  readonly log: readonly string[];
  /** Ports of the host that lead to ports of the guest: `"8080:80"`, `"0:80"`, `"0.0.0.0:53:53/udp"`. */
  readonly publish: readonly string[];
  /** At most three name servers to ask, by address; absent: the host's. */
  readonly nameServers?: readonly string[];
  /** Connections at a time, 1 to 4096: TCP, either way, and at most 256 ports that send datagrams; absent: 4096. */
  readonly maxConnections?: number;
  /** Bytes per second that may cross the guest's cable, each way, 8000 or more; absent: as many as can. */
  readonly bytesPerSecond?: number;
  /** The guest's gateway, 10.0.2.2, leads to the host's loopback. */
  readonly hostLoopback: boolean;
}

export type NetworkSpec = "none" | UserNetwork;

/** Sandboxes that have joined the same one are on one cable, and nothing else is. */
export interface PrivateNetwork {
  /** Up to 32 small letters, digits and inner dashes. */
  readonly name: string;
  /** Where the name holds: a file's path, or a text that nobody else has. */
  readonly scope: string;
}

/** A network to join, and the name that the sandbox has there for the others. */
export interface JoinedNetwork extends PrivateNetwork {
  readonly as: string;
}

/** A value of this machine's that programs in the sandbox use without having it. */
export interface SecretSpec {
  /** Where the value is: `"env:TOKEN"`, a variable of this process's environment, or `"file:/absolute/path"`. */
  readonly from: string;
  /** Who is given it: `"api.example:443"`; without a port 443. By name, over TLS. */
  readonly hosts: readonly string[];
  /** The one header of a request that it may be in; absent: any. */
  readonly header?: string;
}

/** By name, which is that of the variable that has the placeholder in the guest. */
export type Secrets = Readonly<Record<string, SecretSpec>>;

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
  /** Bytes that the guest may add, with mode `rw` or `transaction`: more is refused as by a full disk. Any number without. */
  readonly size?: number;
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
  readonly engine: "auto" | EngineName;
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
  /** What it is to whoever starts it, by name: `capsa ps`, `capsa metrics` and `capsa mcp` tell them. */
  readonly labels?: Readonly<Record<string, string>>;
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
