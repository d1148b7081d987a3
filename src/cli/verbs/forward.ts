/** `capsa forward`: a server in a sandbox, from this machine. */
import type { Command } from "commander";
import { attach } from "../../sandbox/registry.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";
import { stay } from "../stay.ts";

interface Options {
  readonly host?: string;
  readonly json?: true;
}

export function forward(program: Command, cli: Cli): void {
  program
    .command("forward")
    .summary("reach a server in a sandbox, even without a network")
    .description(
      "Let a port of this machine's loopback lead to a server in a sandbox, until Ctrl-C or the end of the " +
        "sandbox. The server may listen on 127.0.0.1 or ::1. The sandbox needs no network. The command prints the " +
        "URL.",
    )
    .argument("<name>", "name or id, as `capsa ps` lists it")
    .argument(
      "<port>",
      "GUEST_PORT[:HOST_PORT] (default: a free port). Either may be the path of a Unix socket",
    )
    .option("--host <address>", "address of this machine to listen on (127.0.0.1)")
    .option("--json", 'print one JSON document: {"address": …, "port": …, "url": …}')
    .addHelpText(
      "after",
      "\nExamples:\n  $ capsa forward box 8000:8080\n  $ capsa forward box /run/app.sock:./app.sock",
    )
    .action((name: string, port: string, options: Options) => run(name, port, options, cli));
}

async function run(name: string, text: string, { host, json }: Options, cli: Cli): Promise<void> {
  const { terminal, signal } = cli;
  const { from, to } = parse(text);
  if (host !== undefined && typeof to === "string")
    throw new UsageError("--host and a path cannot be combined", "give a port of this machine, or no --host");
  await using vm = await attach(name);
  const place = typeof to === "string" ? { path: to } : { ...(host === undefined ? {} : { host }), port: to };
  const onFailure = ({ message }: Error) => void terminal.say(`${name}: ${message}`);
  await using opening = await vm.forward(from, { ...place, signal, onFailure });
  const { address, port, url } = opening;
  await (json ? terminal.json({ address, port, url }) : terminal.print(url));
  await stay(vm, opening, cli);
}

/** GUEST_PORT[:HOST_PORT], where each may be a path. */
function parse(text: string): { from: number | string; to: number | string } {
  const at = text.indexOf(":");
  const [from, to] = at === -1 ? [text, "0"] : [text.slice(0, at), text.slice(at + 1)];
  const place = (part: string) => (/^\d+$/.test(part) ? Number(part) : part.includes("/") ? part : undefined);
  const [guest, host] = [place(from), place(to)];
  if (guest === undefined || host === undefined || (typeof guest === "string" && !guest.startsWith("/")))
    throw new UsageError(
      `"${text}" is not GUEST_PORT[:HOST_PORT]`,
      "such as 8000, 8000:8080 or /run/app.sock:8080; paths in the guest are absolute; paths of this machine contain a slash",
    );
  return { from: guest, to: host };
}
