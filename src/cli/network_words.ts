/** Network rules and what they do, for people. */
import type {
  EnforcedRule,
  NetworkCounters,
  NetworkExplanation,
  NetworkPlace,
  NetworkState,
} from "../sandbox/api.ts";

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
export function describeNetwork(state: NetworkState, counters: NetworkCounters): string {
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
