import { expect, test } from "bun:test";
import { suggest } from "../../../src/errors/suggest.ts";
import { parseBandwidth, parseDuration, parseMemory, parseSize } from "../../../src/spec/units.ts";

test.each([
  ["500ms", 500],
  ["30s", 30_000],
  ["1.5m", 90_000],
  ["2h", 7_200_000],
  ["0s", 0],
] as const)("a duration: %s", (text, ms) => {
  expect(parseDuration(text)).toBe(ms);
});

test.each(["", "30", "s", "-1s", "1 s", "1S", "1e3s", ".5s", "1.s", "30sec", "∞s"])(
  "not a duration: %j",
  (text) => {
    expect(parseDuration(text)).toBeUndefined();
  },
);

test.each([
  ["64M", 64],
  ["2G", 2048],
] as const)("a size: %s", (text, mib) => {
  expect(parseMemory(text)).toBe(mib);
});

test.each(["", "512", "512m", "512MB", "0.5G", "-1M", "1 G", "1T"])("not a size: %j", (text) => {
  expect(parseMemory(text)).toBeUndefined();
});

test.each([
  ["64K", 65_536],
  ["2M", 2_097_152],
  ["1G", 2 ** 30],
] as const)("a size of bytes: %s", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each(["", "64", "64k", "1.5M", "-1K", "1T"])("not a size of bytes: %j", (text) => {
  expect(parseSize(text)).toBeUndefined();
});

test.each([
  ["64kbit", 8000],
  ["10Mbit", 1_250_000],
  ["2.5Gbit", 312_500_000],
  ["1.5MB", 1_500_000],
  ["8kB", 8000],
  ["1GB", 1e9],
] as const)("bytes of a second: %s", (text, bytes) => {
  expect(parseBandwidth(text)).toBe(bytes);
});

test.each(["", "10", "10mbit", "10Mb", "10 Mbit", "-1MB", "1MiB", "1MB/s"])(
  "not bytes of a second: %j",
  (text) => {
    expect(parseBandwidth(text)).toBeUndefined();
  },
);

test.each([
  ["memroy", "memory"],
  ["Memory", "memory"],
  ["cpu", "cpus"],
  ["exitcode", "exitCode"],
  ["boot_timeout", undefined],
  ["colour", undefined],
] as const)("what %s most likely meant: %s", (word, meant) => {
  expect(suggest(word, ["cpus", "memory", "exitCode", "rootfs"])).toBe(meant as string);
});
