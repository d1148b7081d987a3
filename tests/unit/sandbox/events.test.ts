/** The store of a sandbox's events: who reads early, late, slowly, or not any more. */

import { expect, test } from "bun:test";
import { Events } from "../../../src/sandbox/events.ts";

const numbered = (events: Events, from: number, to: number) => {
  for (let pid = from; pid < to; pid++) events.add({ type: "main-started", pid });
};
/** Process ids, and how many were missed as a negative number. */
async function read(events: Events): Promise<number[]> {
  const seen: number[] = [];
  for await (const event of events.read()) {
    if (event.type === "main-started") seen.push(event.pid);
    if (event.type === "dropped") seen.push(-event.count);
  }
  return seen;
}

test("every reader gets all of them, whenever it came", async () => {
  const events = new Events();
  const early = read(events);
  numbered(events, 0, 2);
  await Bun.sleep(0);
  numbered(events, 2, 3);
  const late = read(events);
  events.end();
  expect(await Promise.all([early, late, read(events)])).toEqual([
    [0, 1, 2],
    [0, 1, 2],
    [0, 1, 2],
  ]);
});

test("one that is too far behind is told how many it has missed, where they were", async () => {
  const events = new Events(3);
  numbered(events, 0, 4);
  const slow = events.read();
  expect(await slow.next()).toMatchObject({ value: { type: "dropped", count: 1 } });
  expect(await slow.next()).toMatchObject({ value: { pid: 1 } });
  numbered(events, 4, 8);
  events.end();
  const rest = await Array.fromAsync(slow);
  expect(rest).toMatchObject([{ count: 3 }, { pid: 5 }, { pid: 6 }, { pid: 7 }]);
  expect(await read(events)).toEqual([-5, 5, 6, 7]);
});

test("aborting ends a reader with the reason, waiting or not; leaving the loop is enough too", async () => {
  const events = new Events();
  const abort = new AbortController();
  const waiting = events.read(abort.signal).next();
  abort.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
  await expect(events.read(abort.signal).next()).rejects.toThrow("enough");
  numbered(events, 0, 2);
  for await (const event of events.read()) {
    expect(event).toMatchObject({ pid: 0 });
    break;
  }
});
