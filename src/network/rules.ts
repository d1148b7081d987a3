/** What a sandbox may talk to: rules as people write them, and the ordered table that the VMM enforces. */

import { BlockList, isIP } from "node:net";
import { SpecError } from "../errors/errors.ts";
import type { NetworkPlace, NetworkSpec, UserNetwork } from "./spec.ts";

type Protocol = "tcp" | "udp" | "icmp";

/** `net-rule` of ffi/vmm.cddl without its `allow`: to a name or to a network, never both. */
export interface Target {
  /** In small letters; `*.example.org` for all below a domain, `*` for all. */
  readonly name?: string;
  /** `10.0.0.0/8`. */
  readonly network?: string;
  readonly protocol?: Protocol;
  readonly firstPort?: number;
  readonly lastPort?: number;
}

interface Rule extends Target {
  readonly allow: boolean;
  /** Of what it allows somebody is told. */
  readonly log?: true;
  /** Only where the address is this machine's own, which the VMM asks the kernel when a connection begins. */
  readonly own?: true;
  /** What a refusal says. */
  readonly why?: string;
  /** The rule as it was written; absent: it is capsa's own. */
  readonly text?: string;
}

const FORM = /^(?<host>\[[^\]]*\]|[0-9a-f.]*(?::[0-9a-f.]*){2,}|[^:[\]/]+)(?<rest>.*)$/i;
const REST =
  /^(?:\/(?<bits>\d{1,3}))?(?::(?<first>\d{1,5})(?:-(?<last>\d{1,5}))?)?(?:\/(?<protocol>tcp|udp|icmp))?$/;
