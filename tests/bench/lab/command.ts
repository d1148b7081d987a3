/** From the command line, beside microsandbox: create, run a command and be gone; exec in a sandbox that runs. */
import { mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { timed } from "../clock.ts";
import { root } from "../peer.ts";
import { type Row, row } from "../report.ts";
import { median } from "../statistics.ts";
import type { Place } from "./measure.ts";

const rounds = { create: 5, exec: 10 };
const small = ["-q", "-c", "1", "-m", "256M", "--no-net"];

export async function command(place: Place): Promise<Row[]> {
  const home = join(place.disk, "home");
  mkdirSync(home);
  const capsa = [process.execPath, join(root, "src/cli/main.ts")];
  const msb = [join(place.peers, "microsandbox/bin/msb")];
  const environment = {
    ...process.env,
    MSB_HOME: join(home, "microsandbox"),
    MSB_LIBKRUNFW_PATH: join(place.peers, "microsandbox/lib/libkrunfw.so.5"),
  };
  const run = async (argv: readonly string[]) => {
    // into a file: microsandbox's VM keeps a pipe open
    const output = openSync(join(home, "output"), "w");
    const child = Bun.spawn([...argv], { cwd: home, env: environment, stdio: ["ignore", output, output] });
    if ((await child.exited) !== 0)
      throw new Error(`${argv.join(" ")}: ${await Bun.file(join(home, "output")).text()}`);
  };
  const sandbox = `memory = "256M"\nrootfs = "${place.rootfs}"\n`;
  await Bun.write(join(home, "once.toml"), `[sandbox.once]\n${sandbox}run = ["/bin/uname", "-a"]\n`);
  await Bun.write(join(home, "stays.toml"), `[sandbox.stays]\n${sandbox}`);

  const once = { ours: [] as number[], peer: [] as number[] };
  for (let round = 0; round <= rounds.create; round++) {
    const ours = await timed(() => run([...capsa, "up", "-f", "once.toml"]));
    const peer = await timed(() => run([...msb, "run", ...small, place.rootfs, "--", "/bin/uname", "-a"]));
    if (round === 0) continue; // caches
    once.ours.push(ours);
    once.peer.push(peer);
  }

  await run([...capsa, "up", "-d", "-f", "stays.toml"]);
  await run([...msb, "create", "-n", "stays", ...small, place.rootfs]);
  const exec = { ours: [] as number[], peer: [] as number[] };
  for (let round = 0; round <= rounds.exec; round++) {
    const ours = await timed(() => run([...capsa, "exec", "stays", "--", "/bin/true"]));
    const peer = await timed(() => run([...msb, "exec", "stays", "--", "/bin/true"]));
    if (round === 0) continue;
    exec.ours.push(ours);
    exec.peer.push(peer);
  }
  await run([...capsa, "down", "stays"]);
  await run([...msb, "stop", "stays"]);
  return [
    row("create, run a command, gone", "ms", median(once.ours), median(once.peer), "<= 0.4"),
    row("exec in a running sandbox", "ms", median(exec.ours), median(exec.peer), "<= 0.5"),
  ];
}
