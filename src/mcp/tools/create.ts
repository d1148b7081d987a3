/** `create`: start a sandbox of a kind that the operator described, or a smaller one. */

import { type Static, Type } from "@sinclair/typebox";
import { CapsaError } from "../../errors/errors.ts";
import type { Quantity } from "../../spec/key.ts";
import { CPUS, MEMORY } from "../../spec/machine.ts";
import { tellSpec } from "../../spec/sandbox.ts";
import type { Operator } from "../limits.ts";
import type { OwnSandbox } from "../sandboxes.ts";
import { inputs, type Tool } from "../tool.ts";

export function create(kinds: Operator["kinds"]): Tool {
  const most = (key: "memoryMb" | "cpus") => Math.max(...kinds.map((kind) => kind[key]));
  const names = kinds.map(({ name }) => name);
  const input = inputs({
    memoryMb: size(MEMORY, most("memoryMb"), "Memory", " MiB"),
    cpus: size(CPUS, most("cpus"), "Processors"),
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
        throw new CapsaError("NOT_ALLOWED", `a sandbox of kind "${spec.name}" may have at most ${most}`, {
          hint: "ask for less, or leave memoryMb and cpus out",
        });
      }
      return describeSandbox(await sandboxes.create({ ...spec, memoryMb, cpus }, signal));
    },
  };
}

/** As much of it as this server's operator allows. */
function size(key: Quantity, most: number, what: string, unit = "") {
  const least = Math.min(key.least, most);
  return Type.Optional(
    Type.Integer({
      description: `${what}; as much as is allowed (${most}${unit}) without.`,
      minimum: least,
      maximum: most,
      expected: `a whole number from ${least} to ${most}${unit}, which is what this server's operator allows`,
    }),
  );
}

/** What a model should know of one. */
export function describeSandbox({ spec, kind, created }: OwnSandbox): Record<string, unknown> {
  return { sandbox: spec.name, kind, ...tellSpec(spec, created), created: created.toISOString() };
}
