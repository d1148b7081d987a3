/**
 * Many sandboxes at work for minutes: `make soak`.
 * Usage: main.ts [SANDBOXES [SECONDS]]     default: 32 for 300 seconds
 */
import { connections } from "./connections.ts";
import { databaseAlone, wellWritten } from "./database.ts";
import { type Held, soak } from "./soak.ts";
import { storm } from "./storm.ts";

const [sandboxes = 32, seconds = 300] = process.argv.slice(2).map(Number);
if (![sandboxes, seconds].every((value) => Number.isFinite(value) && value > 0)) {
  console.error("soak: usage: main.ts [SANDBOXES [SECONDS]]");
  process.exit(2);
}
console.log("100000 connections, one after the other");
await connections(100_000);
console.log("10000 programs in a row, 256 at once");
await storm(10_000, 256);
console.log("20000 transactions of one database, half of them by a sandbox");
const written = await databaseAlone(10_000);
if (written !== wellWritten(10_000)) throw new Error(`the database is not what it should be: ${written}`);
console.log(`${sandboxes} sandboxes for ${seconds} s`);
const report = await soak({ sandboxes, seconds, workers: 2, most: 1 << 18 });
const line = ({ memory, descriptors, children }: Held) =>
  `${(memory / 2 ** 20).toFixed(0).padStart(5)} MiB  ${descriptors} descriptors  ${children} child processes`;
for (const [kind, calls] of Object.entries(report.calls)) console.log(`${String(calls).padStart(8)} ${kind}`);
console.log(`${(report.bytes / 2 ** 20).toFixed(0).padStart(8)} MiB moved and checked`);
for (const when of ["before", "peak", "after"] as const)
  console.log(`${when.padEnd(8)} ${line(report[when])}`);
console.log(`${report.left} sandboxes left`);
const { before, after, left } = report;
if (left > 0 || after.descriptors > before.descriptors || after.children > before.children) {
  console.error("soak: not all of it is gone");
  process.exit(1);
}
