/** `capsa exec --attach`: what a process in the background of a sandbox prints, and its terminal. */
import type { AttachedProcess } from "../agent/api.ts";
import { AgentError, CapsaError } from "../errors/errors.ts";
import type { Cli } from "./cli.ts";
import { UsageError } from "./failure.ts";
import { RawTerminal, requireTerminal, terminalSize } from "./raw_terminal.ts";
import { showOutput, showTerminal, tellEnd, withAgent } from "./run_program.ts";

/** Ctrl-], as telnet and virsh have it: a key that programs have no use for. */
const LEAVE = 0x1d;

interface AttachMode {
  readonly interactive: true | undefined;
  readonly tty: true | undefined;
}

export async function attachTo(name: string, id: number, mode: AttachMode, cli: Cli): Promise<void> {
  if (mode.tty) requireTerminal();
  await withAgent(name, cli, async (agent) => {
    try {
      await using child = await agent.attachProcess(id, { signal: cli.signal });
      await (mode.tty ? inTerminal(child, cli) : inPipes(child, mode, cli));
    } catch (error) {
      if (!(error instanceof AgentError && error.code === "ESRCH")) throw error;
      throw new CapsaError("PROCESS_NOT_FOUND", `no process ${id} is known in ${name}`, {
        hint: `\`capsa ps ${name}\` lists them`,
      });
    }
  });
}

async function inPipes(child: AttachedProcess, { interactive }: AttachMode, cli: Cli): Promise<void> {
  if (interactive) void pass(Bun.stdin.stream(), child);
  await tellEnd(await showOutput(child, cli), cli);
}

async function inTerminal(child: AttachedProcess, cli: Cli): Promise<void> {
  if (!child.terminal) throw new UsageError(`process ${child.id} has no terminal`, "attach to it without -t");
  await cli.terminal.say("Ctrl-] leaves it running");
  using raw = new RawTerminal();
  const { columns, rows } = terminalSize();
  child.resize(columns, rows);
  const left = passKeys(Bun.stdin.stream(), child);
  const ended = await Promise.race([showTerminal(child, raw, cli), left]);
  if (ended) await tellEnd(ended, cli);
}

/** To its end, which is the process's end of input. */
async function pass(from: ReadableStream<Uint8Array>, child: AttachedProcess): Promise<void> {
  const writer = child.stdin?.getWriter();
  for await (const chunk of from) await writer?.write(chunk);
  await writer?.close();
}

/** Until the key that means this command and not the process. */
async function passKeys(from: ReadableStream<Uint8Array>, child: AttachedProcess): Promise<void> {
  const writer = child.stdin?.getWriter();
  for await (const chunk of from) {
    const at = chunk.indexOf(LEAVE);
    const keys = at === -1 ? chunk : chunk.subarray(0, at);
    if (keys.length > 0) await writer?.write(keys);
    if (at !== -1) return;
  }
}
