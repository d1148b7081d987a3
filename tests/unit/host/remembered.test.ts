/** What processes keep for each other: only what holds still, and whatever somebody else may have written there. */
import { expect, test } from "bun:test";
import { rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { rememberedProbe } from "../../../src/engine/kvm_memory.ts";
import type { KvmProbe } from "../../../src/engine/library.ts";
import { recall, remember } from "../../../src/host/remembered.ts";
import { ownRuntimeDirectory } from "../cli/capsa.ts";

const home = ownRuntimeDirectory();
const HOUR_MS = 3600_000;

test("kept is what is about the same, for this user alone", () => {
  remember(".thing", "this", { found: 1 });
  expect(recall(".thing", "this")).toEqual({ found: 1 });
  expect(recall(".thing", "that")).toBeUndefined();
  expect(recall(".nothing", "this")).toBeUndefined();
  expect(statSync(join(home, ".thing")).mode & 0o777).toBe(0o600);
});

test("what is too old, of the future, of another form, too long or a link is as nothing", () => {
  const path = join(home, ".thing");
  const put = (text: unknown) => writeFileSync(path, typeof text === "string" ? text : JSON.stringify(text));
  const kept = { about: "this", at: Date.now(), holdsMs: HOUR_MS, value: 1 };
  put(kept);
  expect(recall(".thing", "this")).toBe(1);
  const doubtful = [
    { ...kept, at: Date.now() - 2 * HOUR_MS },
    { ...kept, at: Date.now() - 25 * HOUR_MS, holdsMs: 1e15 },
    { ...kept, at: Date.now() + HOUR_MS },
    { ...kept, at: "now" },
    { ...kept, holdsMs: undefined },
    { ...kept, padding: "x".repeat(5000) },
    ...["", "null", "[1]", '"text"', "{", "\0"],
  ];
  for (const text of doubtful) {
    put(text);
    expect(recall(".thing", "this")).toBeUndefined();
  }
  put(kept);
  rmSync(join(home, ".link"), { force: true });
  symlinkSync(path, join(home, ".link"));
  expect(recall(".link", "this")).toBeUndefined();
});

const FOUND: KvmProbe = {
  state: "ok",
  error: undefined,
  apiVersion: 12,
  cpuVirtualization: true,
  guestMs: 0.5,
  guestLoops: 10_000,
};

/** How often it is probed when one after another asks, each about its machine. */
function probes(found: KvmProbe, machines: readonly (string | undefined)[]): number {
  let count = 0;
  for (const machine of machines) {
    const told = rememberedProbe(() => {
      count++;
      return found;
    }, machine);
    expect(told).toEqual(found);
  }
  return count;
}

test("KVM is probed once for all processes, and again on another machine, or where that cannot be told", () => {
  expect(probes(FOUND, ["a", "a", "a"])).toBe(1);
  expect(probes(FOUND, ["b", "b"])).toBe(1);
  expect(probes({ ...FOUND, state: "software" }, ["c", "c"])).toBe(1);
  expect(probes(FOUND, [undefined, undefined])).toBe(2);
});

test("what may pass is not kept, and of what is kept nothing is believed that no probe would say", () => {
  for (const state of ["absent", "denied", "broken", "unsupported"] as const)
    expect(probes({ ...FOUND, state }, ["d", "d"])).toBe(2);
  const wrong = [
    null,
    1,
    "ok",
    {},
    { ...FOUND, state: "fine" },
    { ...FOUND, guestMs: "1" },
    { ...FOUND, guestLoops: -1 },
  ];
  for (const value of wrong) {
    remember(".kvm", "e", value);
    expect(probes(FOUND, ["e"])).toBe(1);
  }
});
