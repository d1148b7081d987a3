/** Where everything begins. */

import { guardMethods } from "./errors/edge.ts";
import type { Project } from "./project/api.ts";
import type { RunningSandbox, StartOptions } from "./sandbox/api.ts";
import { type RunnableSandbox, type SandboxBuilder, sandboxBuilder } from "./sandbox/builder.ts";
import { open } from "./sandbox/open.ts";
import { type PoolOptions, type SandboxPool, sandboxPool } from "./sandbox/pool.ts";
import { attach } from "./sandbox/registry.ts";
import { START_OPTIONS } from "./sandbox/start.ts";
import type { SandboxOptions } from "./spec/options.ts";
import type { PrivateNetwork } from "./spec/spec.ts";
import type { RawVm, VmOptions } from "./vm/api.ts";
import { Vm } from "./vm/vm.ts";

export const Capsa = {
  /**
   * Start a sandbox, described by the keys of a `[sandbox.NAME]` table of `capsa.toml`; resolves once its agent is ready, and
   * its main process runs if it has one. Leaving its scope ends it. Rejects with `SpecError` for what cannot be, a misspelt
   * key too, with what {@link startSandbox} throws, and with `BootError` when it does not come up.
   * @example
   * await using box = await Capsa.open({ rootfs: "host" });
   * const { stdout } = await box.exec("python3 -c 'print(6 * 7)'");
   * @example
   * await using box = await Capsa.open({
   *   rootfs: "host",
   *   memory: "1G",
   *   ttl: "10m",
   *   shares: [{ host: "./project", guest: "/project" }],
   *   network: { allow: ["registry.npmjs.org:443"] },
   * });
   */
  async open(options: SandboxOptions = {}, start: StartOptions = {}): Promise<RunningSandbox> {
    return open(options, start);
  },

  /**
   * Describe a sandbox: one virtual processor, 512 MiB, busybox, no network, unless told otherwise.
   * @example
   * await using vm = await Capsa.sandbox()
   *   .share("./project", "/project", MountMode.ReadOnly)
   *   .run("/bin/sleep", ["600"])
   *   .build();
   */
  sandbox(): SandboxBuilder {
    return sandboxBuilder();
  },

  /**
   * Read and check a `capsa.toml`; relative paths in it start at its directory. Rejects with `ConfigError`, whose `problems`
   * are all that is wrong with it, each with its line and column.
   * @example
   * ```ts no_run
   * const project = await Capsa.load("./capsa.toml");
   * const { passed, failed } = await project.up({ onStep: ({ step, status }) => console.log(status, step.name) });
   * ```
   */
  async load(file = "capsa.toml"): Promise<Project> {
    const { loadProject } = await import("./project/project.ts");
    return loadProject(file);
  },

  /**
   * The running sandbox of that name or id, whoever started it. It has all calls of your own sandboxes. Disposing of it
   * only closes the connection. Rejects with `SandboxNotFoundError`, or with `VmmError` if it has just ended.
   * @example await using vm = await Capsa.attach("web");
   */
  attach(nameOrId: string): Promise<RunningSandbox> {
    return attach(nameOrId);
  },

  /**
   * Keep `size` sandboxes of that description ready. Each has its own name, which begins with the description's. They start
   * in the background. A failure goes to `onFailure`, and the pool tries again after 0.2 to 30 s. Throws `SpecError` for an
   * invalid description.
   * @example
   * ```ts no_run
   * await using pool = Capsa.pool(Capsa.sandbox(), 2, { onFailure: console.error });
   * await using vm = await pool.reserve();
   * ```
   */
  pool(sandbox: RunnableSandbox, size: number, options: PoolOptions = {}): SandboxPool {
    return sandboxPool(sandbox, size, options);
  },

  /**
   * A private network for sandboxes to join. It exists while any of them runs. It is plain data, so another process that
   * has it may join too.
   * @example
   * const backend = Capsa.network();
   * await using files = await Capsa.sandbox().name("files").join(backend).run("/bin/httpd", ["-f"]).build();
   * await using client = await Capsa.sandbox().join(backend).run("/bin/wget", ["http://files/"]).build();
   */
  network(name = "private"): PrivateNetwork {
    return { name, scope: crypto.randomUUID() };
  },

  /**
   * Describe a raw VM: a kernel and an initrd of your own, and devices only. Throws `SpecError` for options that there
   * are not.
   * @example
   * ```ts no_run
   * await using vm = Capsa.vm({ kernel: "./vmlinuz", initrd: "./initrd", memoryMb: 256 });
   * await vm.start();
   * await vm.console.waitFor("login:");
   * ```
   */
  vm(options: VmOptions): RawVm {
    return new Vm(options);
  },
} as const;

guardMethods(Capsa, { open: START_OPTIONS });
