/** A share's throughput and the walk of many small files, beside virtiofsd under the same QEMU with the same guest. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Capsa, MountMode, sandbox } from "../../src/index.ts";
import { capsaKernel, microvm, temporary, workloadInitramfs } from "./peer.ts";
import { type Row, row } from "./report.ts";
import { median } from "./statistics.ts";

const rounds = 10;
const memory = 512;
const bulkMiB = 192;
const files = { directories: 50, each: 100 };

type Seconds = Record<"write" | "read" | "walk", number[]>;

export async function share(): Promise<Row[]> {
  using scratch = temporary();
  const directory = join(scratch.path, "share");
  await plant(directory);
  const initrd = await workloadInitramfs(scratch.path, rounds);
  const peer = parse(await virtiofsd(scratch.path, directory, initrd));
  const ours = parse(await capsa(directory));
  const rate = (seconds: number[]) => bulkMiB / median(seconds);
  const count = files.directories * files.each;
  return [
    row("share, sequential write", "MiB/s", rate(ours.write), rate(peer.write), ">= 1.0"),
    row("share, sequential read", "MiB/s", rate(ours.read), rate(peer.read), ">= 1.0"),
    row(
      "share, walk of small files",
      "files/s",
      count / median(ours.walk),
      count / median(peer.walk),
      ">= 1.0",
    ),
  ];
}

async function plant(directory: string): Promise<void> {
  for (let d = 0; d < files.directories; d++) {
    const folder = join(directory, "tree", `directory-${d}`);
    mkdirSync(folder, { recursive: true });
    for (let f = 0; f < files.each; f++) await Bun.write(join(folder, `file-${f}`), `${d} ${f}\n`);
  }
}

async function capsa(directory: string): Promise<string> {
  await using vm = await Capsa.sandbox()
    .memoryMb(memory)
    .share(directory, "/share", MountMode.ReadWrite)
    .run("/bin/sleep", ["infinity"])
    .build();
  await using agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  await agent.writeFile("/workload.sh", Bun.file(join(import.meta.dir, "workload.sh")), { mode: 0o755 });
  const result = await agent.exec(["/workload.sh", "/share", String(rounds)]);
  if (!result.ok) throw new Error(`the workload failed in capsa: ${result.stderr}`);
  return result.stdout;
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
      memory: `${memory}M`,
      limit: 300,
      extra: [
        // vhost-user-fs needs virtio 1; without ACPI the kernel is told on its command line where the device is
        ...["-machine", "acpi=off", "-global", "virtio-mmio.force-legacy=false"],
        ...[
          "-chardev",
          `socket,id=fs,path=${socket}`,
          "-device",
          "vhost-user-fs-device,chardev=fs,tag=bench",
        ],
        ...[
          "-object",
          `memory-backend-memfd,id=ram,size=${memory}M,share=on`,
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

function parse(output: string): Seconds {
  const seconds: Seconds = { write: [], read: [], walk: [] };
  for (const [, what, value] of output.matchAll(/^(write|read|walk) ([\d.]+)\r?$/gm)) {
    seconds[what as keyof Seconds].push(Number(value));
  }
  if (seconds.walk.length !== rounds) throw new Error(`the workload did not finish:\n${output}`);
  return seconds;
}
