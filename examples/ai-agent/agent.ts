/**
 * Runs code that a model wrote where it can do no harm, and collects what it answers.
 * Run it: npm exec -- bun examples/ai-agent/agent.ts
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Capsa } from "capsa";

const here = import.meta.dirname;
const output = join(here, "output");

// No network; the code can be read but not changed; what it writes to /output is all that comes out.
await using vm = await Capsa.open({
  rootfs: "host",
  memory: "512M",
  shares: [
    { host: join(here, "generated"), guest: "/generated" },
    { host: output, guest: "/output", mode: "rw" },
  ],
});

const { exitCode, timedOut, stdout, stderr } = await vm.exec(["python3", "/generated/answer.py"], {
  env: { PYTHONUTF8: "1", PYTHONDONTWRITEBYTECODE: "1" },
  timeoutMs: 60_000,
});
if (exitCode !== 0) {
  console.error(timedOut ? "the generated code took longer than a minute" : stderr);
  process.exit(1);
}
console.log(stdout.trimEnd());

for (const file of await readdir(output)) {
  if (!file.endsWith(".json")) continue;
  const { attempts } = (await Bun.file(join(output, file)).json()) as { attempts: Record<string, string> };
  for (const [what, outcome] of Object.entries(attempts)) console.log(`${what}: ${outcome}`);
}
