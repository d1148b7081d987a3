/** The ordered table of what a sandbox may talk to, which the VMM enforces. */

import { isIP } from "node:net";
import { SpecError } from "../errors/errors.ts";
import { isInside, parseTarget, type Target } from "../spec/rules.ts";
import type { NetworkSpec, UserNetwork } from "../spec/spec.ts";
import type { NetworkPlace } from "./spec.ts";

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
 * The table, of which the first rule that matches decides: what is denied; what opens one of the host's own addresses, and
 * all others of these; what opens a guarded place by its address, and the guarded places; what else is allowed, what is
 * told of first.
 */
export function compileRules(network: Pick<UserNetwork, "allow" | "deny" | "log" | "hostLoopback">): Rule[] {
  const allowed = [
    ...written("log", network.log, { allow: true, log: true }),
    ...written("allow", network.allow ?? [], { allow: true }),
  ];
  const isKey = (target: Target) => GUARDED.some((rule) => isInside(target.network, rule.network!));
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
    widen(parseTarget([field, index], text)).map((target) => ({ ...what, ...target, text })),
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

/** The same network with everything let through and told, but for what is guarded. */
export function openAndTold(network: NetworkSpec): UserNetwork {
  const base = network === "none" ? { publish: [], hostLoopback: false } : network;
  const { allow: _, ...rest } = { allow: undefined, ...base };
  return { ...rest, mode: "user", deny: [], log: ["*"] };
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
