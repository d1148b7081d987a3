/** From nothing to an agent that listens, beside QEMU's microvm on KVM with the same kernel and the same initramfs. */
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { Capsa, type RunningSandbox } from "../../../src/index.ts";
import { timed } from "../clock.ts";
import { capsaKernel } from "../peer.ts";
import { type Row, row } from "../report.ts";
import { median } from "../statistics.ts";
import { counters } from "./kvm.ts";
import type { Place } from "./measure.ts";
import { Listener, qemu, sandboxDevices, start, until } from "./microvm.ts";
import { scrub } from "./scrub.ts";

const rounds = 10;
const memoryMb = 256;
/** no_timer_check: the guest is not made to try its timer; noreplace-smp as capsa has it. */
const cmdline = "console=hvc0 quiet reboot=t no_timer_check noreplace-smp";

export async function boot(place: Place): Promise<Row[]> {
  const initrd = join(place.disk, "initrd.cpio");
  const log = join(place.disk, "qemu.log");
  const peer = qemu({
    kernel: await capsaKernel(),
    initrd,
    memoryMb,
    cmdline,
    extra: sandboxDevices(join(place.disk, "console")),
  });
  await using listener = await Listener.open(place);
  const ms = { ours: [] as number[], peer: [] as number[] };
  const exits = { ours: [] as number[], peer: [] as number[] };
  const parts: Record<string, number[]> = {};
  // in turns, so that a slow minute of the machine meets both; the first of each fills the caches and does not count
  for (let round = 0; round <= rounds; round++) {
    await scrub(place);
    let vm!: RunningSandbox;
    const mine = await timed(async () => {
      vm = await Capsa.sandbox().memoryMb(memoryMb).rootfs("base").run("/bin/sleep", ["infinity"]).build();
      await vm.ready;
    });
    const counted = counters();
    copyFileSync(join(vm.runtimeDir, "initrd.cpio"), initrd);
    const { timings } = vm;
    await vm.kill();

    await scrub(place);
    let other!: Bun.Subprocess;
    const theirs = await timed(async () => {
      other = start(peer, log);
      await until(listener.next(), other, log);
    });
    const countedOther = counters();
    other.kill("SIGKILL");
    await other.exited;
    if (round === 0) continue;
    ms.ours.push(mine);
    ms.peer.push(theirs);
    exits.ours.push(counted.exits!);
    exits.peer.push(countedOther.exits!);
    for (const [part, value] of Object.entries(timings!)) {
      const name = part.replace(/Ms$/, "");
      parts[name] ??= [];
      if (name !== "total") parts[name].push(value);
    }
  }
  return [
    row("boot to agent ready", "ms", median(ms.ours), median(ms.peer), "<= 0.6"),
    row("boot to agent ready, VM exits", "exits", median(exits.ours), median(exits.peer), "<= 0.6"),
    ...Object.entries(parts)
      .filter(([, samples]) => samples.length > 0)
      .map(([part, samples]) => row(`boot: ${part}`, "ms", median(samples))),
  ];
}
