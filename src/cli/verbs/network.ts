/** `capsa network`: the rules of a sandbox's network, others, and what they do. */
import type { Command } from "commander";
import { loadConfig } from "../../config/load.ts";
import { printable } from "../../errors/printable.ts";
import { parsePlace } from "../../network/rules.ts";
import type { NetworkPlace, NetworkState, NetworkUpdate } from "../../sandbox/api.ts";
import { explainNetwork } from "../../sandbox/explain.ts";
import { attach } from "../../sandbox/registry.ts";
import type { Cli } from "../cli.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { describeExplanation, describeNetwork } from "../network_words.ts";

/** What is said of rules. */
interface Lists {
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  readonly log: readonly string[];
}

interface Options extends Partial<Lists> {
  readonly explain?: string;
  readonly file?: string;
  readonly json?: true;
}

const collect = (rule: string, before: readonly string[] = []) => [...before, rule];

/** Undefined where nothing is said. */
function listsOf({ allow = [], deny = [], log = [] }: Options): Lists | undefined {
  return allow.length + deny.length + log.length > 0 ? { allow, deny, log } : undefined;
}

export function network(program: Command, cli: Cli): void {
  program
    .command("network")
    .summary("show or change what a running sandbox may reach, or ask which rule decides")
    .description(
      "Show what the network of a running sandbox lets through, in the order in which its rules are asked, or change " +
        "that: connections that the new rules do not allow are cut. --explain says what becomes of packets to one " +
        "place, and which rule decides; without a name, for the sandboxes of a capsa.toml.",
    )
    .argument("[name]", "name or id, as `capsa ps` lists it")
    .option("--allow <rule>", "let this through from now on, denied or not; may be repeated", collect)
    .option("--deny <rule>", "refuse this from now on; may be repeated", collect)
    .option(
      "--log <rule>",
      "let this through and tell of it, in `capsa logs --network`; may be repeated",
      collect,
    )
    .option("--explain <place>", "HOST:PORT[/udp]: exit code 0 when it is allowed, 1 when it is refused")
    .option("-f, --file <file>", "the file whose rules are explained (default: capsa.toml)")
    .option("--json", "as JSON")
    .addHelpText(
      "after",
      "\nExamples:\n  $ capsa network box\n  $ capsa network box --allow registry.npmjs.org:443 --deny 10.0.0.0/8\n" +
        "  $ capsa network box --explain example.org:443\n  $ capsa network --explain 192.0.2.1:53/udp",
    )
    .action((name: string | undefined, options: Options) =>
      name === undefined ? offline(options, cli) : running(name, options, cli),
    );
}

async function running(name: string, options: Options, cli: Cli): Promise<void> {
  const { explain, file } = options;
  const said = listsOf(options);
  if (file !== undefined) throw new UsageError("--file is for --explain without the name of a sandbox");
  const place = explain === undefined ? undefined : parsePlace("--explain", explain);
  await using vm = await attach(name);
  if (said) await vm.network.update(changed(await vm.network.state(), said));
  if (place !== undefined) return tell([{ place, told: await vm.network.explain(place) }], options, cli);
  const [state, counters] = await Promise.all([vm.network.state(), vm.network.counters()]);
  await (options.json
    ? cli.terminal.json({ ...state, counters })
    : cli.terminal.write(printable(describeNetwork(state, counters))));
}

/** What is said last of a rule holds: it leaves the list that it is in. */
export function changed(state: Pick<NetworkState, "allow" | "deny" | "log">, said: Lists): NetworkUpdate {
  const all = [...said.allow, ...said.deny, ...said.log];
  const twice = all.find((rule, index) => all.indexOf(rule) !== index);
  if (twice !== undefined) throw new UsageError(`${twice} is given more than once`);
  const merged = (rules: readonly string[], more: readonly string[]) => [
    ...rules.filter((rule) => !all.includes(rule)),
    ...more,
  ];
  return {
    deny: merged(state.deny, said.deny),
    log: merged(state.log, said.log),
    // where everything is allowed that is not to be narrowed by allowing more
    ...(said.allow.length > 0 || state.allow !== undefined
      ? { allow: merged(state.allow ?? ["*"], said.allow) }
      : {}),
  };
}

async function offline(options: Options, cli: Cli): Promise<void> {
  const { explain, file = "capsa.toml" } = options;
  if (explain === undefined || listsOf(options))
    throw new UsageError("the name of a running sandbox is wanted", "`capsa ps` lists them");
  const place = parsePlace("--explain", explain);
  const { sandboxes } = loadConfig(file, { values: "unread" });
  const found = sandboxes.flatMap(({ name, network, secrets }) =>
    network === "none" ? [] : [{ name, place, told: explainNetwork(network, place, secrets) }],
  );
  if (found.length === 0) throw new UsageError(`no sandbox of ${file} has a network`);
  await tell(found, options, cli);
}

interface Told {
  /** Of the sandbox, where it is one of a file. */
  readonly name?: string;
  readonly place: NetworkPlace;
  readonly told: ReturnType<typeof explainNetwork>;
}

async function tell(found: readonly Told[], { json }: Options, cli: Cli): Promise<void> {
  if (found.some(({ told }) => !told.allowed)) cli.exitCode = exitCodes.failed;
  if (json) {
    const documents = found.map(({ name, place, told }) => ({
      ...(name ? { sandbox: name } : {}),
      ...place,
      ...told,
    }));
    return cli.terminal.json(found[0]?.name === undefined ? documents[0] : documents);
  }
  for (const { name, place, told } of found)
    await cli.terminal.print(`${name ? `${name}: ` : ""}${describeExplanation(place, told)}`);
}
