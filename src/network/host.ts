/** What of this machine's network a sandbox has to do with: its name servers. */

import { readFileSync } from "node:fs";
import { isIP } from "node:net";

const MOST_SERVERS = 3; // as the C library has it
const WITHOUT_A_FILE = ["127.0.0.1"]; // resolv.conf(5)

/** Those of a resolv.conf(5), at most three. A link-local one, whose address needs an interface too, is left out. */
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
