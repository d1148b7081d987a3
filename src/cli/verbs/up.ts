/** `capsa up`: boot the sandboxes of a file and run its steps. */
import type { Command } from "commander";
import { CapsaError } from "../../errors/errors.ts";
import type { Project, StartedProject } from "../../project/api.ts";
import { choose } from "../../project/choose.ts";
import { loadProject } from "../../project/project.ts";
import type { BootTimings, RunningSandbox } from "../../sandbox/api.ts";
import { describeExit, describeRefusal } from "../../sandbox/describe.ts";
import type { SandboxSpec } from "../../spec/spec.ts";
import { formatDuration } from "../../spec/units.ts";
import type { ProjectReport, StepResult } from "../../steps/api.ts";
import { jsonReport } from "../../steps/report/json.ts";
import { tapReport } from "../../steps/report/tap.ts";
import { describeRun, describeStep } from "../../steps/report/terminal.ts";
import type { Cli } from "../cli.ts";
import { exitCodes, UsageError } from "../failure.ts";
import { copy, copyLines } from "../output.ts";
import { tellPending } from "../pending.ts";
import { startProgress, withProgress } from "../progress.ts";
import {
  addReportFile,
  checkReportFiles,
  FORMAT_NAMES,
  type ReportFile,
  writeReportFiles,
} from "../report_files.ts";
import type { Terminal } from "../terminal.ts";

/** How long after its agent is lost, or its main process has ended, a sandbox may take to be gone, milliseconds. */
const LOSS_MS = 3000;
const MAIN_END_MS = 1000;
/** How long a detached main process is watched, milliseconds. */
const SETTLE_MS = 200;

interface Booted {
  readonly spec: SandboxSpec;
  readonly vm: RunningSandbox;
}

interface Options {
  readonly file: string;
  readonly detach?: true;
  readonly keepGoing?: true;
  readonly verbose?: true;
  readonly timings?: true;
  readonly json?: true;
  readonly tap?: true;
  readonly report?: readonly ReportFile[];
}

export function up(program: Command, cli: Cli): void {
  program
    .command("up")
    .summary("boot the sandboxes of a capsa.toml and run its steps")
    .description(
      "Boot the sandboxes of a file (those that its steps need, or those you name), run the steps, and end the " +
        "sandboxes. The exit code is 0 if every step passed, 1 if one failed. Without steps, the output of the main " +
        "process (`run`) appears here, and its exit code becomes the exit code of this command. Without `run` too, " +
        "the sandbox stays until Ctrl-C.",
    )
    .argument("[name...]", "sandboxes of the file")
    .option("-f, --file <file>", "the file", "capsa.toml")
    .option("-d, --detach", "leave the sandboxes running")
    .option("-k, --keep-going", "run the steps after a failed one too")
    .option("-v, --verbose", "show the output of the steps' commands as it comes")
    .option("--timings", "show where the time of each boot went")
    .option("--json", "print the outcome as one JSON document")
    .option("--tap", "print the outcome of the steps as TAP")
    .option(
      "--report <format=file>",
      `also write the outcome of the steps to a file (${FORMAT_NAMES.join(", ")}); may be repeated`,
      addReportFile,
    )
    .addHelpText(
      "after",
      "\nExamples:\n  $ capsa up\n  $ capsa up -d box && capsa exec box -- uname -a && capsa down box",
    )
    .action((names: string[], options: Options) => run(names, options, cli));
}

