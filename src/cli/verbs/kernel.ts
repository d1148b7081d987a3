/** `capsa kernel`: the guest kernel, built from Debian's source. */
import { type Command, Option } from "commander";
import { buildEnvironment, packagePath } from "../../host/installation.ts";
import type { Cli } from "../cli.ts";
import { copy } from "../output.ts";

const SCRIPT = packagePath("kernel", "build.sh");

export function kernel(program: Command, cli: Cli): void {
  const verb = program
    .command("kernel")
    .summary("build the guest kernel, or show its inputs")
    .description(
      "The guest kernel. capsa builds it from Debian's linux-source and caches it under the hash of its inputs.",
    );
  verb
    .command("build")
    .summary("build it if it is not built yet")
    .action(() => run(cli, "build"));
  verb
    .command("path")
    .summary("print its path; exit code 1 if it is not built")
    .action(() => run(cli, "path"));
  verb
    .command("info")
    .summary("show its inputs")
    .addOption(new Option("--json", "print JSON"))
    .action((options: { json?: true }) => run(cli, "info", ...(options.json ? ["--json"] : [])));
}

async function run(cli: Cli, ...args: string[]): Promise<void> {
  const { terminal } = cli;
  const child = Bun.spawn([SCRIPT, ...args], {
    env: buildEnvironment(),
    stdio: ["ignore", "pipe", terminal.interactive ? "inherit" : "pipe"], // to a terminal it draws its progress
  });
  // a Ctrl-C on a terminal reaches the child by itself; other ends are passed on
  cli.signal.addEventListener("abort", () => child.kill());
  [cli.exitCode] = await Promise.all([
    child.exited,
    copy(child.stdout, (chunk) => terminal.write(chunk)),
    child.stderr && copy(child.stderr, (chunk) => terminal.writeError(chunk)),
  ]);
  cli.signal.throwIfAborted();
}
