/**
 * Runs the examples of the documentation, in a process and a directory of their own.
 * Usage: run.ts MODULES FAILURES     JSON files: the modules of modules.ts, and what is written of those that failed
 */
import { readFileSync, writeFileSync } from "node:fs";
import { boot, provide } from "./context.ts";
import type { Module } from "./modules.ts";

/** No example takes a second on a quiet machine. */
const LIMIT_MS = 60_000;

const modules: Module[] = JSON.parse(readFileSync(process.argv[2]!, "utf8"));
const failures: string[] = [];
const note = ({ block }: Module, error: unknown) =>
  failures.push(
    `${block.file}:${block.line}: ${error instanceof Error ? (error.stack ?? error.message) : error}`,
  );

{
  await using vm = await boot();
  for (const module of modules) {
    if (module.block.program) continue;
    try {
      await using stack = new AsyncDisposableStack();
      const { example } = await import(module.path);
      const context = await provide(vm, module.names, stack);
      const late = Bun.sleep(LIMIT_MS).then(() => Promise.reject(new Error(`no end in ${LIMIT_MS} ms`)));
      await Promise.race([example(context), late]);
    } catch (error) {
      note(module, error);
    }
  }
}
for (const module of modules) {
  if (!module.block.program) continue;
  const child = Bun.spawn([process.execPath, module.path], { stdout: "ignore", stderr: "pipe" });
  const said = await child.stderr.text();
  if ((await child.exited) !== 0) note(module, `ended with ${child.exitCode}\n${said}`);
}
writeFileSync(process.argv[3]!, JSON.stringify(failures));
process.exit(0);