async function run(names: string[], options: Options, cli: Cli): Promise<void> {
  if (options.json && options.tap)
    throw new UsageError("--json and --tap cannot be combined", "give one of them");
  const project = loadProject(options.file);
  const { specs, steps } = choose(project, names);
  if (options.report && steps.length === 0)
    throw new UsageError(`--report: ${project.file} has no steps for these sandboxes`, "leave --report out");
  checkReportFiles(options.report ?? []);
  const output: Promise<void>[] = [];
  const started = await boot(project, names, specs, output, options, cli);
  const booted = specs.map((spec) => ({ spec, vm: started.sandboxes.get(spec.name)! }));
  let result: ProjectReport | undefined;
  let kept = false;
  try {
    if (steps.length > 0) {
      result = await script(started, booted, project.file, options, cli);
      writeReportFiles(options.report ?? [], result, options.file);
      cli.exitCode = result.failed > 0 ? exitCodes.failed : 0;
    } else if (!options.detach) {
      cli.exitCode = await attend(booted, cli);
    }
    if (options.detach) {
      await leave(booted, cli);
      kept = true;
    }
  } finally {
    if (!kept) {
      await withProgress(cli.terminal, `ending ${listed(specs)}`, started.stop());
      await Promise.all(output);
      for (const { spec, vm } of booted) if (isTransactional(spec)) await tellPending(cli.terminal, vm.id);
    }
  }
  if (options.json) await cli.terminal.json(outcome(booted, result, cli.exitCode));
  if (options.tap && result) await cli.terminal.write(tapReport(result));
}

/** `output` grows by the copying of each main process's output, which ends with its sandbox. */
async function boot(
  project: Project,
  names: readonly string[],
  specs: readonly SandboxSpec[],
  output: Promise<void>[],
  options: Options,
  cli: Cli,
): Promise<StartedProject> {
  const { terminal, signal } = cli;
  const several = specs.length > 1;
  const work = project.start({
    sandboxes: names,
    signal,
    detached: options.detach ?? false,
    keepChanges: true,
    onNotice: ({ message }) => void terminal.say(`capsa: ${message}`),
    onRefusal: (refusal, name) => void terminal.say(`capsa: ${name}: network ${describeRefusal(refusal)}`),
    onSandbox: (vm, name) => {
      if (specs.find((spec) => spec.name === name)?.run && !options.detach)
        output.push(...show(vm, several ? `${name} | ` : undefined, options, cli));
    },
  });
  const started = await withProgress(terminal, `booting ${listed(specs)}`, work);
  for (const vm of started.sandboxes.values()) {
    const timings = vm.timings!;
    await terminal.say(`${vm.name} is up (${vm.engine}) in ${formatDuration(timings.totalMs)}`);
    for (const { protocol, address, port, guestPort } of vm.ports)
      await terminal.say(`  ${address} port ${port}/${protocol} leads to its port ${guestPort}`);
    if (options.timings) await terminal.say(`  ${breakdown(timings)}`);
  }
  return started;
}

/** Copies what the main process prints; where stdout is for a report it all goes to stderr. */
function show(
  vm: RunningSandbox,
  prefix: string | undefined,
  options: Options,
  { terminal }: Cli,
): Promise<void>[] {
  const aside = options.json || options.tap;
  const error = (chunk: string | Uint8Array) => terminal.writeError(chunk);
  const out = aside ? error : (chunk: string | Uint8Array) => terminal.write(chunk);
  const copies =
    prefix === undefined
      ? [copy(vm.stdout, out), copy(vm.stderr, error)]
      : [copyLines(vm.stdout, out, prefix), copyLines(vm.stderr, error, prefix)];
  // what fails here is writing to a stdout that was closed, which ends the command by way of its signal
  return copies.map((work) => work.catch(() => {}));
}

async function script(
  started: StartedProject,
  booted: readonly Booted[],
  file: string,
  options: Options,
  { terminal, signal }: Cli,
): Promise<ProjectReport> {
  const quiet = options.json || options.tap;
  // what the guest prints meanwhile would be torn apart by a line that is redrawn
  const calm = options.verbose || booted.some(({ spec }) => spec.run);
  let progress: { stop(): void } | undefined;
  const colors = await terminal.colors();
  const work = started.run({
    signal,
    ...(options.keepGoing ? { keepGoing: true } : {}),
    onStepStart: (step) => {
      if (!calm) progress = startProgress(terminal, step.name);
    },
    onOutput: (_step, _stream, chunk) => {
      if (options.verbose) void terminal.writeError(chunk);
    },
    onStep: (ended) => {
      progress?.stop();
      if (!quiet) void terminal.write(`${describeStep(ended, colors, file)}\n`);
    },
  });
  const result = await work.finally(() => progress?.stop());
  const failed = result.steps.find(({ status }) => status === "failed");
  if (failed)
    await explainLoss(failed, booted.find(({ spec }) => spec.name === failed.step.sandbox)!, terminal);
  if (!quiet) await terminal.write(`${describeRun(result, colors)}\n`);
  return result;
}

