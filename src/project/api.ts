/** The sandboxes and steps of a `capsa.toml`, as a program uses them. */

import type { NetworkAccess, NetworkRefusal, RunningSandbox, StartOptions } from "../sandbox/api.ts";
import type { SandboxBuilder } from "../sandbox/builder.ts";
import type { SandboxSpec } from "../spec/spec.ts";
import type { ProjectReport, ProjectRunOptions, ProjectStep } from "../steps/api.ts";

/** Callbacks have the name that the file gives the sandbox. The same notice of several sandboxes is told once. */
export interface ProjectStartOptions extends Omit<StartOptions, "onRefusal" | "onAccess"> {
  /** Names of those to start; without, those that steps need, or all of a file without steps. */
  readonly sandboxes?: readonly string[];
  /** Told as soon as one has started, before it is ready: its output can be read from here on. */
  readonly onSandbox?: (vm: RunningSandbox, name: string) => void;
  readonly onRefusal?: (refusal: NetworkRefusal, name: string) => void;
  readonly onAccess?: (access: NetworkAccess, name: string) => void;
}

export interface ProjectUpOptions extends Omit<ProjectStartOptions, "detached">, ProjectRunOptions {}

/** What a `capsa.toml` describes, read and checked. */
export interface Project {
  /** Absolute path of the file. */
  readonly file: string;
  readonly sandboxes: readonly SandboxSpec[];
  readonly steps: readonly ProjectStep[];

  /**
   * One of its sandboxes, to be changed further or started as it is. Throws `ArgumentError` for a name that it has not.
   * @example
   * ```ts no_run
   * const project = await Capsa.load("./capsa.toml");
   * await using box = await project.sandbox("box").memoryMb("2G").start();
   * ```
   */
  sandbox(name: string): SandboxBuilder;

  /**
   * Start its sandboxes, all or none; resolves once all are ready. One that ends with this process has the first name of NAME,
   * NAME-2 … that no other has, and private networks of this start only. Rejects with what `startSandbox` throws.
   * @example
   * ```ts no_run
   * const project = await Capsa.load("./capsa.toml");
   * await using started = await project.start({ sandboxes: ["box"] });
   * await started.sandboxes.get("box")!.exec("make");
   * ```
   */
  start(options?: ProjectStartOptions): Promise<StartedProject>;

  /**
   * As `capsa up`: start the sandboxes that its steps need, run the steps and end the sandboxes. A step that fails is a
   * result, not an error. Rejects as {@link start} does, with the signal's reason, and with `ArgumentError` for a file
   * without steps.
   * @example
   * ```ts no_run
   * const project = await Capsa.load("./capsa.toml");
   * const report = await project.up({ onStep: ({ step, status }) => console.log(status, step.name) });
   * process.exitCode = report.failed > 0 ? 1 : 0;
   * ```
   */
  up(options?: ProjectUpOptions): Promise<ProjectReport>;
}

/** Sandboxes of one start. Disposing of it ends them at once, unless they were started `detached`. */
export interface StartedProject extends AsyncDisposable {
  /** By the names that the file gives them. */
  readonly sandboxes: ReadonlyMap<string, RunningSandbox>;

  /**
   * Run the steps of these sandboxes, in order. Rejects with the signal's reason, with `SANDBOX_ENDED` for a sandbox that
   * has ended before, and with `ArgumentError` where there is no step.
   * @example
   * ```ts no_run
   * await using started = await (await Capsa.load("./capsa.toml")).start();
   * const { passed, failed } = await started.run({ keepGoing: true });
   * ```
   */
  run(options?: ProjectRunOptions): Promise<ProjectReport>;

  /**
   * Ask them to end, and end those that have not in seven seconds.
   * @example
   * ```ts no_run
   * const started = await (await Capsa.load("./capsa.toml")).start();
   * await started.stop();
   * ```
   */
  stop(): Promise<void>;
}
