/** `create`: start a sandbox of a kind that the operator described, or a smaller one. */

import { type Static, Type } from "@sinclair/typebox";
import { CapsaError } from "../../errors/errors.ts";
import type { Operator } from "../limits.ts";
import type { OwnSandbox } from "../sandboxes.ts";
import { inputs, type Tool } from "../tool.ts";

/** A guest needs that to start, as capsa.toml has it. */
const LEAST_MEMORY_MB = 64;

export function create(kinds: Operator["kinds"]): Tool {
  const mostMemory = Math.max(...kinds.map(({ memoryMb }) => memoryMb));
  const mostCpus = Math.max(...kinds.map(({ cpus }) => cpus));
  const size = (what: string, unit: string, least: number, most: number) =>
    Type.Optional(
      Type.Integer({
        description: `${what}; as much as is allowed (${most}${unit}) without.`,
        minimum: Math.min(least, most),
        maximum: most,
        expected: `a whole number from ${Math.min(least, most)} to ${most}${unit}, which is what this server's operator allows`,
      }),
    );
  const names = kinds.map(({ name }) => name);
  const input = inputs({
    memoryMb: size("Memory", " MiB", LEAST_MEMORY_MB, mostMemory),
    cpus: size("Processors", "", 1, mostCpus),
    kind: Type.Optional(
      Type.Union(
        names.map((name) => Type.Literal(name)),
        {
          description: `What it is to be; ${names[0]} without.`,
          expected: names.map((name) => `"${name}"`).join(" or "),
        },
      ),
    ),
  });
  return {
    name: "create",
    description:
      "Start a sandbox: a throw-away Linux machine of its own. Gives its name for the other tools. What it can reach " +
      "and how long it lives are this server's operator's to set. Files in it are gone when it ends.",
    input,
    hints: { readOnlyHint: false, destructiveHint: false },
    async run(args: Static<typeof input>, { sandboxes, signal }) {
      const spec = kinds.find(({ name }) => name === args.kind) ?? kinds[0];
      const { memoryMb = spec.memoryMb, cpus = spec.cpus } = args;
      if (memoryMb > spec.memoryMb || cpus > spec.cpus) {
        const most = `${spec.memoryMb} MiB and ${spec.cpus} processors`;
        throw new CapsaError("NOT_ALLOWED", `of kind "${spec.name}" this server's operator allows ${most}`, {
          hint: "ask for less, or leave memoryMb and cpus out",
        });
      }
      return describeSandbox(await sandboxes.create({ ...spec, memoryMb, cpus }, signal));
    },
  };
}

/** What a model should know of one; paths of this machine are not among that. */
export function describeSandbox({ spec, kind, created }: OwnSandbox): Record<string, unknown> {
  const { name, memoryMb, cpus, network, networks, rootfs, shares, ttlMs, idleTimeoutMs } = spec;
  return {
    sandbox: name,
    kind,
    memoryMb,
    cpus,
    rootfs: rootfs.kind,
    network:
      network === "none" ? "none" : { allow: network.allow ?? "everything outside", deny: network.deny },
    ...(networks === undefined ? {} : { privateNetworks: networks.map((one) => one.name) }),
    shares: shares.map(({ guest, mode, protect }) => ({ path: guest, mode, readOnlyPaths: protect })),
    created: created.toISOString(),
    ...(ttlMs === undefined ? {} : { endsAt: new Date(created.getTime() + ttlMs).toISOString() }),
    ...(idleTimeoutMs === undefined ? {} : { endsWhenIdleForSeconds: idleTimeoutMs / 1000 }),
  };
}
