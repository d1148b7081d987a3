/**
 * Run the benchmarks, print a table, write results.json beside this file.
 * Usage: main.ts [NAME ...]     default: all of them
 */
import { boot } from "./boot.ts";
import { exec } from "./exec.ts";
import { net } from "./net.ts";
import { type Row, table } from "./report.ts";
import { share } from "./share.ts";
import { start } from "./start.ts";
import { transfer } from "./transfer.ts";

/** Each: a title and what measures it. */
const benchmarks: Readonly<Record<string, () => Promise<Row[]>>> = {
  boot,
  start,
  exec,
  share,
  net,
  transfer,
};

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !(name in benchmarks));
if (unknown.length > 0) {
  console.error(
    `bench: no benchmark "${unknown.join('", "')}"; there are ${Object.keys(benchmarks).join(", ")}`,
  );
  process.exit(2);
}
const rows: Row[] = [];
for (const [name, measure] of Object.entries(benchmarks)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue;
  console.error(`bench: ${name}`);
  rows.push(...(await measure()));
}
console.log(table(rows));
const path = `${import.meta.dir}/results.json`;
await Bun.write(path, `${JSON.stringify(rows, null, 2)}\n`);
console.error(`bench: written to ${path}`);
