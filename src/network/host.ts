/** What of this machine's network a sandbox has to do with: its name servers and its own addresses. */

import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";

export interface HostNetwork {
  /** At most three addresses. */
  readonly nameServers: readonly string[];
  /** Of the machine's interfaces, but for loopback. */
  readonly addresses: readonly string[];
}

const MOST_SERVERS = 3; // as the C library has it
const WITHOUT_A_FILE = ["127.0.0.1"]; // resolv.conf(5)

export function hostNetwork(): HostNetwork {
  const addresses = Object.values(networkInterfaces())
    .flatMap((interfaces) => interfaces ?? [])
    .filter(({ internal }) => !internal)
    .map(({ address }) => address.replace(/%.*$/, ""));
  return { nameServers: nameServers(), addresses: [...new Set(addresses)] };
}

/** Those of a resolv.conf(5). A link-local one, whose address needs an interface too, is left out. */
export function nameServers(path = "/etc/resolv.conf"): string[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return WITHOUT_A_FILE;
  }
  const found = [...text.matchAll(/^[ \t]*nameserver[ \t]+(\S+)/gm)].map(([, address]) => address!);
  const usable = found
    .filter((address) => isIP(address) !== 0 && !address.includes("%"))
    .slice(0, MOST_SERVERS);
  return usable.length > 0 ? usable : WITHOUT_A_FILE;
}
