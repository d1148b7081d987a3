/** `wait`: until a port of the guest accepts, a file exists, the main process has printed a line, or a command succeeds. */

import { setTimeout as sleep } from "node:timers/promises";
import { type Static, Type } from "@sinclair/typebox";
import { AgentError } from "../errors/errors.ts";
import { shellStatus } from "../host/signals.ts";
import { closed, command, duration, guestPath, optional, text, toArgv } from "../spec/forms.ts";
import { formatDuration, parseDuration } from "../spec/units.ts";
import type { Outcome } from "./api.ts";
import { commandTitle } from "./exec.ts";
import type { StepContext, StepKind, StepOf, StepPlace } from "./kind.ts";
import { Capture, quote, resolvePattern } from "./match.ts";

export interface Wait {
  /** What is waited for, in words. */
  readonly what: string;
  readonly until: Condition;
  readonly everyMs: number;
}

type Condition =
  | { readonly port: number }
  | { readonly file: string }
  | { readonly line: RegExp }
  | { readonly argv: readonly [string, ...string[]]; readonly cwd?: string };

export type WaitStep = StepOf<"wait", Wait>;

/** What a try that came to nothing has to say; of a command also what it printed. */
interface Try extends Omit<Outcome, "mismatches"> {
  readonly seen: string;
}

const EVERY_MS = 250;
/** Of the guest's lists of sockets that is read, bytes: those that listen are at the top. */
const SOCKETS = 1 << 20;
/** Ports told of where the one that is waited for is not among them. */
const PORTS_TOLD = 8;
const CONDITIONS = ["port", "file", "line", "exec"] as const;

const schema = Type.Object({
  wait: Type.Object(
    {
      port: optional(
        Type.Integer({
          minimum: 1,
          maximum: 65535,
          description: "Until a program in the guest listens at this TCP port.",
          expected: "a port from 1 to 65535",
        }),
      ),
      file: optional(guestPath("Or: until the file exists.")),
      line: optional(
        text(
          "Or: until the main process prints a line that this JavaScript regular expression matches. capsa keeps at " +
            "least the last 8 MiB of its output.",
        ),
      ),
      exec: optional(command("Or: until the command ends with exit code 0.")),
    },
    {
      ...closed,
      description: "Wait for a condition. The step's `timeout` limits the time.",
      expected: "a table such as { port = 8000 }",
    },
  ),
  every: optional(duration('wait: pause between two tries (default "250ms").')),
});

const example = `
[[steps]]
exec = "httpd -p 8000 -h /generated"        # a server, which goes into the background

[[steps]]
wait = { port = 8000 }                      # until a program in the guest listens at this TCP port
timeout = "30s"                             # most time to wait (default "10m")
every = "100ms"                             # pause between two tries (default "250ms")

[[steps]]
wait = { file = "/generated/data.csv" }     # or until a file exists

[[steps]]
wait = { line = '\\d\\d:\\d\\d' }               # or until the main process prints a matching line

[[steps]]
wait = { exec = "wget -qO- http://127.0.0.1:8000/data.csv >/dev/null" } # or until a command succeeds
`;

type Table = Static<typeof schema>["wait"];

export const wait: StepKind<Wait, typeof schema> = {
  schema,
  example,
  keepsTime: true,

  resolve({ wait: table, every }, place) {
    const { path, sandbox, report } = place;
    const at = [...path, "wait"];
    const [first, second] = CONDITIONS.filter((key) => table[key] !== undefined);
    if (first === undefined)
      report(at, "the step does not say what to wait for", `give it one of ${CONDITIONS.join(", ")}`);
    if (second !== undefined)
      report(
        [...at, second],
        `a step waits for one thing, and this one for ${first} and ${second}`,
        "make them steps of their own",
      );
    if (table.line !== undefined && sandbox?.hasMain === false)
      report(
        [...at, "line"],
        `sandbox "${sandbox.name}" has no main process that could print it`,
        'give the sandbox run = "…"',
      );
    const everyMs = every === undefined ? EVERY_MS : (parseDuration(every) ?? 0);
    if (everyMs === 0) report([...path, "every"], "must be greater than 0");
    return { what: whatOf(table), everyMs, until: conditionOf(table, place) };
  },

  title: ({ wait: table }) => `wait for ${whatOf(table)}`,

  async run({ what, until, everyMs, timeoutMs }, context) {
    const limit = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([context.signal, limit]);
    let last: Try | undefined;
    let tries = 0;
    try {
      for (;;) {
        last = await attempt(until, { ...context, signal });
        if (last === undefined) return { mismatches: [] };
        tries++;
        await sleep(Math.min(everyMs, timeoutMs), undefined, { signal });
      }
    } catch (error) {
      context.signal.throwIfAborted();
      if (!limit.aborted) throw error;
    }
    const { seen, ...ran } = last ?? { seen: "the first try did not come to its end" };
    const mismatch = {
      subject: what,
      expected: `within ${formatDuration(timeoutMs)}`,
      seen: tries > 1 ? `${seen} (the last of ${tries} tries)` : seen,
      hint: 'a longer limit is timeout = "…" in the step',
    };
    return { ...ran, mismatches: [mismatch] };
  },
};