/** Says why the sandbox of a failed step ended, if it did: that is known a moment after the step has failed. */
async function explainLoss({ error }: StepResult, { spec, vm }: Booted, terminal: Terminal): Promise<void> {
  const lost = error?.code === "GUEST_LOST";
  if (!lost && !spec.run) return;
  const exit = await Promise.race([vm.exited, Bun.sleep(lost ? LOSS_MS : MAIN_END_MS)]);
  if (exit) await terminal.say(`capsa: ${vm.name} ended: ${describeExit(exit)}`);
}

/** Nothing is scripted: wait for the main processes, and for the user where there is none. Gives the exit code. */
async function attend(booted: readonly Booted[], { terminal, signal }: Cli): Promise<number> {
  const idle = booted.filter(({ spec }) => !spec.run);
  if (idle[0])
    await terminal.say(`run something in it: capsa exec ${idle[0].vm.name} -- COMMAND; Ctrl-C ends it`);
  const codes = booted.map(async ({ spec, vm }) => {
    const exit = await vm.exited;
    if (exit.reason === "ttl" || exit.reason === "idle")
      await terminal.say(`${spec.name} ended: ${describeExit(exit)}`);
    if (spec.run) return vm.wait();
    if (exit.reason === "failed")
      throw new CapsaError("SANDBOX_FAILED", `${spec.name} ended: ${describeExit(exit)}`);
    return 0;
  });
  const ended = await Promise.race([Promise.all(codes), interruption(signal)]);
  return ended.find((code) => code !== 0) ?? 0;
}

/** Never resolves. */
function interruption(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>();
  if (signal.aborted) reject(signal.reason);
  signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  return promise;
}

async function leave(booted: readonly Booted[], cli: Cli): Promise<void> {
  for (const { spec, vm } of booted) {
    // a main process that is over at once, or could not be started, is no service that runs on
    const exit = spec.run ? await Promise.race([vm.exited, Bun.sleep(SETTLE_MS)]) : undefined;
    if (exit) {
      const code = await vm.wait();
      cli.exitCode ||= code;
      await cli.terminal.say(`${spec.name} has ended: ${describeExit(exit)}`);
      if (isTransactional(spec)) await tellPending(cli.terminal, vm.id);
      continue;
    }
    await vm.detach();
    const use = [`exec ${spec.name} -- COMMAND`, `logs ${spec.name}`, `down ${spec.name}`];
    await cli.terminal.say(`${spec.name} runs on: ${use.map((verb) => `capsa ${verb}`).join(", ")}`);
  }
}

function outcome(booted: readonly Booted[], result: ProjectReport | undefined, exitCode: number) {
  return {
    sandboxes: booted.map(({ spec, vm }) => ({
      name: spec.name,
      id: vm.id,
      engine: vm.engine,
      timings: vm.timings,
      ports: vm.ports,
    })),
    ...(result ? { steps: jsonReport(result) } : {}),
    exitCode,
  };
}

function breakdown(timings: BootTimings): string {
  const parts = [
    ["start", timings.spawnMs],
    ["kernel", timings.kernelMs],
    ["init", timings.initMs],
    ["mounts", timings.mountsMs],
    ["agent", timings.agentMs],
  ] as const;
  return parts.map(([name, ms]) => `${name} ${formatDuration(ms)}`).join(", ");
}

function isTransactional({ shares }: SandboxSpec): boolean {
  return shares.some(({ mode }) => mode === "transaction");
}

function listed(specs: readonly SandboxSpec[]): string {
  return specs.map(({ name }) => name).join(", ");
}
