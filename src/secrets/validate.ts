/** Whether secrets can be: everything of them but their values. */

import { checkObject } from "../errors/check.ts";
import { SpecError } from "../errors/errors.ts";
import { parseTarget } from "../network/rules.ts";
import type { NetworkSpec } from "../network/spec.ts";
import type { Secrets } from "./spec.ts";

/** As many as a network has services (ffi/vmm.cddl). */
const MAX_SERVICES = 64;
const HTTPS = 443;
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** What says where a request goes or where it ends is not to be made of a secret. */
const FRAMING = [
  "host",
  "content-length",
  "transfer-encoding",
  "connection",
  "upgrade",
  "expect",
  "te",
  "trailer",
];

/** A host that is given secrets. */
export interface SecretHost {
  /** In small letters. */
  readonly name: string;
  readonly port: number;
}

/** `NAME[:PORT]`, of one name. Throws {@link SpecError}. */
export function parseHost(field: string, text: string): SecretHost {
  const { name, network, protocol = "tcp", firstPort = HTTPS, lastPort = HTTPS } = parseTarget(field, text);
  const wrong = (why: string) =>
    new SpecError(field, `${JSON.stringify(text)} ${why}`, {
      hint: 'a host looks like "api.example.org:443"',
    });
  if (network !== undefined) throw wrong("is an address: a host is known by the name in its certificate");
  if (name === undefined || name.startsWith("*")) throw wrong("is more than one host: each is to be named");
  if (protocol !== "tcp" || firstPort !== lastPort) throw wrong("is not one TCP port");
  return { name, port: firstPort };
}

/** Each host once, in the order in which they are named. */
export function hostsOf(secrets: Secrets): SecretHost[] {
  checkObject("secrets", secrets);
  const all = Object.entries(secrets).flatMap(([name, { hosts }]) =>
    hosts.map((host, index) => parseHost(`secrets.${name}.hosts[${index}]`, host)),
  );
  return [...new Map(all.map((host) => [`${host.name}:${host.port}`, host])).values()];
}

/** Throws {@link SpecError} for the first thing that cannot be. `taken`: names of the sandbox's other variables. */
export function validateSecrets(secrets: Secrets, network: NetworkSpec, taken: readonly string[]): void {
  checkObject("secrets", secrets);
  for (const [name, { from, hosts, header }] of Object.entries(secrets)) {
    const field = `secrets.${name}`;
    if (!NAME.test(name)) throw new SpecError("secrets", `${JSON.stringify(name)} is no name of a variable`);
    if (taken.includes(name))
      throw new SpecError(field, "the sandbox's environment has a variable of that name");
    if (!/^(env:[^=\0]+|file:\/[^\0]*)$/.test(from))
      throw new SpecError(`${field}.from`, `${JSON.stringify(from)} is neither env:NAME nor file:/PATH`);
    if (!Array.isArray(hosts) || hosts.length === 0)
      throw new SpecError(`${field}.hosts`, "it names nobody: a secret is for at least one host");
    if (header !== undefined && !TOKEN.test(header))
      throw new SpecError(`${field}.header`, `${JSON.stringify(header)} is no name of a header`);
    if (header !== undefined && FRAMING.includes(header.toLowerCase()))
      throw new SpecError(`${field}.header`, `${header} is about the connection, and holds no secret`);
  }
  if (hostsOf(secrets).length > MAX_SERVICES)
    throw new SpecError("secrets", `they name more than ${MAX_SERVICES} hosts`);
  if (network === "none" && Object.keys(secrets).length > 0) {
    throw new SpecError("secrets", "the sandbox has no network to reach their hosts by", {
      hint: "give it one: `network = { allow = [] }` lets it reach the secrets' hosts and nothing else",
    });
  }
}
