/** From what a sandbox has reached to the rules that would let it. */

import { isIP } from "node:net";
import { printableToml } from "../errors/printable.ts";
import type { NetworkAccess } from "./spec.ts";

/** What one has learned from a run. */
interface Learned {
  /** The smallest list for `allow`, sorted. */
  readonly allow: readonly string[];
  /** Names that were asked for and led to nothing that was reached: no rule is made of them. */
  readonly onlyAsked: readonly string[];
}

/**
 * By name where a name led there; where it led to a private address, by that as well, as a name alone may not lead there.
 */
export function learn(accesses: readonly NetworkAccess[]): Learned {
  const reached = accesses.filter(({ protocol }) => protocol !== "dns");
  const rules = reached.flatMap((access) =>
    access.inside && access.name !== undefined ? [access.allow, byAddress(access)] : [access.allow],
  );
  const names = new Set(reached.map(({ name }) => name));
  const asked = accesses.flatMap(({ protocol, name }) =>
    protocol === "dns" && name !== undefined ? [name] : [],
  );
  return {
    allow: [...new Set(rules)].sort(),
    onlyAsked: [...new Set(asked)].filter((name) => !names.has(name)).sort(),
  };
}

/** The rule for the same with the address in place of the name. */
function byAddress({ address = "", name = "", allow, port }: NetworkAccess): string {
  const host = isIP(address) === 6 && port !== undefined ? `[${address}]` : address;
  return host + allow.slice(name.length);
}

/** A `[sandbox.NAME.network]` table's `allow` for `capsa.toml`. */
export function learnedToml(sandbox: string, { allow, onlyAsked }: Learned): string {
  return [
    `[sandbox.${sandbox}.network]`,
    allow.length === 0
      ? "allow = []"
      : `allow = [\n${allow.map((rule) => `  ${printableToml(rule)},\n`).join("")}]`,
    ...onlyAsked.map((name) => `# asked for and not reached, so without a rule: ${name}`),
    "",
  ].join("\n");
}
