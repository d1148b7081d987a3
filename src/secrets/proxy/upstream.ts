/** The way to the true hosts: their addresses, and whose certificates are believed. */

import { Resolver } from "node:dns/promises";
import { Agent } from "node:https";
import { isIP, type LookupFunction } from "node:net";
import type { Duplex } from "node:stream";
import { connect, createSecureContext, getCACertificates, type SecureContext } from "node:tls";
import { connectBy, goesBy, type OutsideProxy } from "./outside.ts";
import type { ProxyTask } from "./talk.ts";

/** Verified by this machine's trust store, and what NODE_EXTRA_CA_CERTS adds to it. */
export function agentMaker({ nameServers, outside }: Pick<ProxyTask, "nameServers" | "outside">) {
  const ca = [...getCACertificates("system"), ...getCACertificates("extra")];
  const secureContext = createSecureContext({ ca });
  const lookup = nameServers === undefined ? {} : { lookup: lookupAt(nameServers) };
  return (name: string): Agent =>
    goesBy(outside, name)
      ? new OutsideAgent(outside, secureContext)
      : new Agent({ secureContext, keepAlive: true, ...lookup });
}

/** By way of this machine's proxy, which finds the host's address. */
class OutsideAgent extends Agent {
  readonly #proxy: OutsideProxy;
  readonly #secureContext: SecureContext;

  constructor(proxy: OutsideProxy, secureContext: SecureContext) {
    super({ keepAlive: true });
    this.#proxy = proxy;
    this.#secureContext = secureContext;
  }

  override createConnection(
    { host, port, servername }: { host?: string; port?: number; servername?: string },
    done: (error: Error | null, socket?: Duplex) => void,
  ): undefined {
    const begin = async () => {
      const socket = await connectBy(this.#proxy, `${host}:${port}`, this.#secureContext);
      const tls = connect({ socket, servername: servername!, secureContext: this.#secureContext });
      tls.once("secureConnect", () => {
        tls.off("error", done);
        done(null, tls);
      });
      tls.once("error", done);
    };
    begin().catch((error) => done(error));
  }
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
