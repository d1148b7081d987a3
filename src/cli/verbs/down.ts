/** `capsa down`: end sandboxes. */
import type { Command } from "commander";
import { loadConfig } from "../../config/load.ts";
import { attach, list } from "../../sandbox/registry.ts";
import { hasLabels, type WantedLabel } from "../../spec/labels.ts";
import { formatDuration } from "../../spec/units.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";
import { collect, parseLabel, parseTimeout } from "../options.ts";
import { tellPending } from "../pending.ts";
import { withProgress } from "../progress.ts";

interface Options {
  readonly all?: true;
  readonly label?: readonly WantedLabel[];
  readonly file: string;
  readonly grace: number;
  readonly json?: true;
}

export function down(program: Command, cli: Cli): void {
  program
    .command("down")
    .summary("end sandboxes: those named, those of ./capsa.toml, or all")
    .description(
      "End sandboxes. Each main process gets SIGTERM and a grace time, then SIGKILL. Without a name, the running " +
        "sandboxes of the file end. Changes in transactional shares stay, so that you can apply or discard them.",
    )
    .argument("[name...]", "names or ids, as `capsa ps` lists them")
    .option("-a, --all", "end all sandboxes of this user")
    .option("--label <name=value>", "end those with this label; may be repeated", collect(parseLabel))
    .option("-f, --file <file>", "the file whose sandboxes end when no name is given", "capsa.toml")
    .option("--grace <time>", "how long a main process may take to end", parseTimeout, 5000)
    .option("--json", "print what ended as a JSON list")
    .action((names: string[], options: Options) => run(names, options, cli));
}

async function run(names: string[], options: Options, { terminal }: Cli): Promise<void> {
  if (options.all && names.length > 0)
    throw new UsageError("--all and names cannot be combined", "give one of them");
  if (options.label && names.length > 0)
    throw new UsageError("--label and names cannot be combined", "give one of them");
  const chosen = names.length > 0 ? names : await running(options);
  const ended = await Promise.all(
    chosen.map(async (name) => {
      const vm = await attach(name);
      const began = performance.now();
      const exit = await withProgress(terminal, `ending ${vm.name}`, vm.stop({ graceMs: options.grace }));
      if (!options.json)
        await terminal.say(`${vm.name} ended in ${formatDuration(performance.now() - began)}`);
      if (!options.json) await tellPending(terminal, vm.id);
      return { id: vm.id, name: vm.name, exit };
    }),
  );
  if (options.json) return terminal.json(ended);
  if (ended.length === 0) await terminal.say("nothing to end: no such sandbox is running");
}

/** Ids of what `--all`, `--label` or the file means. */
async function running({ all, label, file }: Options): Promise<string[]> {
  const entries = (await list()).filter(({ spec }) => hasLabels(spec.labels, label ?? []));
  if (all || label) return entries.map(({ id }) => id);
  const named = new Set(loadConfig(file, { values: "unread" }).sandboxes.map(({ name }) => name));
  return entries.filter(({ name, detached }) => detached && named.has(name)).map(({ id }) => id);
}
