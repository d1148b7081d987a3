/** A command that lasts as long as what it has opened. */
import type { Opening } from "../agent/forward/api.ts";
import type { RunningSandbox } from "../sandbox/api.ts";
import type { Cli } from "./cli.ts";

/** To Ctrl-C, which is its reason to fail, or to the sandbox's end. */
export async function stay(vm: RunningSandbox, opening: Opening, { terminal, signal }: Cli): Promise<void> {
  await opening.closed;
  signal.throwIfAborted();
  await terminal.say(`${vm.name} has ended`);
}
