/** What of this machine's network a sandbox has to do with: how names are found, by resolv.conf(5). */

import { readFileSync } from "node:fs";
import { isIP } from "node:net";

export interface HostNames {
  /** At most three addresses; a link-local one has its interface behind it: `fe80::1%eth0`. */
  readonly servers: readonly string[];
  /** The file names no server, which means this machine itself. */
  readonly fallback: boolean;
  /** Domains that a short name is looked for in. */
  readonly search: readonly string[];
  /** Of those that a client in a sandbox can obey. */
  readonly options: readonly string[];
}

const MOST_SERVERS = 3; // as the C library has it
const LONGEST_ZONE = 15;
const WITHOUT_A_SERVER = "127.0.0.1";
const MOST_DOMAINS = 32;
const DOMAIN = /^(?:\.|(?:[a-z0-9_-]{1,63}\.?)+)$/i;
/** What asks for one server, as there is one: `rotate` is the guest's name server's affair. */
const OPTION =
  /^(?:(?:ndots|timeout|attempts):\d{1,3}|edns0|trust-ad|no-aaaa|use-vc|no-tld-query|single-request(?:-reopen)?)$/;

/** The VMM reads the same again while the sandbox runs (ffi/net/resolv_conf.c). */
export function hostNames(path = "/etc/resolv.conf"): HostNames {
  const lines = read(path)
    .split("\n")
    .map((line) => line.trim().split(/[ \t\r\v\f]+/) as [string, ...string[]]);
  const words = (key: string) => lines.filter(([first]) => first === key).map(([, ...rest]) => rest);
  const servers = words("nameserver")
    .flatMap(([address]) => address ?? [])
    .filter(isServer)
    .slice(0, MOST_SERVERS);
  // of `search` and `domain` the last line holds
  const [key, ...domains] = lines.findLast(([key]) => key === "search" || key === "domain") ?? [];
  return {
    servers: servers.length > 0 ? servers : [WITHOUT_A_SERVER],
    fallback: servers.length === 0,
    search: domains
      .slice(0, key === "domain" ? 1 : MOST_DOMAINS)
      .filter((domain) => DOMAIN.test(domain) && domain.length <= 253),
    options: words("options")
      .flat()
      .filter((option) => OPTION.test(option)),
  };
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function isServer(address: string): boolean {
  return isIP(address) !== 0 && (address.split("%")[1]?.length ?? 0) <= LONGEST_ZONE;
}
