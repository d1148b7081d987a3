/** The builder: a sandbox described call by call, whose types allow one main process at most. */

import { guardMethods } from "../errors/edge.ts";
import { SpecError } from "../errors/errors.ts";
import { absolutePath } from "../host/written.ts";
import { USER_NETWORK } from "../spec/network.ts";
import { toSpec } from "../spec/sandbox.ts";
import type {
  NetworkSpec,
  Ownership,
  PrivateNetwork,
  ProcessSpec,
  SandboxSpec,
  SecretSpec,
  Secrets,
  ShareSpec,
  UserNetwork,
} from "../spec/spec.ts";
import type { RunningSandbox, StartOptions } from "./api.ts";
import { madeUpName } from "./name.ts";
import { startReady } from "./open.ts";
import { START_OPTIONS, startSandbox } from "./start.ts";

/**
 * What the guest may do with a share: read it; write it; or write beside it. In the last mode `vm.changes()` and
 * `vm.diff()` show its changes, and the directory stays the same until `vm.apply()`.
 */
export const MountMode = { ReadOnly: "ro", ReadWrite: "rw", Transaction: "transaction" } as const;
export type MountMode = (typeof MountMode)[keyof typeof MountMode];

/** How a sandbox is connected: not at all, or to the host's network. */
export const NetworkMode = {
  None: "none",
  /**
   * The host's network by user-mode NAT, as far as `allow` and `deny` let the sandbox go.
   * @example Capsa.sandbox().network(NetworkMode.UserNat())
   * @example Capsa.sandbox().network(NetworkMode.UserNat({ allow: ["registry.npmjs.org:443"], publish: ["8080:80"] }))
   */
  UserNat: (options: UserNatOptions = {}): UserNetwork => ({
    ...USER_NETWORK,
    ...(options as Partial<UserNetwork>),
    mode: "user",
  }),
} as const;
export type NetworkMode = NetworkSpec;

guardMethods(NetworkMode);

/** What {@link UserNetwork} says, all of it optional. */
export type UserNatOptions = Partial<Omit<UserNetwork, "mode" | "bytesPerSecond">> & {
  /** Bytes per second that may cross the guest's cable, each way, or a text with its unit: `"10Mbit"`. */
  readonly bytesPerSecond?: number | string;
};

export interface ShareOptions {
  /** Read-only without. */
  readonly mode?: MountMode;
  /** Owner of all files in the eyes of the guest (`root`). */
  readonly ownership?: Ownership | "root" | "caller" | "passthrough";
  /** How long the guest may use its cache: `auto` one second, `always` forever, `never`. */
  readonly cache?: ShareSpec["cache"];
  /**
   * Where the guest's file locks (flock, fcntl) count. `host`: programs of the guest and of this machine exclude each
   * other. `guest`: only inside the guest. The default is `host` with `MountMode.ReadWrite`, otherwise `guest`;
   * `MountMode.Transaction` cannot have `host`.
   */
  readonly locks?: ShareSpec["locks"];
  /**
   * With `MountMode.ReadWrite`: paths in the directory that the guest can neither change nor create, with everything below
   * them. Protect what this machine runs: `[".git/hooks", ".git/config"]`.
   */
  readonly protect?: ShareSpec["protect"];
  /**
   * Most data that the guest may add, with `MountMode.ReadWrite` or `MountMode.Transaction`: bytes, "512M" or "2G". Beyond
   * it writes fail as on a full disk (`ENOSPC`). `df` in the guest shows what is left. No limit without it.
   */
  readonly size?: number | string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory in the guest. */
  readonly cwd?: string;
}

/** What was said so far, as it was given. */
interface Draft {
  readonly shares: readonly object[];
  readonly networks: readonly (PrivateNetwork & { readonly as?: string })[];
  readonly env: Readonly<Record<string, string>>;
  readonly secrets?: Secrets;
  readonly labels?: Readonly<Record<string, string>>;
  readonly main?: { readonly run: ProcessSpec } | { readonly oci: string };
  readonly [field: string]: unknown;
}

