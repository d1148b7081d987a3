/** From nothing to an agent that answers, beside plain QEMU with the same kernel and with Debian's cloud kernel. */
import { Capsa, sandbox } from "../../src/index.ts";
import { timed } from "./clock.ts";
import { capsaKernel, cloudKernel, microvm, printAndStop, Stuck, temporary } from "./peer.ts";
import { type Row, row } from "./report.ts";
import { median } from "./statistics.ts";

const rounds = 10;

export async function boot(): Promise<Row[]> {
  using scratch = temporary();
  const initrd = await printAndStop(scratch.path);
  const kernels = { same: await capsaKernel(), cloud: await cloudKernel() };
  const ready: number[] = [];
  const plain: number[] = [];
  const cloud: number[] = [];
  const parts: Record<string, number[]> = {};
  // in turns, so that a slow minute of the machine meets them all
  for (let round = 0; round < rounds; round++) {
    let end = async (): Promise<unknown> => undefined;
    ready.push(
      await timed(async () => {
        end = await bootOnce(parts);
      }),
    );
    await end();
    plain.push(await peerBoot(kernels.same, initrd));
    cloud.push(await peerBoot(kernels.cloud, initrd));
  }
  return [
    row(
      "boot to agent ready, beside QEMU with the same kernel",
      "ms",
      median(ready),
      median(plain),
      "<= 1.3",
    ),
    row(
      "boot to agent ready, beside QEMU with Debian's cloud kernel",
      "ms",
      median(ready),
      median(cloud),
      "<= 0.4",
    ),
    ...Object.entries(parts).map(([part, samples]) => row(`boot: ${part}`, "ms", median(samples))),
  ];
}

/** Milliseconds of a boot of the peer that came to its end; one that stood still is done again. */
async function peerBoot(kernel: string, initrd: string): Promise<number> {
  for (;;) {
    try {
      return await timed(() => microvm(kernel, initrd));
    } catch (error) {
      if (!(error instanceof Stuck)) throw error;
      console.error(`bench: boot: the peer stood still (${error.message}); again`);
    }
  }
}

/** Start a sandbox, wait until its agent has answered, note where the time went, end it. */
async function bootOnce(parts: Record<string, number[]>): Promise<() => Promise<unknown>> {
  const vm = await Capsa.sandbox().memoryMb(256).rootfs("base").run("/bin/sleep", ["infinity"]).build();
  const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  await agent.ping();
  const { spawnMs, kernelMs, initMs, mountsMs, agentMs } = await vm.ready;
  for (const [part, ms] of Object.entries({ spawnMs, kernelMs, initMs, mountsMs, agentMs })) {
    parts[part.replace(/Ms$/, "")] ??= [];
    parts[part.replace(/Ms$/, "")]!.push(ms);
  }
  return () => vm.kill();
}
