/** The guest's clock is the host's: from the start, over standstills, and until somebody in the guest sets it. */

import { beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { agent, shareSandbox, vm } from "./shared.ts";

/** How far off it may be, on top of what cannot be told because the question takes time. Milliseconds. */
const TOLERANCE = 10;
const DAY = 24 * 3600 * 1000;

let atStart: number;
shareSandbox();
beforeAll(async () => {
  atStart = await off();
});

/** The guest's clock, ms. */
async function guestClock(): Promise<number> {
  const { stdout } = await agent.exec("adjtimex");
  const read = (what: string) => Number(new RegExp(`${what}: +(\\d+)`).exec(stdout)?.[1]);
  const inNanoseconds = (read("status") & 0x2000) !== 0; // STA_NANO
  return read("time.tv_sec") * 1000 + read("time.tv_usec") / (inNanoseconds ? 1e6 : 1e3);
}

/** How far the guest's clock is ahead of the host's for certain: 0 if it could be right. */
async function off(): Promise<number> {
  const before = Date.now();
  const guest = await guestClock();
  const after = Date.now() + 1; // which has whole ones only
  return Math.min(guest - before, 0) + Math.max(guest - after, 0);
}

async function standStill(ms: number): Promise<void> {
  await vm.pause();
  await Bun.sleep(ms);
  await vm.resume();
}

function tree(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim();
  return [pid, ...(children === "" ? [] : children.split(" ").flatMap((child) => tree(Number(child))))];
}

test("it is right from the start", () => {
  expect(Math.abs(atStart)).toBeLessThan(TOLERANCE);
});

test("what is made later is newer, in a share or beside it, as make wants it", async () => {
  const made = await agent.exec(`
    echo >/share/source; sleep 0.1; echo >/tmp/object; sleep 0.1; echo >/share/result
    stat -c %y /share/source /tmp/object /share/result`);
  const times = made.stdout.trim().split("\n");
  expect(times).toHaveLength(3);
  expect(times).toEqual(times.toSorted());
});

test("a pause is made up for, by the wall clock alone", async () => {
  const uptime = async () => Number((await agent.exec("cut -d' ' -f1 /proc/uptime")).stdout);
  const before = await uptime();
  const began = performance.now();
  await standStill(3000);
  expect(Math.abs(await off())).toBeLessThan(TOLERANCE);
  const passed = (await uptime()) - before;
  expect(passed).toBeLessThan((performance.now() - began) / 1000 - 2.9);
});

test("it is right after its processes stood still, too", async () => {
  const family = tree(vm.pid);
  expect(family.length).toBeGreaterThan(1);
  for (const pid of family) process.kill(pid, "SIGSTOP");
  await Bun.sleep(2000);
  for (const pid of family.reverse()) process.kill(pid, "SIGCONT");
  expect(Math.abs(await off())).toBeLessThan(TOLERANCE);
});

test("who sets it in the guest has it until the next standstill", async () => {
  const set = await agent.exec("date -u -s '2020-01-01 00:00:00'");
  expect(set.exitCode).toBe(0);
  expect(await guestClock()).toBeLessThan(Date.UTC(2020, 0, 2));
  // By then it would have been looked at several times
  await Bun.sleep(2500);
  expect(await off()).toBeLessThan(-365 * DAY);
  await standStill(100);
  expect(Math.abs(await off())).toBeLessThan(TOLERANCE);
});

test("programs that are busy on each processor keep nobody from it", async () => {
  const busy = Array.from({ length: 4 }, () => agent.spawn(["sh", "-c", "while :; do :; done"]));
  const children = await Promise.all(busy);
  await standStill(1000);
  expect(Math.abs(await off())).toBeLessThan(TOLERANCE);
  for (const child of children) await child.kill("SIGKILL");
  await Promise.all(children.map((child) => child.exited));
});
