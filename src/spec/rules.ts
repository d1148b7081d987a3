/** What a sandbox may talk to, as people write it. */

import { BlockList, isIP } from "node:net";
import { SpecError } from "../errors/errors.ts";
import { below, type Field } from "./problem.ts";

export type Protocol = "tcp" | "udp" | "icmp";

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
 * One rule: `HOST[:PORT[-PORT]][/PROTOCOL]`, where HOST is a name, `*.DOMAIN`, `*`, an address or a network, IPv6 in
 * brackets where a port follows. With a port the protocol is TCP unless it says otherwise; without, all there are.
 * Throws {@link SpecError}.
 */
export function parseTarget(field: Field, text: string): Target {
  const { host, rest } = FORM.exec(text)?.groups ?? {};
  const parts = rest === undefined ? undefined : REST.exec(rest)?.groups;
  if (host === undefined || parts === undefined)
    throw wrong(field, text, "is not HOST, HOST:PORT or HOST:PORT/udp");
  const { first, last = first, bits, protocol } = parts;
  const ports =
    first === undefined ? {} : { firstPort: port(field, text, first), lastPort: port(field, text, last!) };
  if (ports.lastPort !== undefined && ports.firstPort > ports.lastPort)
    throw wrong(field, text, "has a range of ports that ends before it begins");
  if (protocol === "icmp" && first !== undefined)
    throw wrong(field, text, "has a port, but ICMP has no ports");
  const what = protocol ?? (first === undefined ? undefined : "tcp");
  return {
    ...destination(field, text, host, bits),
    ...(what === undefined ? {} : { protocol: what as Protocol }),
    ...ports,
  };
}

function destination(field: Field, text: string, host: string, bits: string | undefined): Target {
  const bare = host.replace(/^\[(.*)\]$/, "$1").toLowerCase();
  const family = isIP(bare);
  if (family === 6 && bits === undefined && bare === host.toLowerCase()) refuseHiddenPort(field, text);
  if (family !== 0) {
    const most = family === 4 ? 32 : 128;
    if (Number(bits ?? most) > most)
      throw wrong(field, text, `has a network prefix of more than ${most} bits`);
    return { network: `${bare}/${bits ?? most}` };
  }
  if (bits !== undefined || host.startsWith("["))
    throw wrong(field, text, "has no IP address before its network prefix");
  const name = bare.replace(/\.$/, "");
  if (name === "*") return { name };
  if (RANGE.test(name))
    throw wrong(
      field,
      text,
      'is a range of addresses; write the network, such as "10.0.0.0/28", or each address',
    );
  const [before, port] = splitLast(bare);
  if (isIP(before) === 6) throw wrong(field, text, `needs brackets: write "[${before}]:${port}"`);
  if (!NAME.test(name) || name.length > 253 || ENDS_IN_NUMBER.test(name))
    throw wrong(field, text, "names no valid host (write other letters in xn-- form)");
  return { name };
}

function splitLast(text: string): [before: string, last: string] {
  const at = text.lastIndexOf(":");
  return [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
}

/** "2001:db8::1:443" is an address; whoever writes it may have meant another one's port. */
function refuseHiddenPort(field: Field, text: string): void {
  const [before, last] = splitLast(text.split("/")[0]!);
  const icmp = text.endsWith("/icmp");
  if (icmp || isIP(before) !== 6 || !/^\d{2,5}$/.test(last) || Number(last) > 65535) return;
  throw wrong(
    field,
    text,
    `may be an address or one with a port: write "[${before}]:${last}", or "[${before}:${last}]" for the address`,
  );
}

function port(field: Field, text: string, digits: string): number {
  const number = Number(digits);
  if (number < 1 || number > 65535) throw wrong(field, text, "has a port that is not from 1 to 65535");
  return number;
}

function wrong(field: Field, text: string, why: string): SpecError {
  return new SpecError(field, `${JSON.stringify(text)} ${why}`, { hint: `rules look like ${EXAMPLES}` });
}

/** Throws {@link SpecError} for the first rule that is none. */
export function validateRules(field: Field, rules: readonly string[]): void {
  if (rules.length > MAX_RULES)
    throw new SpecError(field, `${rules.length} rules are more than ${MAX_RULES}`);
  rules.forEach((rule, index) => {
    refuseLoopback(below(field, index), rule);
  });
}

/** No packet leaves a machine for its loopback, so the rule would be about nothing. */
function refuseLoopback(field: Field, text: string): void {
  const { name, network } = parseTarget(field, text);
  if (name !== "localhost" && !LOOPBACK.some((loopback) => isInside(network, loopback))) return;
  throw new SpecError(field, `${JSON.stringify(text)} is the sandbox itself, and rules do not apply to it`, {
    hint: "to reach a service on this machine's loopback, use `capsa expose`, or hostLoopback = true and 10.0.2.2",
  });
}

/** Whether `inner` is a network inside `outer`, or the same. */
export function isInside(inner: string | undefined, outer: string): boolean {
  if (inner === undefined) return false;
  const [address, bits] = inner.split("/") as [string, string];
  const [outerAddress, outerBits] = outer.split("/") as [string, string];
  const family = isIP(address) === 4 ? "ipv4" : "ipv6";
  if (isIP(address) !== isIP(outerAddress) || Number(bits) < Number(outerBits)) return false;
  const list = new BlockList();
  list.addSubnet(outerAddress, Number(outerBits), family);
  return list.check(address, family);
}
