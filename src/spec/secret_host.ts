/** Who is given a secret, and in which header: as people write it. */

import { SpecError } from "../errors/errors.ts";
import { below, type Field } from "./problem.ts";
import { parseTarget } from "./rules.ts";
import type { Secrets } from "./spec.ts";

/** As many as a network has services (ffi/vmm.cddl). */
const MAX_SERVICES = 64;
const HTTPS = 443;
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
export function parseHost(field: Field, text: string): SecretHost {
  const { name, network, protocol = "tcp", firstPort = HTTPS, lastPort = HTTPS } = parseTarget(field, text);
  const wrong = (why: string) =>
    new SpecError(field, `${JSON.stringify(text)} ${why}`, {
      hint: 'a host looks like "api.example.org:443"',
    });
  if (network !== undefined) throw wrong("is an IP address: give the name that is in the host's certificate");
  if (name === undefined || name.startsWith("*")) throw wrong("is more than one host: name each host");
  if (protocol !== "tcp" || firstPort !== lastPort) throw wrong("is not one TCP port");
  return { name, port: firstPort };
}

/** Throws {@link SpecError}. */
export function checkHeader(header: string): void {
  if (!TOKEN.test(header)) throw new SpecError([], `${JSON.stringify(header)} is not the name of a header`);
  if (FRAMING.includes(header.toLowerCase()))
    throw new SpecError([], `${header} controls the connection, and cannot hold a secret`);
}

/** Each host once, in the order in which they are named. Throws {@link SpecError}. */
export function hostsOf(secrets: Secrets): SecretHost[] {
  const all = Object.entries(secrets).flatMap(([name, { hosts }]) =>
    hosts.map((host, index) => parseHost(below([], name, "hosts", index), host)),
  );
  const each = [...new Map(all.map((host) => [`${host.name}:${host.port}`, host])).values()];
  if (each.length > MAX_SERVICES) throw new SpecError([], `they name more than ${MAX_SERVICES} hosts`);
  return each;
}
