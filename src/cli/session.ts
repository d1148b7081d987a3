/** A program in a sandbox, tied to this command's own streams or terminal. */
import type { AgentProcess, ExitStatus } from "../agent/api.ts";
import { exitCodeOf } from "../steps/exec.ts";
import type { Cli } from "./cli.ts";
import { exitCodes } from "./failure.ts";
import { copy } from "./output.ts";
import type { RawTerminal } from "./raw_terminal.ts";

/** Shows what it prints, to its end. Rejects as soon as that cannot be shown any more. */
export async function showOutput(child: AgentProcess, { terminal }: Cli): Promise<ExitStatus> {
  const copies = [
    copy(child.stdout, (chunk) => terminal.write(chunk)),
    copy(child.stderr, (chunk) => terminal.writeError(chunk)),
  ];
  const [ended] = await Promise.all([child.exited, ...copies]);
  return ended;
}

/**
 * The same with this terminal, whose size it follows. A signal ends it at once: keys that mean one go to the program, so
 * it is this command that is meant.
 */
export async function showTerminal(child: AgentProcess, raw: RawTerminal, cli: Cli): Promise<ExitStatus> {
  const { promise: interrupted, reject } = Promise.withResolvers<never>();
  cli.signal.addEventListener("abort", () => reject(cli.signal.reason));
  if (cli.signal.aborted) throw cli.signal.reason;
  raw.onResize(({ columns, rows }) => child.resize(columns, rows));
  try {
    return await Promise.race([showOutput(child, cli), interrupted]);
  } catch (error) {
    raw.restore();
    await cli.terminal.say(""); // what is said next, by whomever, is not part of the program's last line
    throw error;
  }
}

/** This command's exit code, and a word on the ends that it does not explain. */
export async function tellEnd(ended: ExitStatus, cli: Cli): Promise<void> {
  cli.exitCode = ended.timedOut ? exitCodes.timedOut : exitCodeOf(ended);
  if (ended.oomKilled) await cli.terminal.say("capsa: killed: it wanted more memory than --memory gives it");
}
