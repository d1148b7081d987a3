/** `capsa init`: a first capsa.toml, with something to run, from a template. */
import { closeSync, openSync, readFileSync, rmdirSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { lstat, readdir } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { suggest } from "../../errors/suggest.ts";
import { packagePath } from "../../host/installation.ts";
import { makeDirectories, Place } from "../../host/place.ts";
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
    .argument("[dir]", "directory to write to", ".")
    .addHelpText("after", `\nTemplates:\n${list.join("\n")}\n\ncapsa overwrites no existing file.`)
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
  const made: Made[] = [];
  try {
    for (const [original, file] of files) copy(join(source, original), join(target, file), made);
  } catch (error) {
    for (const { path, remove } of made.reverse()) takeBack(path, remove);
    throw error;
  }
  for (const [, file] of files) await terminal.say(`wrote ${relative(process.cwd(), join(target, file))}`);
  const place = relative(process.cwd(), target);
  await terminal.say(`next: ${place ? `cd ${place} && ` : ""}capsa up`);
}

interface Made {
  readonly path: string;
  readonly remove: (at: Buffer) => void;
}

function copy(from: string, to: string, made: Made[]): void {
  makeDirectories(dirname(to), (path) => made.push({ path, remove: rmdirSync }));
  const mode = statSync(from).mode & 0o777;
  const fd = inPlace(to, (at) => openSync(at, "wx", mode));
  made.push({ path: to, remove: unlinkSync });
  try {
    writeFileSync(fd, readFileSync(from));
  } finally {
    closeSync(fd);
  }
}

/** What somebody has put into it, or in its way, meanwhile stays. */
function takeBack(path: string, remove: (at: Buffer) => void): void {
  try {
    inPlace(path, remove);
  } catch {
    // it is theirs by now
  }
}

/** Runs what is about `path`. A link is followed neither there nor, where a guest may have made it, on the way. */
function inPlace<T>(path: string, work: (at: Buffer) => T): T {
  const { place, name } = Place.above(path);
  try {
    return place.try(name, work);
  } finally {
    place.close();
  }
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
