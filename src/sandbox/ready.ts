/** Waiting for a sandbox's agent. */

import type { Agent } from "../agent/api.ts";
import { type AgentClient, connectAgent } from "../agent/client.ts";
import { checkOptions, checkSignal, checkTime } from "../errors/check.ts";
import { guard } from "../errors/edge.ts";
import { AgentError, BootError, GuestLostError, SandboxEndedError } from "../errors/errors.ts";
import { saysNobodyListens } from "../wire/socket.ts";
import type { RunningSandbox, SandboxExit, VsockSocket } from "./api.ts";
import { AGENT_PORT } from "./plan.ts";

/** @internal */
export const READY_TIMEOUT_MS = 30_000;
const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 200;

export interface WaitOptions {
  readonly signal?: AbortSignal;
}

/**
 * The guest port on which the agent listens.
 * @example const socket = vm.vsockSocket(sandbox.agentPort());
 */
export function agentPort(): number {
  return AGENT_PORT;
}

/**
 * Connect to the agent behind `socket` as soon as it listens, within 30 seconds. Rejects with `BootError` when the
 * sandbox does not come up, with `SandboxEndedError` when it has ended, with `AgentError` `ETIMEDOUT` when time runs out,
 * and with the signal's reason.
 * @example const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
 */
export function waitReady(socket: VsockSocket | string, options: WaitOptions = {}): Promise<Agent> {
  return guard("waitReady", [options], () => wait(socket, READY_TIMEOUT_MS, options));
}

/**
 * As {@link waitReady}, with the limit given in milliseconds.
 * @example const agent = await sandbox.waitReadyTimeout(socket, 5_000);
 */
export async function waitReadyTimeout(
  socket: VsockSocket | string,
  ms: number,
  options: WaitOptions = {},
): Promise<Agent> {
  return guard("waitReadyTimeout", [options], () => wait(socket, ms, options));
}

/**
 * Connect to the agent of a sandbox, however long it takes to boot. Rejects as {@link waitReady} does.
 * @internal
 */
export async function agentOf(vm: RunningSandbox): Promise<AgentClient> {
  await whileItRuns(vm, () => vm.ready);
  return wait(vm.vsockSocket(AGENT_PORT), READY_TIMEOUT_MS, {});
}

async function wait(socket: VsockSocket | string, ms: number, options: WaitOptions): Promise<AgentClient> {
  checkOptions("waitReady", options, ["signal"]);
  checkSignal(options.signal);
  checkTime("the limit", ms);
  options.signal?.throwIfAborted();
  const limit = AbortSignal.timeout(ms);
  const signal = options.signal === undefined ? limit : AbortSignal.any([limit, options.signal]);
  try {
    if (typeof socket === "string") return await connect(socket, signal, ms);
    const { vm, path, opened } = socket;
    // The guest tells when its agent listens; a port of another service is tried until it does
    await orAborted(
      whileItRuns(vm, () => Promise.all([vm.ready, opened])),
      signal,
    );
    return await whileItRuns(vm, (over) => connect(path, AbortSignal.any([signal, over]), ms, vm));
  } catch (error) {
    if (!limit.aborted || options.signal?.aborted) throw error;
    throw new AgentError("ETIMEDOUT", `no agent answered at ${socket} within ${ms} ms`, { op: "waitReady" });
  }
}

/**
 * As `work`, unless the sandbox has ended or ends meanwhile: then it rejects with what {@link endOf} gives, and the signal
 * that `work` was given is aborted.
 * @internal
 */
export async function whileItRuns<T>(
  vm: RunningSandbox,
  work: (over: AbortSignal) => Promise<T>,
): Promise<T> {
  const before = await Promise.race([vm.exited, undefined]);
  if (before !== undefined && before.reason !== "detached") throw endOf(vm, before);
  const over = new AbortController();
  const result = work(over.signal);
  const ended = vm.exited.then((exit) => {
    if (exit.reason === "detached") return result;
    throw endOf(vm, exit);
  });
  ended.catch((error) => over.abort(error));
  return Promise.race([ended, result]);
}

/**
 * The error of whoever wanted a sandbox that has ended: what broke, as `BootError`, or else {@link SandboxEndedError}.
 * @internal
 */
export function endOf(vm: RunningSandbox, { reason, failure }: SandboxExit): BootError | SandboxEndedError {
  return failure === undefined
    ? new SandboxEndedError(reason)
    : new BootError(failure.code, failure.message, { consoleTail: vm.consoleTail() });
}

/**
 * Until an agent greets. A port nobody listens on is accepted by the vsock device and ends at once; a sandbox that is
 * just starting has no socket yet.
 */
async function connect(
  path: string,
  signal: AbortSignal,
  ms: number,
  vm?: RunningSandbox,
): Promise<AgentClient> {
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    signal.throwIfAborted();
    try {
      return await connectAgent(path, { signal, timeoutMs: ms, sandbox: vm?.id, ended: vm?.exited });
    } catch (error) {
      if (!isEarly(error) || signal.aborted) throw error;
    }
    await orAborted(Bun.sleep(pause), signal);
  }
}

/**
 * A connection that failed because nobody listens yet, or any more.
 * @internal
 */
export function isEarly(error: unknown): boolean {
  return error instanceof GuestLostError || saysNobodyListens(error);
}

function orAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
