/** A share's throughput and the walk of many small files, beside virtiofsd under QEMU's microvm with the same guest. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Capsa, MountMode, sandbox } from "../../../src/index.ts";
import { capsaKernel, workloadInitramfs } from "../peer.ts";
import { type Row, row } from "../report.ts";
import { median } from "../statistics.ts";
import type { Place } from "./measure.ts";
import { qemu, start } from "./microvm.ts";

const rounds = 3;
const memoryMb = 512;
const bulkMiB = 192;
const files = { directories: 20, each: 100 };

type Seconds = Record<"write" | "read" | "walk", number[]>;

export async function share(place: Place): Promise<Row[]> {
  const directory = "/tmp/share"; // in memory: what is measured is the way to it
  for (let d = 0; d < files.directories; d++) {
    const folder = join(directory, "tree", `directory-${d}`);
    mkdirSync(folder, { recursive: true });
    for (let f = 0; f < files.each; f++) await Bun.write(join(folder, `file-${f}`), `${d} ${f}\n`);
  }
  const peer = parse(await virtiofsd(place, directory));
  const ours = parse(await capsa(directory));
  const count = files.directories * files.each;
  const rate = (amount: number, what: keyof Seconds) =>
    [amount / median(ours[what]), amount / median(peer[what]), ">= 1.0"] as const;
  return [
    row("share, sequential write", "MiB/s", ...rate(bulkMiB, "write")),
    row("share, sequential read", "MiB/s", ...rate(bulkMiB, "read")),
    row("share, walk of small files", "files/s", ...rate(count, "walk")),
  ];
}

async function capsa(directory: string): Promise<string> {
  await using vm = await Capsa.sandbox()
    .memoryMb(memoryMb)
    .share(directory, "/share", MountMode.ReadWrite)
    .run("/bin/sleep", ["infinity"])
    .build();
  await using agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  const workload = Bun.file(join(import.meta.dir, "../workload.sh"));
  await agent.writeFile("/workload.sh", workload, { mode: 0o755 });
  const result = await agent.exec(["/workload.sh", "/share", String(rounds)]);
  if (!result.ok) throw new Error(`the workload failed in capsa: ${result.stderr}`);
  return result.stdout;
}

async function virtiofsd(place: Place, directory: string): Promise<string> {
  const socket = join(place.disk, "virtiofsd.sock");
  const console = join(place.disk, "workload.txt");
  const log = join(place.disk, "virtiofsd.log");
  const qemuLog = join(place.disk, "qemu-share.log");
  const daemon = start(
    // without a thread pool: its threads make a system call now and then that virtiofsd forbids itself
    [
      "/usr/lib/qemu/virtiofsd",
      "--thread-pool-size=0",
      `--socket-path=${socket}`,
      "-o",
      `source=${directory}`,
    ],
    log,
  );
  const limit = AbortSignal.timeout(10_000);
  while (
    !(await Bun.file(socket)
      .stat()
      .catch(() => null))
  ) {
    if (daemon.exitCode !== null || limit.aborted)
      throw new Error(`virtiofsd: ${await Bun.file(log).text()}`);
    await Bun.sleep(10);
  }
  const machine = start(
    qemu({
      kernel: await capsaKernel(),
      initrd: await workloadInitramfs(place.disk, rounds),
      memoryMb,
      cmdline: "console=ttyS0 quiet reboot=t panic=-1 no_timer_check",
      extra: [
        ...["-chardev", `socket,id=fs,path=${socket}`],
        ...["-device", "vhost-user-fs-device,chardev=fs,tag=bench,queue-size=1024"],
        ...["-object", `memory-backend-memfd,id=ram,size=${memoryMb}M,share=on`],
        ...["-machine", "memory-backend=ram,isa-serial=on", "-serial", `file:${console}`],
      ],
    }),
    qemuLog,
  );
  const stuck = setTimeout(() => machine.kill("SIGKILL"), 90_000);
  await machine.exited;
  clearTimeout(stuck);
  daemon.kill();
  await daemon.exited;
  const output = await Bun.file(console).text();
  if (output === "") throw new Error(`${await Bun.file(log).text()}${await Bun.file(qemuLog).text()}`);
  return output;
}

function parse(output: string): Seconds {
  const seconds: Seconds = { write: [], read: [], walk: [] };
  for (const [, what, value] of output.matchAll(/^(write|read|walk) ([\d.]+)\r?$/gm)) {
    seconds[what as keyof Seconds].push(Number(value));
  }
  if (seconds.walk.length !== rounds) throw new Error(`the workload did not finish:\n${output}`);
  return seconds;
}
