/** What a start takes of the program that asks for it, with each root file system: its time, and how long nothing else runs. */
import { Capsa } from "../../src/index.ts";
import { timed } from "./clock.ts";
import { type Row, row } from "./report.ts";
import { median } from "./statistics.ts";

const rounds = 10;

export async function start(): Promise<Row[]> {
  return [...(await startOf("base")), ...(await startOf("host"))];
}

async function startOf(rootfs: "base" | "host"): Promise<Row[]> {
  const sleeping = Capsa.sandbox().memoryMb(256).rootfs(rootfs).run("/bin/sleep", ["infinity"]);
  await (await sleeping.build()).kill(); // what is made once
  const ready: number[] = [];
  const stalls: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const stall = watchStalls();
    let end = async (): Promise<unknown> => undefined;
    ready.push(
      await timed(async () => {
        const vm = await sleeping.build();
        end = () => vm.kill();
        await vm.ready;
      }),
    );
    await end();
    stalls.push(stall());
  }
  return [
    row(`start, rootfs ${rootfs}: until the agent listens`, "ms", median(ready)),
    row(`start and end, rootfs ${rootfs}: the longest that nothing else ran`, "ms", median(stalls)),
    row(`pool, rootfs ${rootfs}: reserve and exec true`, "ms", median(await reserves(sleeping))),
  ];
}

async function reserves(sleeping: Parameters<typeof Capsa.pool>[0]): Promise<number[]> {
  const taken: number[] = [];
  await using pool = Capsa.pool(sleeping, 1);
  for (let round = 0; round < rounds; round++) {
    while (pool.ready === 0) await Bun.sleep(10);
    let end = async (): Promise<unknown> => undefined;
    taken.push(
      await timed(async () => {
        const vm = await pool.reserve();
        end = () => vm.kill();
        await vm.exec("true");
      }),
    );
    await end();
  }
  return taken;
}

/** Of the event loop, until it is asked: the longest between two turns, ms. */
function watchStalls(): () => number {
  let last = performance.now();
  let longest = 0;
  const look = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(look, 1);
  return () => {
    clearInterval(timer);
    look();
    return longest;
  };
}