/**
 * What can be said of a sandbox before and after its main process is chosen; each call gives a new builder. `Self` is
 * the state that the builder is in.
 */
interface Settings<Self> {
  /**
   * Name of the sandbox, its host name too: small letters, digits, dashes. Made up without.
   * @example Capsa.sandbox().name("web")
   */
  name(name: string): Self;
  /**
   * Virtual processors (1).
   * @example Capsa.sandbox().cpus(4)
   */
  cpus(count: number): Self;
  /**
   * Memory, MiB or a text with its unit (512).
   * @example Capsa.sandbox().memoryMb(2048)
   * @example Capsa.sandbox().memoryMb("2G")
   */
  memoryMb(mb: number | string): Self;
  /**
   * Show a directory of the host, or one regular file, in the guest. It is mounted before the main process starts. A
   * relative host path starts at the working directory. A shared file stays the one from the start: the guest does not see
   * a file that is renamed over it later.
   * @example Capsa.sandbox().share("./src", "/src", MountMode.ReadOnly)
   * @example Capsa.sandbox().share("./app.conf", "/etc/app.conf", MountMode.ReadOnly)
   * @example Capsa.sandbox().share("./out", "/out", { mode: MountMode.ReadWrite, ownership: "caller" })
   * @example Capsa.sandbox().share("./project", "/project", MountMode.Transaction)
   * @example Capsa.sandbox().share("./project", "/project", { mode: MountMode.ReadWrite, protect: [".git/hooks"] })
   */
  share(host: string, guest: string, mode?: MountMode | ShareOptions): Self;
  /**
   * The root file system: busybox (`"base"`), this machine's /usr below a writable layer (`"host"`), or a directory.
   * @example Capsa.sandbox().rootfs("host")
   * @example Capsa.sandbox().rootfs({ directory: "./rootfs" })
   */
  rootfs(rootfs: "base" | "host" | (string & {}) | { readonly directory: string }): Self;
  /**
   * Environment of the main process and of every exec. Several calls add up.
   * @example Capsa.sandbox().env({ LANG: "C.UTF-8" })
   */
  env(variables: Readonly<Record<string, string>>): Self;
  /**
   * At most 64 labels to select sandboxes: `capsa ps --label team=x`. Several calls add up.
   * @example Capsa.sandbox().labels({ team: "x" })
   */
  labels(labels: Readonly<Record<string, string>>): Self;
  /**
   * A secret that never enters the guest. There the variable `name` holds a placeholder. A proxy replaces it with the value
   * in headers of requests to the secret's hosts, and nowhere else. It needs a network.
   * @example Capsa.sandbox().secret("TOKEN", { from: "env:TOKEN", hosts: ["api.example.org:443"] })
   * @example Capsa.sandbox().secret("KEY", { from: "file:./key", hosts: ["api.example.org"], header: "X-Api-Key" })
   */
  secret(name: string, secret: SecretSpec): Self;
  /**
   * A kernel of your own: an uncompressed ELF with a PVH note, or a bzImage.
   * @example Capsa.sandbox().kernel("./vmlinux")
   */
  kernel(path: string): Self;
  /**
   * A base initramfs of your own, with capsa's /init in it.
   * @example Capsa.sandbox().initrd("./initramfs.cpio")
   */
  initrd(path: string): Self;
  /**
   * No network. This is the default.
   * @example Capsa.sandbox().noNetwork()
   */
  noNetwork(): Self;
  /**
   * Network of the sandbox (none).
   * @example Capsa.sandbox().network(NetworkMode.UserNat({ allow: ["deb.debian.org:80"] }))
   */
  network(mode: NetworkMode): Self;
  /**
   * Join a private network that `Capsa.network` has made; at most four. Its sandboxes find each other by their names, or by
   * `as`.
   * @example const backend = Capsa.network(); Capsa.sandbox().name("db").join(backend)
   */
  join(network: PrivateNetwork, as?: string): Self;
  /**
   * What runs the vCPUs. `"auto"` takes KVM if it is fast, otherwise QEMU.
   * @example Capsa.sandbox().engine("qemu")
   */
  engine(engine: SandboxSpec["engine"]): Self;
  /**
   * Confinement of the processes of VMM and QEMU on the host. With `"require"` the start fails if a layer is missing.
   * @example Capsa.sandbox().confine("require")
   */
  confine(confine: SandboxSpec["confine"]): Self;
  /**
   * Longest time from start to a listening agent, milliseconds or a text with its unit (30,000).
   * @example Capsa.sandbox().bootTimeout(5_000)
   * @example Capsa.sandbox().bootTimeout("5s")
   */
  bootTimeout(ms: number | string): Self;
  /**
   * End the sandbox this long after its start, milliseconds or a text with its unit, even if the program that started it is
   * gone. The main process then gets five seconds.
   * @example Capsa.sandbox().ttl("1h")
   */
  ttl(ms: number | string): Self;
  /**
   * End it in the same way after this time without a call of the agent or a forwarded stream, milliseconds or a text with
   * its unit. The main process and background programs do not count.
   * @example Capsa.sandbox().idleTimeout("10m")
   */
  idleTimeout(ms: number | string): Self;
}

