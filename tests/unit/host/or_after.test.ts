import { expect, test } from "bun:test";
import { join } from "node:path";
import { orAfter } from "../../../src/host/or_after.ts";

test("what comes first is the answer", async () => {
  expect(await orAfter(Promise.resolve("in time"), 1 << 30)).toBe("in time");
  expect(await orAfter(new Promise(() => {}), 1)).toBeUndefined();
  await expect(orAfter(Promise.reject(new Error("no")), 1 << 30)).rejects.toThrow("no");
});

test("a program that has its answer ends, whatever the limit was", async () => {
  const module = join(import.meta.dirname, "../../../src/host/or_after.ts");
  const program = `import { orAfter } from ${JSON.stringify(module)}; await orAfter(Promise.resolve(), 1 << 30);`;
  const child = Bun.spawn([process.execPath, "-e", program]);
  expect(await child.exited).toBe(0);
});
