/** Boots several sandboxes at once, all or none. */
import type { Agent } from "../agent/api.ts";
import { CapsaError, SpecError } from "../errors/errors.ts";
import type {
  BootTimings,
  NetworkAccess,
  NetworkRefusal,
  Notice,
  RunningSandbox,
  StartOptions,
} from "../sandbox/api.ts";
import { describeExit } from "../sandbox/describe.ts";
import { readEventLog } from "../sandbox/log.ts";
import { agentPort, waitReadyTimeout } from "../sandbox/ready.ts";
import { startChecked } from "../sandbox/start.ts";
import type { SandboxSpec } from "../spec/spec.ts";
import type { Step } from "../steps/index.ts";
import type { RunOptions } from "../steps/run.ts";

const LONGEST_NAME = 32;
const MOST_OF_A_NAME = 1000;

export interface Booted {
  readonly spec: SandboxSpec;
  readonly vm: RunningSandbox;
  readonly timings: BootTimings;
}

interface BootOptions {
  readonly signal: AbortSignal;
  readonly detached: boolean;
  /** Changes in transactional shares are somebody's to decide about, and outlive the sandboxes. */
  readonly keepChanges?: boolean;
  /** The same notice of several sandboxes is told once. */
  readonly onNotice: (notice: Notice) => void;
  readonly onRefusal: (spec: SandboxSpec, refusal: NetworkRefusal) => void;
  readonly onAccess?: (spec: SandboxSpec, access: NetworkAccess) => void;
  /** Told as soon as a sandbox has started, before it is ready: its output can be read from here on. */
  readonly onStart: (spec: SandboxSpec, vm: RunningSandbox) => void;
}

/** Resolves when all are ready. When one fails, the others are ended before the failure is told. */
export async function bootAll(specs: readonly SandboxSpec[], options: BootOptions): Promise<Booted[]> {
  const started: RunningSandbox[] = [];
  const told = new Set<string>();
  const onNotice = (notice: Notice) => {
    if (told.has(notice.message)) return;
    told.add(notice.message);
    options.onNotice(notice);
  };
  const run = crypto.randomUUID();
  const boot = async (spec: SandboxSpec): Promise<Booted> => {
    const { signal, detached, keepChanges = detached } = options;
    const onRefusal = (refusal: NetworkRefusal) => options.onRefusal(spec, refusal);
    const onAccess = (access: NetworkAccess) => options.onAccess?.(spec, access);
    const vm = await startUnderFreeName(detached ? spec : apart(spec, run), {
      signal,
      detached,
      keepChanges,
      onNotice,
      onRefusal,
      onAccess,
    });
    started.push(vm);
    options.onStart(spec, vm);
    return { spec, vm, timings: await vm.ready };
  };
  const outcomes = await Promise.allSettled(specs.map(boot));
  const failed = outcomes.find((outcome) => outcome.status === "rejected");
  if (!failed) return outcomes.map((outcome) => (outcome as PromiseFulfilledResult<Booted>).value);
  await Promise.all(started.map((vm) => vm.kill()));
  throw failed.reason;
}

/** A connection to a sandbox's agent, unless the sandbox ends first: its main process may be a short one. */
export async function connect({ spec, vm }: Booted, signal: AbortSignal): Promise<Agent> {
  const ended = new AbortController();
  void vm.exited.then((exit) => {
    ended.abort(
      new CapsaError("SANDBOX_ENDED", `${spec.name} ended before its steps: ${describeExit(exit)}`),
    );
  });
  const limits = { signal: AbortSignal.any([signal, ended.signal]) };
  return waitReadyTimeout(vm.vsockSocket(agentPort()), spec.bootTimeoutMs, limits);
}

/** As {@link connect}, to the agents of all that have steps, by the names that the file gives their sandboxes. */
export async function connectAll(
  steps: readonly Step[],
  booted: readonly Booted[],
  signal: AbortSignal,
): Promise<Map<string, Agent>> {
  const wanted = new Set(steps.map(({ sandbox }) => sandbox));
  const agents = booted
    .filter(({ spec }) => wanted.has(spec.name))
    .map(async (one) => [one.spec.name, await connect(one, signal)] as const);
  return new Map(await Promise.all(agents));
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