/** What can be done with a description. */
interface Startable {
  /**
   * Start it; resolves once its agent is ready, and its main process runs if it has one. Rejects with what
   * {@link startSandbox} throws, and with `BootError` when it does not come up: nothing stays behind then.
   * @example
   * await using vm = await Capsa.sandbox().rootfs("host").start();
   * console.log((await vm.exec("uname -a")).stdout);
   */
  start(options?: StartOptions): Promise<RunningSandbox>;
  /**
   * Start it; resolves once its vCPUs run, so that its boot can be watched. Throws what {@link startSandbox} throws.
   * @example await using vm = await Capsa.sandbox().run("/bin/sleep", ["60"]).build();
   */
  build(options?: StartOptions): Promise<RunningSandbox>;
  /**
   * The specification as plain data, with its defaults filled in.
   * @example const spec = Capsa.sandbox().run("/bin/true").spec();
   */
  spec(): SandboxSpec;
}

/** A sandbox without a main process, which lives until it is stopped; `run` or `oci` gives it one, once. */
export interface SandboxBuilder extends Settings<SandboxBuilder>, Startable {
  /**
   * The main process: a program in the guest and its arguments. Its end is the sandbox's end.
   * @example Capsa.sandbox().run("/bin/sh", ["-c", "sleep 60"], { cwd: "/tmp" })
   */
  run(path: string, args?: readonly string[], options?: RunOptions): RunnableSandbox;
  /**
   * The main process out of an OCI image; not in this version: `build` fails with `NOT_SUPPORTED`.
   * @example Capsa.sandbox().oci("docker.io/library/python:3", ["python3", "-V"])
   */
  oci(image: string, args?: readonly string[]): RunnableSandbox;
}

/** A sandbox whose main process is chosen, or that has none. */
export interface RunnableSandbox extends Settings<RunnableSandbox>, Startable {}

/** Both states in one class: which calls there are is the types' to say, and at run time the draft's. */
class Builder implements SandboxBuilder, RunnableSandbox {
  readonly #draft: Draft;

  constructor(draft: Draft) {
    this.#draft = draft;
  }

