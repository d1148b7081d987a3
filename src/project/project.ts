/** A `capsa.toml` as a program uses it: `capsa up` is made of these calls. */

import { type Config, loadConfig } from "../config/load.ts";
import { named } from "../errors/check.ts";
import { guardMethods } from "../errors/edge.ts";
import { ArgumentError } from "../errors/errors.ts";
import type { RunningSandbox } from "../sandbox/api.ts";
import { type SandboxBuilder, sandboxBuilder } from "../sandbox/builder.ts";
import type { ProjectReport, ProjectRunOptions } from "../steps/api.ts";
import type { Step } from "../steps/index.ts";
import { runSteps } from "../steps/run.ts";
import type { Project, ProjectStartOptions, ProjectUpOptions, StartedProject } from "./api.ts";
import { askedBySteps, type Booted, bootAll, connectAll } from "./boot.ts";
import { choose } from "./choose.ts";

/** As `Capsa.load`. Throws `ConfigError`. */
export function loadProject(file: string): Project {
  return new LoadedProject(loadConfig(file));
}

class LoadedProject implements Project {
  readonly file: string;
  readonly sandboxes: Config["sandboxes"];
  readonly steps: Config["steps"];

  constructor({ file, sandboxes, steps }: Config) {
    this.file = file;
    this.sandboxes = sandboxes;
    this.steps = steps;
  }

  sandbox(name: string): SandboxBuilder {
    return sandboxBuilder(choose(this, [name]).specs[0]);
  }

  async start({ sandboxes = [], ...options }: ProjectStartOptions = {}): Promise<StartedProject> {
    const { specs, steps } = choose(this, sandboxes);
    return new Started(this.file, await bootAll(specs, options), steps);
  }

  async up(options: ProjectUpOptions = {}): Promise<ProjectReport> {
    checkSteps(this.file, choose(this, options.sandboxes ?? []).steps);
    const started = await this.start(among(options, START));
    try {
      return await started.run(among(options, RUN));
    } finally {
      await started.stop();
    }
  }
}

class Started implements StartedProject {
  readonly sandboxes: ReadonlyMap<string, RunningSandbox>;
  readonly #file: string;
  readonly #booted: readonly Booted[];
  readonly #steps: readonly Step[];

  constructor(file: string, booted: readonly Booted[], steps: readonly Step[]) {
    this.sandboxes = new Map(booted.map(({ spec, vm }) => [spec.name, vm]));
    this.#file = file;
    this.#booted = booted;
    this.#steps = steps;
  }

  async run(options: ProjectRunOptions = {}): Promise<ProjectReport> {
    checkSteps(this.#file, this.#steps);
    const agents = await connectAll(this.#steps, this.#booted, options.signal);
    try {
      return await runSteps(this.#steps, agents, { ...options, ...askedBySteps(this.#booted) });
    } finally {
      for (const agent of agents.values()) await agent.close();
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#booted.map(({ vm }) => vm.stop()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#booted.map(({ vm }) => vm[Symbol.asyncDispose]()));
  }
}

/** A run of none would pass whatever happens. */
function checkSteps(file: string, steps: readonly Step[]): void {
  if (steps.length > 0) return;
  throw new ArgumentError(`${file} has no steps for these sandboxes`, {
    hint: "project.start() gives the sandboxes, to be used from here",
  });
}

/** Of options, those that one of its calls has. */
function among(options: object, names: object): object {
  return Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(names, name)));
}

const START = {
  ...({ signal: true, sandboxes: true, keepChanges: true } as const),
  ...({ onSandbox: true, onNotice: true, onRefusal: true, onAccess: true } as const),
};
const RUN = { onStepStart: true, onOutput: true, onStep: true, keepGoing: true, signal: true } as const;

guardMethods(LoadedProject.prototype, {
  start: named<ProjectStartOptions>(0, { ...START, detached: true }),
  up: named<ProjectUpOptions>(0, { ...START, ...RUN }),
});
guardMethods(Started.prototype, { run: named<ProjectRunOptions>(0, RUN) });
