/** The private networks of a file: who is on them. */

import { suggest } from "../errors/suggest.ts";
import type { Report } from "../spec/problem.ts";
import type { SandboxSpec } from "../spec/spec.ts";

/** A network that only one sandbox is on joins nothing: mostly its name is another's, misspelt. */
export function checkNetworks(sandboxes: readonly SandboxSpec[], report: Report): void {
  const joined = sandboxes.flatMap(({ name, networks = [] }) =>
    networks.map((network, index) => ({ network: network.name, sandbox: name, index })),
  );
  for (const { network, sandbox, index } of joined) {
    const others = joined.filter((other) => other.sandbox !== sandbox);
    if (others.some((other) => other.network === network)) continue;
    const meant = suggest(network, [...new Set(others.map((other) => other.network))]);
    report(
      ["sandbox", sandbox, "networks", index],
      `no other sandbox of this file is on the network "${network}"`,
      meant ? `did you mean "${meant}"?` : `add "${network}" to the networks of another sandbox`,
    );
  }
}
