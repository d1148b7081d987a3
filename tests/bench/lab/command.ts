/**
 * From the command line, beside microsandbox: create, run a command and be gone; exec in a sandbox that runs. Once with
 * the command line as it lies in the checkout, once as one file.
 */
import { cpSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { initramfsPath, kernelPath, libraryDirectory } from "../../../src/engine/installation.ts";
import { timed } from "../clock.ts";
import { root } from "../peer.ts";
import { type Row, row } from "../report.ts";
import { median } from "../statistics.ts";
import type { Place } from "./measure.ts";

const rounds = { create: 4, exec: 8 };
const small = ["-q", "-c", "1", "-m", "256M", "--no-net"];

export async function command(place: Place): Promise<Row[]> {
  const home = join(place.disk, "home");
  mkdirSync(home);
  const msb = join(place.peers, "microsandbox/bin/msb");
  const source = [process.execPath, join(root, "src/cli/main.ts")];
  const file = [join(home, "capsa")];
  cpSync(join(place.out, "capsa"), file[0]!); // what is shared with the host is not cached
  const environment = {
    ...process.env,
    CAPSA_LIB_DIR: libraryDirectory(),
    CAPSA_INITRAMFS: initramfsPath(),
    CAPSA_KERNEL: await kernelPath(),
    MSB_HOME: join(home, "microsandbox"),
    MSB_LIBKRUNFW_PATH: join(place.peers, "microsandbox/lib/libkrunfw.so.5"),
  };
  const run = async (argv: readonly string[]) => {
    const path = join(home, "output");
    const output = openSync(path, "w"); // a file: microsandbox's VM keeps a pipe open
    const child = Bun.spawn([...argv], { cwd: home, env: environment, stdio: ["ignore", output, output] });
    if ((await child.exited) !== 0) throw new Error(`${argv.join(" ")}: ${await Bun.file(path).text()}`);
  };
  const inTurns = async (count: number, commands: readonly (readonly string[])[]) => {
    const samples: number[][] = commands.map(() => []);
    for (let round = 0; round <= count; round++) {
      for (const [which, argv] of commands.entries()) {
        const ms = await timed(() => run(argv));
        if (round > 0) samples[which]!.push(ms); // the first fills the caches
      }
    }
    return samples.map(median);
  };

  const sandbox = `memory = "256M"\nrootfs = "${place.rootfs}"\n`;
  await Bun.write(join(home, "once.toml"), `[sandbox.once]\n${sandbox}run = ["/bin/uname", "-a"]\n`);
  await Bun.write(join(home, "stays.toml"), `[sandbox.stays]\n${sandbox}`);
  const up = ["up", "-f", "once.toml"];
  const created = await inTurns(rounds.create, [
    [...source, ...up],
    [...file, ...up],
    [msb, "run", ...small, place.rootfs, "--", "/bin/uname", "-a"],
  ]);

  await run([...file, "up", "-d", "-f", "stays.toml"]);
  await run([msb, "create", "-n", "stays", ...small, place.rootfs]);
  const exec = ["exec", "stays", "--", "/bin/true"];
  const executed = await inTurns(rounds.exec, [
    [...source, ...exec],
    [...file, ...exec],
    [msb, ...exec],
  ]);
  await run([...file, "down", "stays"]);
  await run([msb, "stop", "stays"]);
  const rows = (name: string, goal: string, [ours, packed, peer]: number[]) => [
    row(name, "ms", ours!, peer!, goal),
    row(`${name}; capsa as one file`, "ms", packed!, peer!, goal),
  ];
  return [
    ...rows("create, run a command, gone", "<= 0.4", created),
    ...rows("exec in a running sandbox", "<= 0.5", executed),
  ];
}
