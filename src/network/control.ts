/** The network of a sandbox that runs, by its VMM's control channel: the rules, others, and what they say. */

import { guardMethods } from "../errors/edge.ts";
import { validateRules } from "../spec/rules.ts";
import { flag, list, map, oneOf, uint, words } from "../wire/fields.ts";
import type { Message } from "../wire/framing.ts";
import { readPorts } from "./ports.ts";
import { compileRules } from "./rules.ts";
import type {
  EnforcedRule,
  NetworkCounters,
  NetworkExplanation,
  NetworkPlace,
  NetworkState,
  NetworkUpdate,
  SandboxNetwork,
} from "./spec.ts";

/** A request of ffi/vmm.cddl; its result. */
type Ask = (op: string, fields?: Message) => Promise<Message>;

export function sandboxNetwork(ask: Ask): SandboxNetwork {
  const state = async () => readState(await ask("network"));
  return guardMethods({
    state,
    update: async (change: NetworkUpdate) => {
      validateRules("allow", change.allow ?? []);
      validateRules("deny", change.deny ?? []);
      validateRules("log", change.log ?? []);
      await ask("rules", rulesRequest(change, await state()));
    },
    counters: async () => readCounters(await ask("counters")),
    explain: async (place: NetworkPlace) => readExplanation(await ask("explain", placeFields(place))),
  });
}

function rulesRequest(change: NetworkUpdate, now: NetworkState): Message {
  const { hostLoopback } = now;
  const allow = change.allow ?? now.allow;
  const { deny = now.deny, log = now.log } = change;
  const rules = { ...(allow === undefined ? {} : { allow }), deny, log, hostLoopback };
  return { rules: compileRules(rules), otherwise: allow === undefined };
}

/** `host`, `protocol` and `port` of "explain". */
export function placeFields({ host, protocol, port }: NetworkPlace): Message {
  return { host: host.toLowerCase().replace(/\.$/, ""), protocol, ...(port === undefined ? {} : { port }) };
}

/** `explanation` of ffi/vmm.cddl. */
export function readExplanation(message: Message): NetworkExplanation {
  return {
    allowed: flag(message, "allowed"),
    by: oneOf(message, "by", ["place", "rule", "otherwise"]),
    question: flag(message, "question"),
    ...(message.why === undefined ? {} : { why: words(message, "why") }),
    ...(message.about === undefined ? {} : { about: words(message, "about") }),
    ...(message.rule === undefined ? {} : { rule: readRule(message.rule) }),
  };
}

function readCounters(message: Message): NetworkCounters {
  const way = (key: "fromGuest" | "toGuest") => {
    const counts = map(message[key], key);
    return { packets: uint(counts, "packets"), bytes: uint(counts, "bytes") };
  };
  return {
    fromGuest: way("fromGuest"),
    toGuest: way("toGuest"),
    refused: uint(message, "refused"),
    connections: uint(message, "connections"),
    maxConnections: uint(message, "maxConnections"),
  };
}

function readState(message: Message): NetworkState {
  const rules = list(message, "rules").map(readRule);
  const texts = (allow: boolean, log: boolean) => [
    ...new Set(
      rules.flatMap((rule) =>
        rule.allow === allow && rule.log === log && rule.text !== undefined ? [rule.text] : [],
      ),
    ),
  ];
  return {
    ...(flag(message, "otherwise") ? {} : { allow: texts(true, false) }),
    deny: texts(false, false),
    log: texts(true, true),
    rules,
    hostLoopback: flag(message, "hostLoopback"),
    nameServers: list(message, "nameServers").map((server) => words({ server }, "server", 64)),
    ports: readPorts(message),
  };
}

function readRule(value: unknown): EnforcedRule {
  const rule = map(value, "a rule");
  const optional = (key: "text" | "name" | "network" | "why") =>
    rule[key] === undefined ? {} : { [key]: words(rule, key, 512) };
  return {
    allow: flag(rule, "allow"),
    log: rule.log === true,
    own: rule.own === true,
    ...optional("text"),
    ...optional("name"),
    ...optional("network"),
    ...(rule.protocol === undefined ? {} : { protocol: oneOf(rule, "protocol", ["tcp", "udp", "icmp"]) }),
    firstPort: uint(rule, "firstPort", 65535),
    lastPort: uint(rule, "lastPort", 65535),
    ...optional("why"),
  };
}