const NAME =
  /^(?:\*\.)?(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;
/** What browsers take for an IPv4 address, and nobody's name ends in. */
const ENDS_IN_NUMBER = /(?:^|\.)[0-9]+$/;
const RANGE = /^[0-9]+(?:\.[0-9]+){3}-[0-9.]+$/;
const LOOPBACK = ["127.0.0.0/8", "::1/128"];
const MAX_RULES = 200;
const EXAMPLES = '"example.org:443", "*.example.org:443", "10.0.0.0/8:5432", "[2001:db8::1]:53/udp"';

/**
 * Where clouds tell a machine its secrets, and what is on the cable itself: only a rule for such an address, or for a
 * part of such a network, opens it. 169.254.0.0/16 has most clouds' metadata (AWS, Azure, Google, DigitalOcean, Hetzner,
 * Oracle, OpenStack).
 */
const GUARDED: readonly Rule[] = [
  ["169.254.0.0/16", "a link-local address, as of a cloud's metadata service"],
  ["fe80::/10", "a link-local address"],
  ["100.100.100.200/32", "a cloud's metadata service"], // Alibaba Cloud
  ["168.63.129.16/32", "a cloud's own service for its machines"], // Azure: WireServer
  ["192.0.0.192/32", "a cloud's metadata service"], // Oracle Cloud, of old
  ["fd00:ec2::/32", "a cloud's own services for its machines"], // AWS: metadata, names, time, pods' identities
  ["fd00:42::42/128", "a cloud's metadata service"], // Scaleway
  ["fd20:ce::254/128", "a cloud's metadata service"], // Google Cloud
].map(([network, why]) => ({
  allow: false,
  network: network!,
  why: `${why}, which only a rule for it opens`,
}));

/** This machine's own addresses, whichever those are by then: a rule for one of them alone opens it, or `hostLoopback`. */
const OWN: readonly Rule[] = ["0.0.0.0/0", "::/0"].map((network) => ({
  allow: false,
  own: true,
  network,
  why: "the host's own address, which only a rule for it, or hostLoopback, opens",
}));

/**
 * One rule: `HOST[:PORT[-PORT]][/PROTOCOL]`, where HOST is a name, `*.DOMAIN`, `*`, an address or a network, IPv6 in
 * brackets where a port follows. With a port the protocol is TCP unless it says otherwise; without, all there are.
 * Throws {@link SpecError}.
 */
export function parseTarget(field: string, text: string): Target {
  const { host, rest } = FORM.exec(text)?.groups ?? {};
  const parts = rest === undefined ? undefined : REST.exec(rest)?.groups;
  if (host === undefined || parts === undefined)
    throw wrong(field, text, "is not HOST, HOST:PORT or HOST:PORT/udp");
  const { first, last = first, bits, protocol } = parts;
  const ports =
    first === undefined ? {} : { firstPort: port(field, text, first), lastPort: port(field, text, last!) };
  if (ports.lastPort !== undefined && ports.firstPort > ports.lastPort)
    throw wrong(field, text, "has its ports the wrong way round");
  if (protocol === "icmp" && first !== undefined) throw wrong(field, text, "has a port, and ICMP has none");
  const what = protocol ?? (first === undefined ? undefined : "tcp");
  return {
    ...destination(field, text, host, bits),
    ...(what === undefined ? {} : { protocol: what as Protocol }),
    ...ports,
  };
}

/** `HOST:PORT[/udp]` or `HOST/icmp`, of one name or address. Throws {@link SpecError}. */
export function parsePlace(field: string, given: string): NetworkPlace {
  const { name, network, protocol, firstPort, lastPort } = parseTarget(field, given);
  const [address, bits] = network?.split("/") ?? [];
  const host = name ?? address!;
  const whole = address === undefined || Number(bits) === (isIP(address) === 4 ? 32 : 128);
  const hint =
    'a place looks like "example.org:443", "192.0.2.1:53/udp", "[2001:db8::1]:443", "192.0.2.1/icmp"';
  if (host.startsWith("*") || !whole || firstPort !== lastPort)
    throw new SpecError(field, `${JSON.stringify(given)} is more than one place`, { hint });
  if (protocol === undefined || (firstPort === undefined && protocol !== "icmp"))
    throw new SpecError(field, `${JSON.stringify(given)} has no port`, { hint });
  return { host, protocol, ...(firstPort === undefined ? {} : { port: firstPort }) };
}

function destination(field: string, text: string, host: string, bits: string | undefined): Target {
  const bare = host.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  const family = isIP(bare);
  if (family === 6 && bits === undefined && bare === host.toLowerCase()) refuseHiddenPort(field, text);
  if (family !== 0) {
    const most = family === 4 ? 32 : 128;
    if (Number(bits ?? most) > most) throw wrong(field, text, `has more than ${most} bits of network`);
    return { network: `${bare}/${bits ?? most}` };
  }
  if (bits !== undefined || host.startsWith("["))
    throw wrong(field, text, "has something else than an address before its network's bits");
  const name = bare.replace(/\.$/, "");
  if (name === "*") return { name };
  if (RANGE.test(name))
    throw wrong(
      field,
      text,
      'is a range of addresses; write the network, such as "10.0.0.0/28", or each address',
    );
  const [before, port] = splitLast(bare);
  if (isIP(before) === 6) throw wrong(field, text, `has no brackets: write "[${before}]:${port}"`);
  if (!NAME.test(name) || name.length > 253 || ENDS_IN_NUMBER.test(name))
    throw wrong(field, text, "names no host (one with other letters is written in its xn-- form)");
  return { name };
}

function splitLast(text: string): [before: string, last: string] {
  const at = text.lastIndexOf(":");
  return [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
}

/** "2001:db8::1:443" is an address; whoever writes it may have meant another one's port. */
function refuseHiddenPort(field: string, text: string): void {
  const [before, last] = splitLast(text.split("/")[0]!);
  const icmp = text.endsWith("/icmp");
  if (icmp || isIP(before) !== 6 || !/^\d{2,5}$/.test(last) || Number(last) > 65535) return;
  throw wrong(
    field,
    text,
    `may be an address or one with a port: write "[${before}]:${last}", or "[${before}:${last}]" for the address`,
  );
}

function port(field: string, text: string, digits: string): number {
  const number = Number(digits);
  if (number < 1 || number > 65535) throw wrong(field, text, "has a port that is not from 1 to 65535");
  return number;
}

function wrong(field: string, text: string, why: string): SpecError {
  return new SpecError(field, `${JSON.stringify(text)} ${why}`, { hint: `rules look like ${EXAMPLES}` });
}

/** Throws {@link SpecError} for the first rule that is none. */
export function validateRules(field: string, rules: readonly string[]): void {
  if (rules.length > MAX_RULES)
    throw new SpecError(field, `${rules.length} rules are more than ${MAX_RULES}`);
  rules.forEach((rule, index) => {
    refuseLoopback(`${field}[${index}]`, rule);
  });
}

/** No packet leaves a machine for its loopback, so the rule would be about nothing. */
function refuseLoopback(field: string, text: string): void {
  const { name, network } = parseTarget(field, text);
  if (name !== "localhost" && !LOOPBACK.some((loopback) => within(network, loopback))) return;
  throw new SpecError(field, `${JSON.stringify(text)} is the sandbox itself, which no rule is for`, {
    hint: "a service of this machine's loopback is reached by `capsa expose`, or with hostLoopback = true as 10.0.2.2",
  });
}

/**
 * The table, of which the first rule that matches decides: what is denied; what opens one of the host's own addresses, and
 * all others of these; what opens a guarded place by its address, and the guarded places; what else is allowed, what is
 * told of first.
 */
export function compileRules(network: Pick<UserNetwork, "allow" | "deny" | "log" | "hostLoopback">): Rule[] {
  const allowed = [
    ...written("log", network.log, { allow: true, log: true }),
    ...written("allow", network.allow ?? [], { allow: true }),
  ];
  const isKey = (target: Target) => GUARDED.some((rule) => within(target.network, rule.network!));
  const keysOfOwn = allowed.filter(isOneAddress).map((rule) => ({ ...rule, own: true as const }));
  return [
    ...written("deny", network.deny, { allow: false }),
    ...(network.hostLoopback ? [] : [...keysOfOwn, ...OWN]),
    ...allowed.filter(isKey),
    ...GUARDED,
    ...allowed.filter((target) => !isKey(target)),
  ];
}

function written(field: string, rules: readonly string[], what: Pick<Rule, "allow" | "log">): Rule[] {
  return rules.flatMap((text, index) =>
    widen(parseTarget(`${field}[${index}]`, text)).map((target) => ({ ...what, ...target, text })),
  );
}

function isOneAddress({ network }: Target): boolean {
  return network?.endsWith(isIP(network.split("/")[0]!) === 4 ? "/32" : "/128") ?? false;
}

/** Whoever says `*` means addresses that no name led to as well. */
function widen(target: Target): Target[] {
  if (target.name !== "*") return [target];
  const { name: _, ...rest } = target;
  return [target, { ...rest, network: "0.0.0.0/0" }, { ...rest, network: "::/0" }];
}

/** Whether `inner` is a network inside `outer`, or the same. */
function within(inner: string | undefined, outer: string): boolean {
  if (inner === undefined) return false;
  const [address, bits] = inner.split("/") as [string, string];
  const [outerAddress, outerBits] = outer.split("/") as [string, string];
  const family = isIP(address) === 4 ? "ipv4" : "ipv6";
  if (isIP(address) !== isIP(outerAddress) || Number(bits) < Number(outerBits)) return false;
  const list = new BlockList();
  list.addSubnet(outerAddress, Number(outerBits), family);
  return list.check(address, family);
}

/** The same network with everything let through and told, but for what is guarded. */
export function openAndTold(network: NetworkSpec): UserNetwork {
  const base = network === "none" ? { publish: [], hostLoopback: false } : network;
  const { allow: _, ...rest } = { allow: undefined, ...base };
  return { ...rest, mode: "user", deny: [], log: ["*"] };
}
