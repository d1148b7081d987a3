/**
 * The program that runs in the lab: each benchmark in turn, what is known so far written after each.
 * Usage: measure.ts PEERS OUT [NAME ...]     PEERS: what fetch.sh printed; OUT: takes results.json, has `ready` and `scrub`
 */
import { join } from "node:path";
import { $ } from "bun";
import { probeKvm } from "../../../src/engine/library.ts";
import type { Row } from "../report.ts";
import { boot } from "./boot.ts";
import { command } from "./command.ts";
import { exec } from "./exec.ts";
import { many } from "./many.ts";
import { memory } from "./memory.ts";
import { share } from "./share.ts";

/** Where things are in the lab. */
export interface Place {
  /** Made by fetch.sh. */
  readonly peers: string;
  /** Shared with the host. */
  readonly out: string;
  /** A disk, with user xattrs. */
  readonly disk: string;
  /** The root file system of every sandbox that has one: busybox. */
  readonly rootfs: string;
}

const benchmarks: Readonly<Record<string, (place: Place) => Promise<Row[]>>> = {
  boot,
  command,
  exec,
  memory,
  share,
  many,
};

const [peers, out, ...chosen] = process.argv.slice(2);
const unknown = chosen.filter((name) => !(name in benchmarks));
if (peers === undefined || out === undefined || unknown.length > 0) {
  console.error(`bench-lab: the benchmarks are ${Object.keys(benchmarks).join(", ")}`);
  process.exit(2);
}
const disk = "/tmp/disk";
await $`${import.meta.dir}/prepare.sh ${peers} ${disk}`;
// an emulator is slow the first time it meets code, and a KVM that has never run a guest looks like a software one
for (let probes = 0; probes < 20 && probeKvm(50).state !== "ok"; probes++);
process.env.CAPSA_ENGINE = "kvm";
const place = { peers, out, disk, rootfs: join(disk, "rootfs") };
const rows: Row[] = [];
let failed = 0;
for (const [name, measure] of Object.entries(benchmarks)) {
  if (chosen.length > 0 && !chosen.includes(name)) continue;
  const began = performance.now();
  try {
    rows.push(...(await measure(place)));
  } catch (error) {
    failed++;
    console.error(`bench-lab: ${name} failed:`, error);
  }
  console.error(`bench-lab: ${name}: ${((performance.now() - began) / 1000).toFixed(0)} s`);
  await Bun.write(join(out, "results.json"), `${JSON.stringify(rows, null, 2)}\n`);
}
process.exit(failed > 0 ? 1 : 0);
