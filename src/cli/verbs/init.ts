/** `capsa init`: a first capsa.toml, with something to run, from a template. */
import { constants, copyFileSync } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { makeDirectories, Place } from "../../agent/tree/place.ts";
import { suggest } from "../../config/suggest.ts";
import { packagePath } from "../../engine/installation.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";

const TEMPLATES = packagePath("templates");

/** What each is for, in the order they are listed. */
const DESCRIPTIONS: Readonly<Record<string, string>> = {
  hello: "a busybox guest and a few steps; needs nothing",
  python: "a Python program over a data file, with this machine's python3",
  build: "a C project built from read-only sources, with this machine's gcc",
  agent: "generated code, kept from the network and from its own source",
};

export function init(program: Command, cli: Cli): void {
  const list = Object.entries(DESCRIPTIONS).map(([name, text]) => `  ${name.padEnd(8)} ${text}`);
  program
    .command("init")
    .summary("write a first capsa.toml from a template")
    .argument("[template]", "one of the templates below", "hello")
    .argument("[dir]", "where to", ".")
    .addHelpText("after", `\nTemplates:\n${list.join("\n")}\n\nNothing that exists is overwritten.`)
    .action((template: string, directory: string) => run(template, directory, cli));
}

async function run(template: string, directory: string, { terminal }: Cli): Promise<void> {
  if (!Object.hasOwn(DESCRIPTIONS, template)) {
    const known = Object.keys(DESCRIPTIONS);
    const meant = suggest(template, known);
    throw new UsageError(
      `there is no template "${template}"`,
      meant ? `did you mean "${meant}"?` : `there are: ${known.join(", ")}`,
    );
  }
  const source = join(TEMPLATES, template);
  const target = resolve(directory);
  const files = await filesIn(source);
  const taken: string[] = [];
  for (const [, file] of files) {
    if (await lstat(join(target, file)).catch(() => undefined)) taken.push(file);
  }
  if (taken.length > 0) {
    throw new UsageError(
      `${target} already has ${taken.join(", ")}`,
      `name another directory: capsa init ${template} DIR`,
    );
  }
  for (const [original, file] of files) {
    makeDirectories(dirname(join(target, file)));
    const { place, name } = Place.above(join(target, file));
    place.try(name, (path) => copyFileSync(join(source, original), path, constants.COPYFILE_EXCL));
    place.close();
  }
  for (const [, file] of files) await terminal.say(`wrote ${relative(process.cwd(), join(target, file))}`);
  const place = relative(process.cwd(), target);
  await terminal.say(`next: ${place ? `cd ${place} && ` : ""}capsa up`);
}

/** Each file below, and what it is to be called: npm calls the `.gitignore` files of a package `.npmignore`. */
async function filesIn(directory: string): Promise<[original: string, name: string][]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => relative(directory, join(entry.parentPath, entry.name)))
    .sort()
    .map((file) => [file, basename(file) === ".npmignore" ? join(dirname(file), ".gitignore") : file]);
}