function whatOf({ port, file, line, exec = "" }: Table): string {
  if (port !== undefined) return `port ${port}`;
  if (file !== undefined) return file;
  return line === undefined ? `success of ${commandTitle(exec)}` : `a line that matches /${line}/`;
}

function conditionOf({ port, file, line, exec = "true" }: Table, place: StepPlace): Condition {
  if (port !== undefined) return { port };
  if (file !== undefined) return { file };
  if (line !== undefined)
    return { line: resolvePattern(line, [...place.path, "wait", "line"], place.report) };
  const cwd = place.sandbox?.cwd;
  return { argv: toArgv(exec), ...(cwd !== undefined && { cwd }) };
}

/** Undefined where the condition holds. All goes by the connection that the agent keeps. */
async function attempt(until: Condition, context: StepContext): Promise<Try | undefined> {
  try {
    if ("port" in until) return await tryPort(until.port, context);
    if ("line" in until) return await tryLine(until.line, context);
    if ("argv" in until) return await tryCommand(until, context);
    return (await context.agent.exists(until.file, { signal: context.signal }))
      ? undefined
      : { seen: "does not exist" };
  } catch (error) {
    // a program, or a directory above a file, may yet come
    if (!(error instanceof AgentError) || context.signal.aborted) throw error;
    return { seen: error.message };
  }
}

/**
 * By the kernel's lists of sockets (proc(5)): a connection of ours would be one that the server sees, and the agent would
 * need a connection of its own for it.
 */
async function tryPort(port: number, { agent, signal }: StepContext): Promise<Try | undefined> {
  const ports = new Set<number>();
  for (const list of ["/proc/net/tcp", "/proc/net/tcp6"]) {
    if (!(await agent.exists(list, { signal }))) continue; // a kernel without IPv6
    const text = await agent.readTextFile(list, { length: SOCKETS, signal });
    for (const [, found] of text.matchAll(/^ *\d+: [0-9A-F]+:([0-9A-F]{4}) [0-9A-F]+:0000 0A /gm))
      ports.add(Number.parseInt(found!, 16));
  }
  if (ports.has(port)) return undefined;
  if (ports.size === 0) return { seen: "no program listens at any port" };
  const others = [...ports].sort((a, b) => a - b).slice(0, PORTS_TOLD);
  return { seen: `no program listens at it; there is one at ${others.join(", ")}` };
}

async function tryLine(pattern: RegExp, { agent, printed, signal }: StepContext): Promise<Try | undefined> {
  const entries = await printed();
  const lines = (["stdout", "stderr"] as const).flatMap((wanted) => {
    const pieces = entries.filter(({ stream }) => stream === wanted).map(({ data }) => data);
    return new TextDecoder().decode(Buffer.concat(pieces)).split(/\r?\n/);
  });
  if (lines.some((line) => pattern.test(line))) return undefined;
  await agent.ping({ signal }); // a sandbox that has ended prints nothing more
  const last = lines.findLast((line) => line !== "");
  return { seen: last === undefined ? "it has printed nothing" : `it printed last ${quote(last)}` };
}

async function tryCommand(
  { argv, cwd }: { readonly argv: readonly string[]; readonly cwd?: string },
  { agent, signal, onOutput }: StepContext,
): Promise<Try | undefined> {
  const output = { stdout: new Capture(false), stderr: new Capture(false) };
  const take = (stream: "stdout" | "stderr") => (chunk: Uint8Array) => {
    output[stream].add(chunk);
    onOutput(stream, chunk);
  };
  const options = { signal, onStdout: take("stdout"), onStderr: take("stderr") };
  const ended = await agent.exec(argv, cwd === undefined ? options : { ...options, cwd });
  const exitCode = shellStatus(ended);
  if (exitCode === 0) return undefined;
  const tails = { stdout: output.stdout.tail(), stderr: output.stderr.tail() };
  return { seen: `exit code ${exitCode}`, exitCode, output: tails };
}
