/** What a sandbox may be: the list of all its keys, and the way from what was given to a specification that can be. */
import { Type } from "@sinclair/typebox";
import { type Context, fromTypeScript, type Key, resolveTable, tableSchema, tellTable } from "./key.ts";
import { LABELS } from "./labels.ts";
import { CWD, ENV, RUN, TIMES } from "./life.ts";
import { MACHINE, NAME_KEY } from "./machine.ts";
import { NETWORK, NETWORKS, SECRETS } from "./network.ts";
import type { SandboxOptions } from "./options.ts";
import { type Checker, checkReadable, parseHostPath } from "./paths.ts";
import { type Problem, type Report, refuseFirst, reporter, reporting } from "./problem.ts";
import { hostsOf } from "./secret_host.ts";
import { checkShares, SHARES } from "./shares.ts";
import type { MachineSpec, RootfsSpec, SandboxSpec } from "./spec.ts";
import { writableIn } from "./writable.ts";

const rootfs = Type.String({
  pattern: "^(base|host|\\.{0,2}/[^\\x00]*|\\.{1,2})$",
  description:
    'The root file system of the guest: "base" (the default; busybox), "host" (this machine\'s /usr, read-only) ' +
    "or a directory (a path with a slash). The guest's changes stay in its memory.",
  expected: '"base", "host" or a directory such as "./rootfs"',
});

const ROOTFS: Key = {
  name: "rootfs",
  default: { kind: "base" } satisfies RootfsSpec,
  schema: rootfs,
  plain: Type.Union(
    [
      rootfs,
      Type.Object({ kind: Type.Union([Type.Literal("base"), Type.Literal("host")]) }),
      Type.Object({ kind: Type.Literal("directory"), path: Type.String() }),
    ],
    { expected: rootfs.expected! },
  ),
  parse: (given: string | RootfsSpec, path, context) => {
    if (given === "base" || given === "host") return { kind: given };
    const directory = typeof given === "string" ? given : given.kind === "directory" ? given.path : undefined;
    if (directory === undefined) return given;
    return { kind: "directory", path: parseHostPath(directory, path, context) };
  },
  tell: ({ kind }: RootfsSpec) => ({ rootfs: kind }),
};

const DESCRIBED_BY: Key = {
  field: "describedBy",
  schema: Type.Array(Type.String(), { expected: "a list of absolute paths" }),
};

/** All keys, in the order in which they are told. */
const KEYS: readonly Key[] = [
  ...MACHINE,
  ROOTFS,
  NETWORK,
  NETWORKS,
  ENV,
  SECRETS,
  LABELS,
  RUN,
  CWD,
  ...TIMES,
  SHARES,
  DESCRIBED_BY,
];

export const SandboxSchema = tableSchema(KEYS, "toml", {
  description: "A sandbox.",
  expected: "a [sandbox.NAME] table",
});

const SpecSchema = tableSchema(
  KEYS.filter((key) => key !== CWD),
  "typescript",
  { expected: "a specification of a sandbox" },
);

/** As an object of a program's: its name is one of the keys, and its networks are those that the program has made. */
const OPTIONS = KEYS.map((key) => {
  if (key === NAME_KEY) return { ...key, name: "name" };
  return key === NETWORKS ? { ...key, schema: NETWORKS.plain! } : key;
});

export const OptionsSchema = tableSchema(OPTIONS, "toml", {
  expected: "an object with the keys of a [sandbox.NAME] table",
});

/** The specification, with defaults, of what the schema of the context's side was checked against. */
export function resolveSandbox(
  given: Readonly<Record<string, unknown>>,
  context: Context,
  keys: readonly Key[] = KEYS,
): SandboxSpec {
  const { cwd, run, ...rest } = resolveTable(keys, given, [], context) as unknown as SandboxSpec & {
    cwd?: string;
  };
  const name = context.name === undefined ? {} : { name: context.name };
  const file = context.file === undefined ? {} : { describedBy: [context.file] };
  const main = run === undefined ? {} : { run: cwd === undefined ? run : { ...run, cwd } };
  return { ...rest, ...name, ...file, ...main };
}

/** From TypeScript: the specification with defaults, its numbers without units. Throws `SpecError` for what has not its form. */
export function toSpec(given: object): SandboxSpec {
  const { name } = given as { name?: unknown };
  const own = typeof name === "string" ? { name } : {};
  return fromTypeScript(SpecSchema, given, (context) => resolveSandbox({ ...given }, { ...context, ...own }));
}

/** The same of the keys of a [sandbox.NAME] table, with `name` where they have none. */
export function optionsToSpec(options: SandboxOptions, name: string): SandboxSpec {
  const given = { ...options, name: options.name ?? name };
  return fromTypeScript(
    OptionsSchema,
    given,
    (context) => resolveSandbox(given, { ...context, name: given.name }, OPTIONS),
    "toml",
  );
}

/** Throws `SpecError` for the first thing that this machine cannot have. `spec` comes from {@link toSpec}. */
export function validateSpec(spec: SandboxSpec): void {
  const problems: Problem[] = [];
  const report = reporter(problems);
  checkSandbox(spec, { report });
  checkSecrets(spec, report);
  refuseFirst(problems);
}

/** Reports what of this machine it cannot have. `beside`: all of the same file, whose guests write, too. */
export function checkSandbox(
  spec: SandboxSpec,
  checker: Checker,
  beside: readonly SandboxSpec[] = [spec],
): void {
  const here = { ...checker, guests: writableIn(beside) };
  checkFiles(spec, here);
  if (spec.rootfs.kind === "directory") checkReadable(["rootfs"], spec.rootfs.path, { kind: "dir" }, here);
  checkShares(spec.shares, here);
}

/** Reports what of this machine a sandbox's or a raw VM's machine cannot have. */
export function checkFiles({ kernel, initrd }: MachineSpec, checker: Checker): void {
  for (const [key, path] of Object.entries({ kernel, initrd }))
    if (path !== undefined) checkReadable([key], path, { kind: "file" }, checker);
}

/** Reports secrets that do not go together with the rest of it. */
export function checkSecrets({ secrets = {}, network, env, run }: SandboxSpec, report: Report): void {
  const names = Object.keys(secrets);
  for (const name of names)
    if (Object.hasOwn(env, name) || Object.hasOwn(run?.env ?? {}, name))
      report(["secrets", name], "the sandbox's environment has a variable of that name");
  reporting(report, ["secrets"], () => hostsOf(secrets));
  if (network === "none" && names.length > 0)
    report(
      ["secrets"],
      "the sandbox has no network to reach their hosts by",
      "give it one: `network = { allow = [] }` lets it reach the secrets' hosts and nothing else",
    );
}

/** What of a sandbox a stranger may know: no path of this machine is among that. */
export function tellSpec(spec: SandboxSpec, created: Date): Record<string, unknown> {
  return tellTable(KEYS, { ...spec }, created);
}
