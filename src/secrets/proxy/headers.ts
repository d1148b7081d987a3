/** Headers on their way: those of the connection stay behind, placeholders become values, and values placeholders. */

import type { ProxySecret } from "./talk.ts";

/** Names and values in turns, as Node has them. */
export type RawHeaders = readonly string[];

/** A text that was sent, and what it is to the guest. */
export interface Swapped {
  readonly sent: string;
  readonly shown: string;
}

/** Of a connection and not of a message, RFC 9110 section 7.6.1; those that `Connection` names as well. */
const HOP = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
];

export function* pairs(headers: RawHeaders): Generator<[name: string, value: string]> {
  for (let i = 0; i + 1 < headers.length; i += 2) yield [headers[i]!, headers[i + 1]!];
}

/** Values of all headers of this name, in small letters. */
export function valuesOf(headers: RawHeaders, name: string): string[] {
  return [...pairs(headers)].filter(([key]) => key.toLowerCase() === name).map(([, value]) => value);
}

/** What says whom a message is for and where it ends stays, whoever calls it a header of the connection. */
const KEPT = ["host", "content-length"];

export function withoutHop(headers: RawHeaders): string[] {
  const named = valuesOf(headers, "connection")
    .flatMap((value) => value.split(",").map((word) => word.trim().toLowerCase()))
    .filter((name) => !KEPT.includes(name));
  return [...pairs(headers)].filter(([name]) => ![...HOP, ...named].includes(name.toLowerCase())).flat();
}

/** The headers with values for placeholders where a secret's may be. */
export function swapIn(
  headers: RawHeaders,
  secrets: readonly ProxySecret[],
): { readonly headers: string[]; readonly swapped: Swapped[] } {
  const swapped: Swapped[] = secrets.map(({ value, placeholder }) => ({ sent: value, shown: placeholder }));
  const changed = [...pairs(headers)].map(([name, value]) => {
    const here = secrets.filter(({ header = name.toLowerCase() }) => header === name.toLowerCase());
    return [name, put(value, here, swapped)];
  });
  return { headers: changed.flat(), swapped };
}

/** `Basic` has its user and password in base64 (RFC 7617): Git and pip send a token that way. */
function put(value: string, secrets: readonly ProxySecret[], swapped: Swapped[]): string {
  const [, scheme, shown] = /^(basic\s+)([A-Za-z0-9+/]+={0,2})\s*$/i.exec(value) ?? [];
  if (shown === undefined) return replace(value, secrets);
  const plain = Buffer.from(shown, "base64").toString("latin1");
  const full = replace(plain, secrets);
  if (full === plain) return value;
  const sent = Buffer.from(full, "latin1").toString("base64");
  swapped.push({ sent, shown });
  return scheme + sent;
}

function replace(text: string, secrets: readonly ProxySecret[]): string {
  return secrets.reduce((now, { placeholder, value }) => now.replaceAll(placeholder, () => value), text);
}

/** An answer's headers as the guest may see them. */
export function swapOut(headers: RawHeaders, swapped: readonly Swapped[]): string[] {
  return headers.map((text) =>
    swapped.reduce((now, { sent, shown }) => now.replaceAll(sent, () => shown), text),
  );
}
