/**
 * The benchmarks that need a true /dev/kvm: boot the lab once, measure in it, print a table, write results-lab.json.
 * Usage: main.ts [NAME ...]     default: all of measure.ts
 */
import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import { $ } from "bun";
import { root, temporary } from "../peer.ts";
import { type Row, table } from "../report.ts";

const MEMORY_MIB = "6144";
const here = import.meta.dir;
using out = temporary();
const peers = (await $`${here}/fetch.sh`.text()).trim();
for (const tool of ["ready", "scrub"]) await $`gcc -O2 -o ${out.path}/${tool} ${here}/${tool}.c`;
await $`${process.execPath} src/cli/compiled/build.ts`.cwd(root); // as set-up does: what is measured is what is here
const chosen = process.argv.slice(2);
const measure = ["node_modules/.bin/bun", "tests/bench/lab/measure.ts", peers, "/lab", ...chosen];
const lab = Bun.spawn([join(root, "tests/lab/lab.sh"), "exec", ...measure], {
  cwd: root,
  env: { ...process.env, CAPSA_LAB_OUT: out.path, CAPSA_LAB_MEMORY: MEMORY_MIB, CAPSA_LAB_CPUS: "2" },
  stdio: ["ignore", 2, 2],
});
const code = await lab.exited;
const results = join(out.path, "results.json");
if (existsSync(results)) {
  const rows: Row[] = await Bun.file(results).json();
  const path = join(here, "../results-lab.json");
  cpSync(results, path);
  console.log(table(rows));
  console.error(`bench-lab: written to ${path}`);
}
process.exitCode = code; // and not exit(): the directory has to go
