/** Which of a file's sandboxes and steps a command is about. */
import { ArgumentError } from "../errors/errors.ts";
import { suggest } from "../errors/suggest.ts";
import type { SandboxSpec } from "../spec/spec.ts";

/** These, and whom they may reach by private networks. */
function withPeers(sandboxes: readonly SandboxSpec[], names: readonly string[]): string[] {
  const networks = sandboxes
    .filter(({ name }) => names.includes(name))
    .flatMap(({ networks = [] }) => networks.map(({ name }) => name));
  const peers = sandboxes.filter((one) => one.networks?.some(({ name }) => networks.includes(name)));
  return [...names, ...peers.map(({ name }) => name)];
}

/** What is booted and run: everything, or what belongs to the sandboxes named. */
export function choose<Step extends { readonly sandbox: string }>(
  { sandboxes, steps }: { readonly sandboxes: readonly SandboxSpec[]; readonly steps: readonly Step[] },
  names: readonly string[],
): { specs: SandboxSpec[]; steps: Step[] } {
  const known = sandboxes.map(({ name }) => name);
  for (const name of names) {
    if (known.includes(name)) continue;
    const meant = suggest(name, known);
    throw new ArgumentError(`the file has no sandbox "${name}"`, {
      hint: meant ? `did you mean "${meant}"?` : `it has: ${known.join(", ")}`,
    });
  }
  const needed = new Set(
    names.length > 0
      ? names
      : steps.length > 0
        ? withPeers(
            sandboxes,
            steps.map(({ sandbox }) => sandbox),
          )
        : known,
  );
  return {
    specs: sandboxes.filter(({ name }) => needed.has(name)),
    steps: steps.filter(({ sandbox }) => needed.has(sandbox)),
  };
}
