/** `capsa learn`: run a sandbox once with every network rule let through, and print the shares and rules that it needs. */
import type { Command } from "commander";
import { loadConfig } from "../../config/load.ts";
import { learnedToml, learn as learnFrom } from "../../network/learn.ts";
import { openAndTold } from "../../network/rules.ts";
import { askedBySteps, type Booted, bootAll, connectAll } from "../../project/boot.ts";
import { choose } from "../../project/choose.ts";
import type { NetworkAccess, NetworkRefusal } from "../../sandbox/api.ts";
import { describeRefusal } from "../../sandbox/describe.ts";
import { type LearnedShare, learnShares, sharesToml } from "../../sandbox/learn.ts";
import type { Step } from "../../steps/index.ts";
import { describeStep } from "../../steps/report/terminal.ts";
import { runSteps } from "../../steps/run.ts";
import type { Cli } from "../cli.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { withProgress } from "../progress.ts";

interface Options {
  readonly file: string;
  readonly json?: true;
}

export function learn(program: Command, cli: Cli): void {
  program
    .command("learn")
    .summary("run a sandbox once and print the shares and rules that it needs")
    .description(
      "Run the sandboxes' steps, or wait for the main process (or Ctrl-C) if there are none. Meanwhile the network " +
        "lets everything through, except what needs a rule for its address. Then print shares and rules for " +
        "capsa.toml: the shares that were used, read-only if nothing was written, and the smallest `allow`, by name " +
        "if possible. The result covers only what happened in this run.",
    )
    .argument("[name...]", "sandboxes of the file")
    .option("-f, --file <file>", "the file", "capsa.toml")
    .option("--json", "print JSON")
    .addHelpText("after", "\nExamples:\n  $ capsa learn web\n  $ capsa learn -f ci/capsa.toml >rules.toml")
    .action((names: string[], options: Options) => run(names, options, cli));
}

/** What one sandbox's network told, and what was seen of its shares. */
interface Heard {
  shares: readonly LearnedShare[];
  readonly accesses: NetworkAccess[];
  readonly refusals: NetworkRefusal[];
}

async function run(names: readonly string[], { file, json }: Options, cli: Cli): Promise<void> {
  const config = loadConfig(file);
  const { specs, steps } = choose(config, names);
  const idle = specs.find(({ name, run }) => !run && !steps.some(({ sandbox }) => sandbox === name));
  if (idle)
    throw new UsageError(`sandbox "${idle.name}" has no steps and no main process: nothing would run in it`);
  const heard = new Map(specs.map(({ name }) => [name, { shares: [], accesses: [], refusals: [] } as Heard]));
  const open = specs.map((spec) => ({ ...spec, network: openAndTold(spec.network) }));
  const booting = bootAll(open, {
    signal: cli.signal,
    onNotice: ({ message }) => void cli.terminal.say(`capsa: ${message}`),
    onRefusal: (refusal, name) => heard.get(name)!.refusals.push(refusal),
    onAccess: (access, name) => heard.get(name)!.accesses.push(access),
  });
  const booted = await withProgress(cli.terminal, `booting ${names.join(", ") || file}`, booting);
  try {
    const failed = await perform(booted, steps, file, cli);
    if (failed) cli.exitCode = exitCodes.failed;
    for (const { spec, vm } of booted)
      heard.get(spec.name)!.shares = learnShares(spec.shares, await vm.shareUse());
  } finally {
    await Promise.all(booted.map(({ vm }) => vm.stop()));
  }
  if (json) {
    const documents = [...heard].map(([sandbox, { shares, accesses, refusals }]) => {
      return { sandbox, shares: shares.map(shareDocument), ...learnFrom(accesses), refusals };
    });
    return cli.terminal.json(documents);
  }
  for (const [name, what] of heard) await tell(name, config.file, what, cli);
}

/** Whether something failed. */
async function perform(
  booted: readonly Booted[],
  steps: readonly Step[],
  file: string,
  { terminal, signal }: Cli,
): Promise<boolean> {
  const agents = await connectAll(steps, booted, signal);
  const colors = await terminal.colors();
  try {
    const result = await runSteps(steps, agents, {
      ...askedBySteps(booted),
      signal,
      onStep: (ended) => void terminal.writeError(`${describeStep(ended, colors, file)}\n`),
    });
    const mains = booted.filter(({ spec }) => spec.run && !agents.has(spec.name));
    const codes = await Promise.race([Promise.all(mains.map(({ vm }) => vm.wait())), interrupted(signal)]);
    return result.failed > 0 || codes.some((code) => code !== 0);
  } finally {
    for (const agent of agents.values()) await agent.close();
  }
}

/** Ctrl-C is the end of a main process that has none: as good as any other. */
function interrupted(signal: AbortSignal): Promise<number[]> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve([]), { once: true }));
}

function shareDocument({ share: { host, guest, mode: given }, use, mode, entries, more }: LearnedShare) {
  return { host, guest, mode: given, use, ...(mode !== undefined && { needs: mode }), entries, more };
}

async function tell(
  name: string,
  file: string,
  { shares, accesses, refusals }: Heard,
  cli: Cli,
): Promise<void> {
  if (cli.exitCode !== 0)
    await cli.terminal.say("capsa: it failed: what would have come behind that is not in what follows");
  for (const refusal of refusals)
    await cli.terminal.say(`capsa: ${name}: network ${describeRefusal(refusal)}`);
  await cli.terminal.write(sharesToml(name, file, shares) + learnedToml(name, learnFrom(accesses)));
}
