/** `capsa mcp`: sandboxes for a model, over the Model Context Protocol. */
import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { loadConfig } from "../../config/load.ts";
import { printableLine } from "../../errors/printable.ts";
import { isTerminal } from "../../host/libc.ts";
import type { Operator } from "../../mcp/limits.ts";
import { choose } from "../../project/choose.ts";
import { type McpLimits, toLimits } from "../../spec/mcp.ts";
import { toSpec, validateSpec } from "../../spec/sandbox.ts";
import type { RootfsSpec } from "../../spec/spec.ts";
import type { Cli } from "../cli.ts";
import { UsageError } from "../failure.ts";
import { collect, parseBytes, parseCount, parseMegabytes, parseTimeout } from "../options.ts";

/** What a sandbox is to be, where no file says it. */
interface KindOptions {
  readonly rootfs?: RootfsSpec;
  readonly memory?: number;
  readonly cpus?: number;
  readonly ttl?: number;
  readonly share?: readonly object[];
  readonly allow?: readonly string[];
}

interface Options extends KindOptions, Partial<Omit<McpLimits, "execTimeoutMs">> {
  readonly file?: string;
  readonly execTimeout?: number;
}

const TTL_MS = 3_600_000;

export function mcp(program: Command, cli: Cli): void {
  program
    .command("mcp")
    .summary("serve sandboxes to a model, over the Model Context Protocol")
    .description(
      "Serve the Model Context Protocol on stdin and stdout, for a client that starts this command: a model can create " +
        "sandboxes, run commands and read and write files in them, within these limits and no others. Every sandbox ends " +
        "with the server: when stdin ends, at Ctrl-C, and by kill -9.",
    )
    .argument("[name...]", "with --file: those of its sandboxes that a model may have (all)")
    .option(
      "-f, --file <file>",
      "a capsa.toml whose sandboxes are what a model may have, and whose [mcp] its limits",
    )
    .option("--rootfs <what>", 'the sandboxes\' /: "host", "base" or a directory (host)', parseRootfs)
    .option("--memory <size>", "the most that each may have (512M)", parseMegabytes)
    .option("--cpus <number>", "the most that each may have (1)", parseCount)
    .option("--ttl <time>", "each ends so long after its start (1h)", parseTimeout)
    .option(
      "--share <host:guest[:rw]>",
      "a directory that each sees, read-only without rw (none)",
      collect(parseShare),
    )
    .option("--allow <rule>", "what each may reach by network, as HOST:PORT (no network)", collect(String))
    .option("--max-sandboxes <number>", "so many at a time (4)", parseCount)
    .option("--exec-timeout <time>", "the most that a command may take (2m)", parseTimeout)
    .option("--max-output <size>", "how much of a stream or a file one answer holds (64K)", parseBytes)
    .option("--downloads <dir>", "where the model may have files copied to (nowhere)")
    .option("--max-download <size>", "how much that may be in all (1G)", parseBytes)
    .addHelpText(
      "after",
      "\nOptions about sandboxes are for a command without --file; the others go before what a file says. No file is read\n" +
        "that is not named here: the directory that a client starts this in may be the model's to write.\n" +
        "\nExamples:\n  $ capsa mcp --memory 1G --share ./project:/project --downloads ./results\n" +
        "  $ capsa mcp --file ~/sandboxes/capsa.toml python",
    )
    .action((names: string[], options: Options) => run(names, options, cli));
}

async function run(names: readonly string[], options: Options, { terminal, signal }: Cli): Promise<void> {
  const operator =
    options.file === undefined ? fromOptions(names, options) : fromFile(options.file, names, options);
  const { serve } = await import("../../mcp/server.ts");
  if (isTerminal(0)) await terminal.say("capsa mcp: waits for a client's messages on stdin; Ctrl-C ends it");
  await serve(operator, { signal, tell: (line) => void terminal.say(printableLine(`capsa mcp: ${line}`)) });
  signal.throwIfAborted();
}

function fromFile(file: string, names: readonly string[], options: Options): Operator {
  const given = (["rootfs", "memory", "cpus", "ttl", "share", "allow"] as const).find(
    (key) => options[key] !== undefined,
  );
  if (given !== undefined)
    throw new UsageError(`--${given} and --file cannot be combined`, `set it in ${file} for each sandbox`);
  const config = loadConfig(file);
  const [first, ...others] = choose({ ...config, steps: [] }, names).specs;
  return { limits: limitsOf(config.mcp, options), kinds: [first!, ...others] };
}

function fromOptions(names: readonly string[], options: Options): Operator {
  if (names.length > 0)
    throw new UsageError(
      `sandbox "${names[0]}" can only be named together with a file`,
      "name the file with --file",
    );
  const kind = toSpec({
    name: "sandbox",
    cpus: options.cpus,
    memoryMb: options.memory,
    rootfs: options.rootfs ?? "host",
    shares: options.share,
    network: options.allow && { mode: "user", allow: options.allow },
    ttlMs: options.ttl ?? TTL_MS,
  });
  validateSpec(kind);
  return { limits: limitsOf({}, options), kinds: [kind] };
}

/** `before`, but for what the command line says. */
function limitsOf(before: Partial<McpLimits>, options: Options): McpLimits {
  const { maxSandboxes, execTimeout: execTimeoutMs, maxOutput, downloads, maxDownload } = options;
  const said = { maxSandboxes, execTimeoutMs, maxOutput, downloads, maxDownload };
  return toLimits({
    ...before,
    ...Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined)),
  });
}

function parseRootfs(text: string): RootfsSpec {
  return text === "host" || text === "base" ? { kind: text } : { kind: "directory", path: resolve(text) };
}

function parseShare(text: string): object {
  const [, host, guest, mode] = /^(.+?):(\/[^:]*)(?::(ro|rw))?$/.exec(text) ?? [];
  if (host === undefined || guest === undefined)
    throw new InvalidArgumentError("Give HOST:GUEST or HOST:GUEST:rw. GUEST begins with a slash.");
  return { host, guest, mode };
}
