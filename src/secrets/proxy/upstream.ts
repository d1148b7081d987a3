/** The way to the true hosts: their addresses, and whose certificates are believed. */

import { Resolver } from "node:dns/promises";
import { Agent } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import { createSecureContext, getCACertificates } from "node:tls";

/** Verified by this machine's trust store, and what NODE_EXTRA_CA_CERTS adds to it. */
export function agentMaker(nameServers: readonly string[] | undefined): () => Agent {
  const ca = [...getCACertificates("system"), ...getCACertificates("extra")];
  const secureContext = createSecureContext({ ca });
  const lookup = nameServers === undefined ? {} : { lookup: lookupAt(nameServers) };
  return () => new Agent({ secureContext, keepAlive: true, ...lookup });
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
