/** A share's throughput and the walk of many small files, beside virtiofsd under QEMU's microvm with the same guest. */
import { join } from "node:path";
import { capsaKernel, lastWords, workloadInitramfs } from "../peer.ts";
import type { Row } from "../report.ts";
import { compareShares, memoryMb, rounds, turnSeconds } from "../workload.ts";
import type { Place } from "./measure.ts";
import { qemu, start } from "./microvm.ts";
import { scrub } from "./scrub.ts";

const turns = 3;

export async function share(place: Place): Promise<Row[]> {
  const directory = "/tmp/share"; // in memory: what is measured is the way to it
  const initrd = await workloadInitramfs(place.disk, rounds);
  return await compareShares(
    directory,
    { directories: 20, each: 100 },
    turns,
    () => virtiofsd(place, directory, initrd),
    () => scrub(place),
  );
}

async function virtiofsd(place: Place, directory: string, initrd: string): Promise<string> {
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
      initrd,
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
  const turn = AbortSignal.timeout(turnSeconds * 1000);
  const late = new Promise<void>((resolve) => turn.addEventListener("abort", () => resolve()));
  await Promise.race([machine.exited, daemon.exited, late]);
  await Promise.race([machine.exited, Bun.sleep(turn.aborted ? 0 : 5000)]); // virtiofsd ends with QEMU, and may be seen first
  const stuck = machine.exitCode === null && machine.signalCode === null;
  const failure = turn.aborted
    ? `its guest was still at work after ${turnSeconds} s`
    : `virtiofsd ended with ${daemon.signalCode ?? daemon.exitCode}, and its guest did not`;
  machine.kill("SIGKILL");
  daemon.kill();
  await Promise.all([machine.exited, daemon.exited]);
  const output = await Bun.file(console).text();
  const logs = `${await Bun.file(log).text()}${await Bun.file(qemuLog).text()}`;
  if (stuck) throw new Error(`${failure}${lastWords(output)}${logs}`);
  if (output === "") throw new Error(logs);
  return output;
}
