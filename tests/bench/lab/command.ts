/**
 * From the command line, beside microsandbox: create, run a command and be gone; exec in a sandbox that runs. With the
 * command line as set-up installs it, and from its sources, as it is while somebody edits them.
 */
import { mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { timed } from "../clock.ts";
import { root } from "../peer.ts";
import { type Row, row } from "../report.ts";
import { median } from "../statistics.ts";
import type { Place } from "./measure.ts";
import { scrub } from "./scrub.ts";

const rounds = 10;
const small = ["-q", "-c", "1", "-m", "256M", "--no-net"];

export async function command(place: Place): Promise<Row[]> {
  const home = join(place.disk, "home");
  mkdirSync(home);
  const msb = join(place.peers, "microsandbox/bin/msb");
  const capsa = join(root, "node_modules/.bin/capsa");
  const sources = [process.execPath, join(root, "src/cli/main.ts")];
  const environment = {
    ...process.env,
    MSB_HOME: join(home, "microsandbox"),
    MSB_LIBKRUNFW_PATH: join(place.peers, "microsandbox/lib/libkrunfw.so.5"),
  };
  const run = async (argv: readonly string[]) => {
    const path = join(home, "output");
    const output = openSync(path, "w"); // a file: microsandbox's VM keeps a pipe open
    const child = Bun.spawn([...argv], { cwd: home, env: environment, stdio: ["ignore", output, output] });
    if ((await child.exited) !== 0) throw new Error(`${argv.join(" ")}: ${await Bun.file(path).text()}`);
  };
  const inTurns = async (commands: readonly (readonly string[])[], before?: () => Promise<void>) => {
    const samples: number[][] = commands.map(() => []);
    for (let round = 0; round <= rounds; round++) {
      for (const [which, argv] of commands.entries()) {
        await before?.();
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
  const created = await inTurns(
    [
      [capsa, ...up],
      [...sources, ...up],
      [msb, "run", ...small, place.rootfs, "--", "/bin/uname", "-a"],
    ],
    () => scrub(place),
  );

  await run([capsa, "up", "-d", "-f", "stays.toml"]);
  await run([msb, "create", "-n", "stays", ...small, place.rootfs]);
  const exec = ["exec", "stays", "--", "/bin/true"];
  const executed = await inTurns([
    [capsa, ...exec],
    [...sources, ...exec],
    [msb, ...exec],
  ]);
  await run([capsa, "down", "stays"]);
  await run([msb, "stop", "stays"]);
  const rows = (name: string, goal: string, [ours, uncompiled, peer]: number[]) => [
    row(name, "ms", ours!, peer!, goal),
    row(`${name}; capsa from its sources`, "ms", uncompiled!, peer!),
  ];
  return [
    ...rows("create, run a command, gone", "<= 0.4", created),
    ...rows("exec in a running sandbox", "<= 0.5", executed),
  ];
}
