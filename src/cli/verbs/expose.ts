/** `capsa expose`: a service of this machine, from a sandbox. */
import type { Command } from "commander";
import { attach } from "../../sandbox/registry.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";
import { stay } from "../stay.ts";

interface Options {
  readonly json?: true;
}

export function expose(program: Command, cli: Cli): void {
  program
    .command("expose")
    .summary("let a sandbox reach one service of this machine")
    .description(
      "Let a port of a sandbox's own loopback lead to one service of this machine and to nothing else, until " +
        "Ctrl-C or the end of the sandbox. The sandbox needs no network. The command prints the address of the " +
        "service in the guest.",
    )
    .argument("<name>", "name or id, as `capsa ps` lists it")
    .argument(
      "<port>",
      "HOST_PORT[:GUEST_PORT] (default: the same port). HOST_PORT may be the path of a Unix socket",
    )
    .option("--json", 'print one JSON document: {"guestPort": …}')
    .addHelpText(
      "after",
      "\nExamples:\n  $ capsa expose box 5432\n  $ capsa expose box /run/postgresql/.s.PGSQL.5432:5432",
    )
    .action((name: string, port: string, options: Options) => run(name, port, options, cli));
}

async function run(name: string, text: string, { json }: Options, cli: Cli): Promise<void> {
  const { terminal, signal } = cli;
  const { service, guestPort } = parse(text);
  await using vm = await attach(name);
  const onFailure = ({ message }: Error) => void terminal.say(`${name}: ${message}`);
  const options = { ...(guestPort === undefined ? {} : { guestPort }), signal, onFailure };
  await using opening = await vm.expose(service, options);
  const { guestPort: port } = opening;
  await (json ? terminal.json({ guestPort: port }) : terminal.print(`127.0.0.1:${port}`));
  await stay(vm, opening, cli);
}

/** HOST_PORT[:GUEST_PORT], where the first may be a path. */
function parse(text: string): { service: number | string; guestPort?: number } {
  const found = /^(?:(?<port>\d+)|(?<path>[^:]*\/[^:]*))(?::(?<guestPort>\d+))?$/.exec(text)?.groups;
  if (found === undefined)
    throw new UsageError(
      `"${text}" is not HOST_PORT[:GUEST_PORT]`,
      "such as 5432, 5432:15432 or /run/service.sock:8000; a path has a slash",
    );
  const guestPort = found.guestPort === undefined ? {} : { guestPort: Number(found.guestPort) };
  return { service: found.path ?? Number(found.port), ...guestPort };
}
