/** Programs in the sandbox: `spawn` streams, `exec` collects what it streams. */

import { checkObject, checkOptions, checkWhole } from "../../errors/check.ts";
import { AgentError, ArgumentError } from "../../errors/errors.ts";
import { shown } from "../../errors/printable.ts";
import { Collector, pieces } from "../../wire/streams.ts";
import type { Environment, ExecOptions, ExecResult, SpawnOptions } from "../api.ts";
import type { Connection } from "../connect/connection.ts";
import { programRequest, RunningProcess, SIGKILL, wantsInput } from "./program.ts";

const MAX_OUTPUT = 64 << 20;

const EXEC_OPTIONS: ReadonlySet<string> = new Set<keyof ExecOptions>([
  ...(["env", "clearEnv", "cwd", "user", "group", "stdin", "timeoutMs", "signal"] as const),
  ...(["limits", "onStdout", "onStderr", "maxOutput", "onLimit", "stderr"] as const),
]);

/** A key of `exec`'s second argument that cannot be a misspelt option. */
const VARIABLE = /^[A-Z_][A-Z0-9_]*$/;

/** An environment or options: options when a key is an option's name. `ArgumentError` for a mixture of both. */
export function execOptions(given: Environment | ExecOptions | undefined): ExecOptions {
  checkObject("exec's second argument", given);
  const keys = Object.keys(given ?? {});
  const options = keys.filter((key) => EXEC_OPTIONS.has(key));
  const word = keys.find((key) => !EXEC_OPTIONS.has(key) && !VARIABLE.test(key));
  if (word !== undefined) checkOptions("exec", { [word]: undefined }, [...EXEC_OPTIONS]);
  if (options.length === 0) return { env: (given ?? {}) as Environment };
  const other = keys.find((key) => !EXEC_OPTIONS.has(key));
  if (other !== undefined) {
    throw new ArgumentError(
      `exec's second argument mixes the option "${options[0]}" with "${other}", which is not an option; ` +
        "put environment variables in { env: { … } }",
    );
  }
  return given as ExecOptions;
}

export async function exec(
  connection: Connection,
  command: string | readonly string[],
  options: ExecOptions,
): Promise<ExecResult> {
  const started = performance.now();
  const { onStdout, onStderr, maxOutput, onLimit } = options;
  checkWhole("maxOutput", maxOutput);
  if (onLimit !== undefined && onLimit !== "truncate" && onLimit !== "kill")
    throw new ArgumentError(`onLimit should be "truncate" or "kill", not ${shown(onLimit)}`);
  const child = await spawn(connection, command, options);
  let room = maxOutput ?? MAX_OUTPUT;
  let truncated = false;
  const overflow = () => {
    if (onLimit === undefined) throw tooLarge(command, maxOutput ?? MAX_OUTPUT);
    if (onLimit === "kill" && !truncated) child.kill();
    truncated = true;
  };
  const gather = async (stream: ReadableStream<Uint8Array>, each: ExecOptions["onStdout"]) => {
    const collector = new Collector();
    for await (const chunk of stream) {
      const counts = each === undefined || maxOutput !== undefined;
      const part = counts ? chunk.subarray(0, room) : chunk;
      if (counts) room -= part.length;
      if (each === undefined) collector.add(part);
      else if (part.length > 0) await each(part);
      if (part.length < chunk.length) overflow();
    }
    return collector.bytes();
  };
  try {
    const [stdout, stderr] = await Promise.all([
      gather(child.stdout, onStdout),
      gather(child.stderr, onStderr),
    ]);
    const status = await child.exited;
    const decoder = new TextDecoder();
    return {
      ...status,
      truncated,
      stdout: decoder.decode(stdout),
      stderr: decoder.decode(stderr),
      stdoutBytes: stdout,
      stderrBytes: stderr,
      durationMs: performance.now() - started,
    };
  } catch (error) {
    child.abandon(error);
    throw error;
  }
}

export async function spawn(
  connection: Connection,
  command: string | readonly string[],
  options: SpawnOptions | ExecOptions,
): Promise<RunningProcess> {
  const { request, window } = programRequest(command, options);
  const { stdin, signal, timeoutMs } = options;
  const child = new RunningProcess();
  const path = request.argv[0]!;
  const call = connection.call({
    op: "exec",
    path,
    request,
    window,
    cancel: { ev: "kill", signal: SIGKILL },
    signal,
    onEvent: child.onEvent,
  });
  child.watch(call, connection);
  await child.started(connection, path, timeoutMs);
  if (stdin !== undefined && stdin !== "pipe") child.feed(pieces(stdin));
  else if (wantsInput(options)) child.openInput();
  return child;
}

function tooLarge(command: string | readonly string[], limit: number): AgentError {
  const path = typeof command === "string" ? command : command[0];
  return new AgentError(
    "OUTPUT_TOO_LARGE",
    `exec ${path}: it printed more than ${limit} bytes; it was killed`,
    {
      op: "exec",
      path,
      hint: "stream it with onStdout and onStderr or agent.spawn, or raise maxOutput",
    },
  );
}
