/** What a sandbox that runs costs the host beyond the memory its guest has touched, beside QEMU's microvm. */
import { join } from "node:path";
import { Capsa } from "../../../src/index.ts";
import { capsaKernel } from "../peer.ts";
import { type Row, row } from "../report.ts";
import { atMost } from "./goal.ts";
import { family, type Resident, resident } from "./kvm.ts";
import type { Place } from "./measure.ts";
import { Listener, qemu, sandboxDevices, start, until } from "./microvm.ts";

const memoryMb = 256;

export async function memory(place: Place): Promise<Row[]> {
  const initrd = join(place.disk, "initrd-memory.cpio");
  let ours: Resident;
  {
    await using vm = await Capsa.sandbox().memoryMb(memoryMb).run("/bin/sleep", ["infinity"]).build();
    await vm.ready;
    await Bun.write(initrd, Bun.file(join(vm.runtimeDir, "initrd.cpio")));
    ours = all(vm.pid);
  }
  const log = join(place.disk, "qemu.log");
  await using listener = await Listener.open(place);
  const peer = start(
    qemu({
      kernel: await capsaKernel(),
      initrd,
      memoryMb,
      cmdline: "console=hvc0 quiet reboot=t no_timer_check noreplace-smp",
      extra: sandboxDevices(join(place.disk, "console")),
    }),
    log,
  );
  await until(listener.next(), peer, log);
  const theirs = all(peer.pid);
  peer.kill("SIGKILL");
  await peer.exited;
  return [
    atMost(6, "memory of the VMM beyond the guest's", "MiB", ours.own, theirs.own),
    row("memory that the guest has touched", "MiB", ours.guest, theirs.guest),
  ];
}

/** Of the VMM and its helpers together. */
function all(pid: number): Resident {
  const each = family(pid).map((member) => resident(member, memoryMb));
  return {
    own: each.reduce((sum, { own }) => sum + own, 0),
    guest: each.reduce((sum, { guest }) => sum + guest, 0),
  };
}
