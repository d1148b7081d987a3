/** What tells a file from every other one. */
import { expect, test } from "bun:test";
import { lastingIdentity } from "../../../src/host/identity.ts";

const file = { dev: 7n, ino: 2n, birthtimeNs: 1_700_000_000_123_456_789n };

test("a time of birth holds whatever number the device has next time", () => {
  expect(lastingIdentity({ ...file, dev: 8n })).toBe(lastingIdentity(file));
  expect(lastingIdentity({ ...file, birthtimeNs: file.birthtimeNs + 1n })).not.toBe(lastingIdentity(file));
  expect(lastingIdentity({ ...file, ino: 3n })).not.toBe(lastingIdentity(file));
});

test("without one the same inode of another device is another file", () => {
  const unborn = { ...file, birthtimeNs: 0n };
  expect(lastingIdentity({ ...unborn, dev: 8n })).not.toBe(lastingIdentity(unborn));
  expect(lastingIdentity({ ...unborn, ino: 3n })).not.toBe(lastingIdentity(unborn));
  expect(lastingIdentity({ ...unborn })).toBe(lastingIdentity(unborn));
});
