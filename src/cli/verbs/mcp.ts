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
      "Serve the Model Context Protocol on stdin and stdout for a client that starts this command. A model can " +
        "create sandboxes, run commands in them and read and write their files, within the limits below. Every " +
        "sandbox ends with the server: when stdin closes, at Ctrl-C, and after kill -9.",
    )
    .argument("[name...]", "with --file: the sandboxes that a model may start (all)")
    .option(
      "-f, --file <file>",
      "a capsa.toml with the sandboxes that a model may start, and its limits in [mcp]",
    )
    .option("--rootfs <what>", 'root file system: "host", "base" or a directory (host)', parseRootfs)
    .option("--memory <size>", "most memory of each sandbox (512M)", parseMegabytes)
    .option("--cpus <number>", "most processors of each sandbox (1)", parseCount)
    .option("--ttl <time>", "each sandbox ends after this time (1h)", parseTimeout)
    .option(
      "--share <host:guest[:rw]>",
      "a directory to share with each sandbox, read-only without rw (none)",
      collect(parseShare),
    )
    .option("--allow <rule>", "what each sandbox may reach, as HOST:PORT (no network)", collect(String))
    .option("--max-sandboxes <number>", "most sandboxes at a time (4)", parseCount)
    .option("--exec-timeout <time>", "longest time of a command (2m)", parseTimeout)
    .option("--max-output <size>", "most of a stream or a file in one answer (64K)", parseBytes)
    .option("--downloads <dir>", "directory that the model may copy files to (none)")
    .option("--max-download <size>", "most to copy in total (1G)", parseBytes)
    .addHelpText(
      "after",
      "\nOptions that describe sandboxes cannot be combined with --file. The others override its [mcp]. capsa reads only files\n" +
        "that you name here, because a model may be able to write the directory that a client starts this in.\n" +
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
