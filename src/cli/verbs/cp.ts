/** `capsa cp`: files and trees between this machine and a sandbox that runs. */

import { type Command, InvalidArgumentError } from "commander";
import type { Agent, Transferred } from "../../agent/api.ts";
import { AgentError, HostFileError } from "../../errors/errors.ts";
import { printableJson } from "../../errors/printable.ts";
import { errorCode } from "../../host/file_errors.ts";
import { statusOf } from "../../host/hold.ts";
import { formatDuration } from "../../spec/units.ts";
import type { Cli } from "../cli.ts";
import { RefusedError, UsageError } from "../failure.ts";
import { withProgress } from "../progress.ts";
import { withAgent } from "../run_program.ts";

interface Owner {
  readonly user: number;
  readonly group: number;
}

interface Options {
  readonly parents?: true;
  readonly owner?: Owner;
  readonly json?: true;
}

export function cp(program: Command, cli: Cli): void {
  program
    .command("cp")
    .summary("copy files and directories into or out of a running sandbox")
    .description(
      "Copy a file or a directory between this machine and a running sandbox, with permissions, times, links, hard " +
        "links and holes. NAME:PATH is in the sandbox. If DST is an existing directory, the copy goes into it under " +
        "its own name; otherwise it gets the name DST. SRC/. stands for the contents of SRC.",
    )
    .argument("<src>", "PATH or NAME:PATH")
    .argument("<dst>", "NAME:PATH or PATH")
    .option("-p, --parents", "make missing directories above the destination")
    .option("--owner <uid:gid>", "owner of the copy in the sandbox (default: root)", parseOwner)
    .option("--json", "print what was copied as JSON")
    .addHelpText(
      "after",
      "\nA link is copied as a link; LINK/ means the directory that it leads to. Fifos, sockets and devices are left out and\n" +
        "listed. capsa writes only at DST, whatever a sandbox sends. The exit code is 1 if a file cannot be copied.\n" +
        "\nExamples:\n  $ capsa cp ./project box:/           (is /project there)\n  $ capsa cp box:/output/. ./results\n" +
        "  $ capsa cp -p --owner 1000:1000 key.json box:/home/me/.config/key.json",
    )
    .action((source: string, destination: string, options: Options) =>
      run(parseEnd(source), parseEnd(destination), options, cli),
    );
}

async function run(source: CopyEnd, destination: CopyEnd, options: Options, cli: Cli): Promise<void> {
  const name = source.name ?? destination.name;
  if (name === undefined || (source.name !== undefined && destination.name !== undefined)) {
    throw new UsageError(
      "one of the two paths must be in a sandbox: NAME:PATH",
      "capsa cp ./file NAME:/path, or capsa cp NAME:/path ./file",
    );
  }
  if (options.owner && destination.name === undefined)
    throw new UsageError("--owner works only for a copy into a sandbox");
  await withAgent(name, cli, async (agent) => {
    const began = performance.now();
    const into = destination.name !== undefined;
    const work = orRefuse(() => copy(agent, source, destination, options, cli));
    const done = await withProgress(cli.terminal, into ? `copying to ${name}` : `copying from ${name}`, work);
    if (options.json) return cli.terminal.json(done);
    const size = `${done.entries} ${done.entries === 1 ? "entry" : "entries"}, ${formatSize(done.bytes)}`;
    await cli.terminal.say(`${size} copied in ${formatDuration(performance.now() - began)}`);
  });
}

async function copy(
  agent: Agent,
  source: CopyEnd,
  destination: CopyEnd,
  { parents, owner }: Options,
  { terminal, signal }: Cli,
): Promise<Transferred> {
  const into = destination.name !== undefined;
  const found = into ? await inGuest(agent, destination.path, signal) : here(destination.path);
  const { from, to } = placeCopy(source.path, destination.path, found);
  const onSkip = (path: string, type: string) =>
    void terminal.say(`capsa: left out ${printableJson(path)}: a ${type}`);
  const common = { signal, onSkip, ...(parents ? { parents } : {}) };
  return into ? agent.upload(from, to, { ...common, ...owner }) : agent.download(from, to, common);
}

async function inGuest(agent: Agent, path: string, signal: AbortSignal): Promise<Found> {
  try {
    return (await agent.stat(path, { signal })).type === "dir" ? "dir" : "other";
  } catch (error) {
    if (error instanceof AgentError && ["ENOENT", "ENOTDIR"].includes(error.code)) return undefined;
    throw error;
  }
}

function here(path: string): Found {
  try {
    return statusOf(path).isDirectory() ? "dir" : "other";
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(errorCode(error) ?? "")) return undefined;
    throw error;
  }
}

/** That a file is not there, or may not be written, is not capsa's failure. */
async function orRefuse<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof AgentError || error instanceof HostFileError) throw new RefusedError(error);
    throw error;
  }
}

function parseOwner(text: string): Owner {
  const [, user, group = user] = /^(\d{1,9})(?::(\d{1,9}))?$/.exec(text) ?? [];
  if (user === undefined) throw new InvalidArgumentError("Give numbers: 1000:1000, or 1000 for both.");
  return { user: Number(user), group: Number(group) };
}

/** "17 bytes", "3.4 MiB". */
function formatSize(bytes: number): string {
  const units = ["KiB", "MiB", "GiB", "TiB"];
  if (bytes < 1024) return `${bytes} bytes`;
  const power = Math.min(units.length, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(1)} ${units[power - 1]}`;
}

/** A path of this machine, or with `name` of a sandbox; there it is absolute. */
interface CopyEnd {
  readonly name?: string;
  readonly path: string;
}

/** `NAME:PATH` is in a sandbox, as for `docker cp`; a colon behind a slash is part of a path here. */
export function parseEnd(text: string): CopyEnd {
  if (text === "-") {
    throw new UsageError(
      "cp takes two paths and cannot copy a stream",
      "for a stream use capsa exec NAME -- tar -c PATH >out.tar, or -x <in.tar",
    );
  }
  const found = /^([^/:]+):(.*)$/s.exec(text);
  if (text === "" || found?.[2] === "")
    throw new UsageError(`"${text}" has no path`, "give NAME:PATH or PATH");
  if (found === null) return { path: text };
  const [, name, path] = found as unknown as [string, string, string];
  return { name, path: path.startsWith("/") ? path : `/${path}` };
}

/** What is at the destination: a directory (or a link to one), something else, or nothing. */
export type Found = "dir" | "other" | undefined;

export interface Copy {
  readonly from: string;
  readonly to: string;
}

/**
 * Where it goes, as cp(1) and `docker cp` have it: into a directory that is there, under its own name; else it gets the
 * name that was given. `SRC/.` means what is in SRC. Throws `UsageError` for a place that is named as a directory and is
 * none.
 */
export function placeCopy(source: string, destination: string, found: Found): Copy {
  if (found !== "dir" && destination.endsWith("/")) {
    throw new UsageError(`${destination} is no directory`, "without the slash it is the name to give");
  }
  const name = source.replace(/\/+$/, "").replace(/^.*\//s, "");
  // what has no name of its own stands for what is in it; the slash is for links, which are not followed without
  if (["", ".", ".."].includes(name)) {
    return { from: slashed(source), to: found === "dir" ? slashed(destination) : destination };
  }
  return { from: source, to: found === "dir" ? slashed(destination) + name : destination };
}

function slashed(path: string): string {
  return path.endsWith("/") ? path : `${path}/`;
}
