/** Boots several sandboxes at once, all or none. */
import type { Agent } from "../agent/api.ts";
import { CapsaError, SandboxEndedError, SpecError } from "../errors/errors.ts";
import type { BootTimings, RunningSandbox, StartOptions } from "../sandbox/api.ts";
import { describeExit } from "../sandbox/describe.ts";
import { readEventLog } from "../sandbox/log.ts";
import { agentPort, waitReadyTimeout } from "../sandbox/ready.ts";
import { startChecked } from "../sandbox/start.ts";
import type { SandboxSpec } from "../spec/spec.ts";
import type { Step } from "../steps/index.ts";
import type { RunOptions } from "../steps/run.ts";
import type { ProjectStartOptions } from "./api.ts";

const LONGEST_NAME = 32;
const MOST_OF_A_NAME = 1000;

export interface Booted {
  readonly spec: SandboxSpec;
  readonly vm: RunningSandbox;
  readonly timings: BootTimings;
}

/** Resolves when all are ready. When one fails, the others are ended before the failure is told. */
export async function bootAll(
  specs: readonly SandboxSpec[],
  { onNotice, onSandbox, onRefusal, onAccess, ...options }: Omit<ProjectStartOptions, "sandboxes">,
): Promise<Booted[]> {
  const started: RunningSandbox[] = [];
  const told = new Set<string>();
  const run = crypto.randomUUID();
  const boot = async (spec: SandboxSpec): Promise<Booted> => {
    const { name } = spec;
    const vm = await startUnderFreeName(options.detached ? spec : apart(spec, run), {
      ...options,
      onNotice: (notice) => {
        if (!told.has(notice.message)) onNotice?.(notice);
        told.add(notice.message);
      },
      onRefusal: (refusal) => onRefusal?.(refusal, name),
      onAccess: (access) => onAccess?.(access, name),
    });
    started.push(vm);
    onSandbox?.(vm, name);
    return { spec, vm, timings: await vm.ready };
  };
  const outcomes = await Promise.allSettled(specs.map(boot));
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (!failed) return outcomes.map((outcome) => (outcome as PromiseFulfilledResult<Booted>).value);
  await Promise.all(started.map((vm) => vm.kill()));
  throw failed.reason;
}

/** Connections to the agents of all that have steps, by the names that the file gives their sandboxes. */
export async function connectAll(
  steps: readonly Step[],
  booted: readonly Booted[],
  signal?: AbortSignal,
): Promise<Map<string, Agent>> {
  const wanted = new Set(steps.map(({ sandbox }) => sandbox));
  const agents = booted
    .filter(({ spec }) => wanted.has(spec.name))
    .map(async ({ spec, vm }) => {
      const agent = waitReadyTimeout(vm.vsockSocket(agentPort()), spec.bootTimeoutMs, signal && { signal });
      return [spec.name, await agent.catch((error) => endedBefore(spec, vm, error))] as const;
    });
  return new Map(await Promise.all(agents));
}

/** Its main process may be a short one. */
async function endedBefore({ name }: SandboxSpec, vm: RunningSandbox, error: unknown): Promise<never> {
  if (!(error instanceof SandboxEndedError)) throw error;
  const why = describeExit(await vm.exited);
  throw new CapsaError("SANDBOX_ENDED", `${name} ended before its steps: ${why}`, { cause: error });
}

/** What steps ask of sandboxes beside their agents, by the names that the file gives the sandboxes. */
export function askedBySteps(booted: readonly Booted[]): Pick<RunOptions, "changes" | "printed"> {
  const find = (sandbox: string) => booted.find(({ spec }) => spec.name === sandbox)!.vm;
  return {
    changes: (sandbox) => find(sandbox).changes(),
    printed: async (sandbox) => readEventLog(find(sandbox).runtimeDir).output,
  };
}

/**
 * Start it under its name or, where it is to end with this command, under the first of NAME-2, NAME-3 … that no other
 * has: the same file may be run many times at once. One that stays keeps its name, by which it is found again.
 */
async function startUnderFreeName(spec: SandboxSpec, options: StartOptions): Promise<RunningSandbox> {
  for (let number = 1; ; number++) {
    const suffix = number === 1 ? "" : `-${number}`;
    const name = spec.name.slice(0, LONGEST_NAME - suffix.length).replace(/-+$/, "") + suffix;
    try {
      return await startChecked({ ...spec, name }, options);
    } catch (error) {
      const taken = error instanceof SpecError && error.code === "NAME_IN_USE";
      if (!taken || options.detached || number === MOST_OF_A_NAME) throw error;
    }
  }
}

/**
 * The same file may run many times at once: sandboxes that end with this command are on networks of this run, and find
 * each other whatever names they were started under. Those that stay share the file's.
 */
function apart(spec: SandboxSpec, run: string): SandboxSpec {
  if (spec.networks === undefined) return spec;
  return { ...spec, networks: spec.networks.map((network) => ({ ...network, scope: run })) };
}
