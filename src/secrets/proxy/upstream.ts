/** The way to the true hosts: their addresses, and whose certificates are believed. */

import { Resolver } from "node:dns/promises";
import { Agent } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import { getCACertificates } from "node:tls";

/** Connections that are kept for the next request, and how long: less than most servers keep them. */
const KEPT = 8;
const KEPT_MS = 4000;

/** Verified by this machine's trust store, and what NODE_EXTRA_CA_CERTS adds to it. */
export function makeAgent(nameServers: readonly string[] | undefined): Agent {
  const ca = [...getCACertificates("system"), ...getCACertificates("extra")];
  return new Agent({
    ca,
    keepAlive: true,
    maxFreeSockets: KEPT,
    timeout: KEPT_MS,
    ...(nameServers === undefined ? {} : { lookup: lookupAt(nameServers) }),
  });
}

/** By these name servers alone; without an IPv4 address an IPv6 one. */
function lookupAt(nameServers: readonly string[]): LookupFunction {
  const resolver = new Resolver();
  resolver.setServers(nameServers.map((address) => (isIP(address) === 6 ? `[${address}]` : address)));
  const find = async (name: string) => {
    try {
      return (await resolver.resolve4(name)).map((address) => ({ address, family: 4 }));
    } catch {
      return (await resolver.resolve6(name)).map((address) => ({ address, family: 6 }));
    }
  };
  return (name, { all }, done) => {
    find(name).then(
      (found) => {
        if (all) done(null, found);
        else done(null, found[0]!.address, found[0]!.family);
      },
      (error: NodeJS.ErrnoException) => done(error, "", 4),
    );
  };
}
