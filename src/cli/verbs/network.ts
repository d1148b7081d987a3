/** `capsa network`: the rules of a sandbox's network, others, and what they do. */

import type { Command } from "commander";
import { loadConfig } from "../../config/load.ts";
import { printable } from "../../errors/printable.ts";
import { parsePlace } from "../../network/rules.ts";
import type {
  EnforcedRule,
  NetworkCounters,
  NetworkExplanation,
  NetworkPlace,
  NetworkState,
  NetworkUpdate,
} from "../../sandbox/api.ts";
import { explainNetwork } from "../../sandbox/explain.ts";
import { attach } from "../../sandbox/registry.ts";
import type { Cli } from "../cli.ts";
import { exitCodes, UsageError } from "../failure.ts";

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
    .summary("show, change or explain what a running sandbox may reach")
    .description(
      "Show the rules of a running sandbox's network in the order in which they are checked, or change them. A " +
        "change cuts connections that the new rules do not allow. --explain shows what happens to packets to one " +
        "place, and which rule decides. Without a name it explains the sandboxes of a capsa.toml.",
    )
    .argument("[name]", "name or id, as `capsa ps` lists it")
    .option("--allow <rule>", "let this through from now on, even if it was denied; may be repeated", collect)
    .option("--deny <rule>", "refuse this from now on; may be repeated", collect)
    .option(
      "--log <rule>",
      "let this through and log it for `capsa logs --network`; may be repeated",
      collect,
    )
    .option("--explain <place>", "HOST:PORT[/udp]: exit code 0 if it is allowed, 1 if it is refused")
    .option("-f, --file <file>", "the file whose rules to explain (default: capsa.toml)")
    .option("--json", "print JSON")
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
    throw new UsageError("give the name of a running sandbox", "`capsa ps` lists them");
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

/** "example.org:443", "[2001:db8::1]:53/udp", "192.0.2.1/icmp". */
function describePlace({ host, protocol, port }: NetworkPlace): string {
  if (port === undefined) return `${host}/${protocol}`;
  return `${host.includes(":") ? `[${host}]` : host}:${port}${protocol === "tcp" ? "" : `/${protocol}`}`;
}

/** "allowed by the rule allow = […]", "refused: no rule allows it; to allow it: …". */
export function describeExplanation(place: NetworkPlace, told: NetworkExplanation): string {
  const where = describePlace(place);
  const about = told.question ? "the name would not be resolved, so nothing is sent: " : "";
  if (told.allowed) return `${where} is allowed${told.by === "rule" ? "" : ":"} ${grant(told)}`;
  const inner = told.about === undefined ? where : describePlace({ ...place, host: told.about });
  const mend = told.by === "place" || isDenied(told.rule) ? "" : `; to allow it: allow = ["${inner}"]`;
  return `${where} is refused${inner === where ? "" : `, as ${inner} lies in it`}: ${about}${refusal(told)}${mend}`;
}

function grant({ by, rule }: NetworkExplanation): string {
  if (by === "place") return "it is the sandbox's own gateway or name server";
  if (by === "otherwise") return "there is no allow list, and everything is that nothing else refuses";
  return rule?.log ? `and told, by the rule log = ["${rule.text}"]` : `by the rule allow = ["${rule?.text}"]`;
}

function refusal({ by, rule, why = "a rule denies it" }: NetworkExplanation): string {
  if (by === "otherwise") return "no rule of allow is for it";
  return isDenied(rule) ? `by the rule deny = ["${rule?.text}"]` : why;
}

/** By a rule that somebody has written. */
function isDenied(rule: EnforcedRule | undefined): boolean {
  return rule?.text !== undefined && !rule.allow;
}

/** The rules in force in the order in which they are asked, a line each, and what belongs to them. */
function describeNetwork(state: NetworkState, counters: NetworkCounters): string {
  const { rules, allow, ports, nameServers, hostLoopback } = state;
  const before = (index: number) => rules[index - 1];
  const lines = rules.flatMap((rule, index) => {
    if (rule.own) return describeOwn(rule, before(index));
    // what was widened into several is one to whoever wrote it
    if (rule.text !== undefined && before(index)?.text === rule.text) return [];
    if (rule.text !== undefined)
      return [`${rule.log ? "log  " : rule.allow ? "allow" : "deny "}  ${rule.text}`];
    return [`deny   ${rule.network} (${rule.why})`];
  });
  const otherwise =
    allow === undefined
      ? "allow  everything else"
      : "deny   everything else, names that no rule is for included";
  const published = ports.map(
    ({ protocol, address, port, guestPort }) =>
      `${address} port ${port}/${protocol} leads to its port ${guestPort}`,
  );
  return [
    ...lines,
    otherwise,
    `name servers: ${nameServers.join(", ") || "none"}`,
    ...(hostLoopback ? ["10.0.2.2 leads to this machine's loopback"] : []),
    ...published,
    describeCounters(counters),
    "",
  ].join("\n");
}

/** What is refused is one thing to the reader; what opens it stands below, as it was written. */
function describeOwn(rule: EnforcedRule, before: EnforcedRule | undefined): string[] {
  if (rule.allow || before?.why === rule.why) return [];
  return ["deny   this machine's own addresses (which only a rule for one of them, or hostLoopback, opens)"];
}

function describeCounters({ fromGuest, toGuest, refused, ...tcp }: NetworkCounters): string {
  const way = ({ packets, bytes }: NetworkCounters["toGuest"]) => `${packets} packets (${bytes} bytes)`;
  return `received ${way(toGuest)}, sent ${way(fromGuest)}, of which ${refused} were refused; ${tcp.connections} of at most ${tcp.maxConnections} connections`;
}