  #with(change: Partial<Draft>): this {
    return new Builder({ ...this.#draft, ...change }) as this;
  }

  name(name: string): this {
    return this.#with({ name });
  }

  cpus(cpus: number): this {
    return this.#with({ cpus });
  }

  memoryMb(memoryMb: number | string): this {
    return this.#with({ memoryMb });
  }

  share(host: string, guest: string, options: MountMode | ShareOptions = {}): this {
    const more = typeof options === "string" ? { mode: options } : options;
    const share = { ...more, host: absolutePath("shares.host", host), guest };
    return this.#with({ shares: [...this.#draft.shares, share] });
  }

  rootfs(rootfs: string | { readonly directory: string }): this {
    if (typeof rootfs === "string") return this.#with({ rootfs });
    return this.#with({ rootfs: { kind: "directory", path: absolutePath("rootfs", rootfs.directory) } });
  }

  env(variables: Readonly<Record<string, string>>): this {
    return this.#with({ env: { ...this.#draft.env, ...variables } });
  }

  labels(labels: Readonly<Record<string, string>>): this {
    return this.#with({ labels: { ...this.#draft.labels, ...labels } });
  }

  secret(name: string, secret: SecretSpec): this {
    const { from } = secret;
    const absolute = from.startsWith("file:")
      ? `file:${absolutePath(`secrets.${name}.from`, from.slice("file:".length))}`
      : from;
    return this.#with({ secrets: { ...this.#draft.secrets, [name]: { ...secret, from: absolute } } });
  }

  kernel(path: string): this {
    return this.#with({ kernel: absolutePath("kernel", path) });
  }

  initrd(path: string): this {
    return this.#with({ initrd: absolutePath("initrd", path) });
  }

  noNetwork(): this {
    return this.#with({ network: "none" });
  }

  network(mode: NetworkMode): this {
    return this.#with({ network: mode });
  }

  join({ name, scope }: PrivateNetwork, as?: string): this {
    const joined = { name, scope, ...(as === undefined ? {} : { as }) };
    return this.#with({ networks: [...this.#draft.networks, joined] });
  }

  engine(engine: SandboxSpec["engine"]): this {
    return this.#with({ engine });
  }

  confine(confine: SandboxSpec["confine"]): this {
    return this.#with({ confine });
  }

  bootTimeout(ms: number | string): this {
    return this.#with({ bootTimeoutMs: ms });
  }

  ttl(ms: number | string): this {
    return this.#with({ ttlMs: ms });
  }

  idleTimeout(ms: number | string): this {
    return this.#with({ idleTimeoutMs: ms });
  }

  run(path: string, args: readonly string[] = [], options: RunOptions = {}): this {
    this.#chooseOnce("run");
    const { env = {}, cwd } = options;
    return this.#with({
      main: { run: { argv: [path, ...args], env, ...(cwd === undefined ? {} : { cwd }) } },
    });
  }

  oci(image: string): this {
    this.#chooseOnce("oci");
    return this.#with({ main: { oci: image } });
  }

  #chooseOnce(call: string): void {
    if (this.#draft.main === undefined) return;
    const before = "run" in this.#draft.main ? "run" : "oci";
    throw new SpecError("run", `.${call}() after .${before}(): a sandbox has one main process`);
  }

  spec(): SandboxSpec {
    const { main = {}, name = madeUpName("sandbox"), networks, ...rest } = this.#draft;
    if ("oci" in main) {
      throw new SpecError("oci", `image ${JSON.stringify(main.oci)}: OCI images are not there yet`, {
        code: "NOT_SUPPORTED",
        hint: "unpack the image to a directory and use .rootfs({ directory }) with .run()",
      });
    }
    return toSpec({ ...rest, ...main, name, ...(networks.length === 0 ? {} : { networks }) });
  }

  async start(options: StartOptions = {}): Promise<RunningSandbox> {
    return startReady(this.spec(), options);
  }

  async build(options: StartOptions = {}): Promise<RunningSandbox> {
    return startSandbox(this.spec(), options);
  }
}

const FIRST = { ...START_OPTIONS, at: 0 };
guardMethods(Builder.prototype, { build: FIRST, start: FIRST });

/** To be described further: `spec`, or a sandbox of one virtual processor and 512 MiB with busybox and no network. */
export function sandboxBuilder(spec: Partial<SandboxSpec> = {}): SandboxBuilder {
  return new Builder({ shares: [], networks: [], env: {}, ...spec });
}
