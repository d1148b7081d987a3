/** What `make soak` does for minutes, once in small: several sandboxes under random work, and a storm of programs. */
import { expect, test } from "bun:test";
import { soak } from "../soak/soak.ts";
import { storm } from "../soak/storm.ts";

const MiB = 1024 * 1024;

test("sandboxes at work lose nothing, mix nothing, and leave nothing", async () => {
  const { calls, before, after, left } = await soak({ sandboxes: 3, seconds: 3, workers: 2, most: MiB / 4 });
  expect(Object.keys(calls).length).toBeGreaterThan(3);
  expect(left).toBe(0);
  expect(after.children).toBe(before.children);
  expect(after.descriptors).toBe(before.descriptors);
  expect(after.memory - before.memory).toBeLessThan(64 * MiB);
}, 120_000);

test("programs in a row and at once come back as themselves", async () => {
  await storm(100, 256);
}, 120_000);
