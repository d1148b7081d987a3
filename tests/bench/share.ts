/** A share's throughput and the walk of many small files, beside virtiofsd under the same QEMU with the same guest. */
import { join } from "node:path";
import { capsaKernel, microvm, temporary, workloadInitramfs } from "./peer.ts";
import type { Row } from "./report.ts";
import { compareShares, memoryMb, rounds, turnSeconds } from "./workload.ts";

const turns = 5;
/** virtiofsd holds a descriptor for each file that the guest knows, and 20,000 may be all that it is allowed. */
const tree = { directories: 120, each: 100 };

export async function share(): Promise<Row[]> {
  using scratch = temporary();
  const directory = join(scratch.path, "share");
  const initrd = await workloadInitramfs(scratch.path, rounds);
  return await compareShares(directory, tree, turns, () => virtiofsd(scratch.path, directory, initrd));
}

async function virtiofsd(scratch: string, directory: string, initrd: string): Promise<string> {
  const socket = join(scratch, "virtiofsd.sock");
  const daemon = Bun.spawn(
    ["/usr/lib/qemu/virtiofsd", `--socket-path=${socket}`, "-o", `source=${directory}`],
    {
      stdout: "ignore",
      stderr: "ignore",
    },
  );
  try {
    while (
      !(await Bun.file(socket)
        .stat()
        .catch(() => null))
    ) {
      if (daemon.exitCode !== null) throw new Error(`virtiofsd ended with exit code ${daemon.exitCode}`);
      await Bun.sleep(10);
    }
    return await microvm(await capsaKernel(), initrd, {
      memory: `${memoryMb}M`,
      limit: turnSeconds,
      extra: [
        // the processor and the queue that capsa's engine takes: what is compared is the server
        ...["-cpu", "max,-erms"],
        // vhost-user-fs needs virtio 1; without ACPI the kernel is told on its command line where the device is
        ...["-machine", "acpi=off", "-global", "virtio-mmio.force-legacy=false"],
        ...[
          "-chardev",
          `socket,id=fs,path=${socket}`,
          "-device",
          "vhost-user-fs-device,chardev=fs,tag=bench,queue-size=1024",
        ],
        ...[
          "-object",
          `memory-backend-memfd,id=ram,size=${memoryMb}M,share=on`,
          "-machine",
          "memory-backend=ram",
        ],
      ],
    });
  } finally {
    daemon.kill();
    await daemon.exited;
  }
}
