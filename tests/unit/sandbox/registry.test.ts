/** The registry on its own: names, places, what dead processes left, and directories that are not to be trusted. */

import { afterAll, beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runtimeBase, sharedBase, withLock } from "../../../src/host/directories.ts";
import { identify } from "../../../src/host/process.ts";
import { attach, ended, list, readLog, readNetworkLog } from "../../../src/index.ts";
import { claim } from "../../../src/machine/claim.ts";
import { encodeFrame } from "../../../src/wire/framing.ts";
import { SPEC } from "./spec.ts";

const top = mkdtempSync(join(tmpdir(), "capsa-registry-"));
const before = { ...process.env };
let count = 0;

beforeEach(() => {
  process.env.CAPSA_RUNTIME_DIR = join(top, `run${++count}`);
  process.env.XDG_STATE_HOME = join(top, `state${count}`);
});

afterAll(() => {
  for (const name of ["CAPSA_RUNTIME_DIR", "XDG_STATE_HOME"]) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }
  rmSync(top, { recursive: true });
});

/** A sandbox that wants a place. */
function subject(name = SPEC.name) {
  return { name, spec: { ...SPEC, name } };
}

/** A process that has ended, and its number with it. */
async function deadPid(): Promise<number> {
  const child = Bun.spawn(["/bin/true"]);
  await child.exited;
  return child.pid;
}

test("a place holds a name until it is given back", async () => {
  const place = await claim(subject(), "qemu", false);
  expect(existsSync(join(place.runtimeDir, "sandbox.json"))).toBe(true);
  await expect(claim(subject(), "qemu", false)).rejects.toMatchObject({ code: "NAME_IN_USE", field: "name" });
  const other = await claim(subject("other"), "qemu", false);
  place.release();
  expect(existsSync(place.runtimeDir)).toBe(false);
  (await claim(subject(), "qemu", false)).release();
  other.release();
});

test("a raw VM holds its name, and is on no list", async () => {
  const place = await claim({ name: "machine" }, "qemu", false);
  place.started(process.pid);
  await expect(claim({ name: "machine" }, "qemu", false)).rejects.toMatchObject({
    code: "NAME_IN_USE",
    message: expect.stringContaining('a VM "machine"'),
  });
  expect(await list()).toEqual([]);
  expect(existsSync(place.runtimeDir)).toBe(true);
  place.release();
});

test("of many who want a name at once, one gets it", async () => {
  const script = `
    import { claim } from ${JSON.stringify(join(import.meta.dir, "../../../src/machine/claim.ts"))};
    const place = await claim(${JSON.stringify(subject())}, "qemu", false).catch((error) => error);
    console.log(place.code ?? "taken");
    await Bun.stdin.text();`;
  const children = Array.from({ length: 4 }, () =>
    Bun.spawn([process.execPath, "-e", script], { env: process.env, stdin: "pipe", stdout: "pipe" }),
  );
  const firstLine = async (stream: ReadableStream<Uint8Array>) => {
    const { value } = await stream.getReader().read();
    return new TextDecoder().decode(value).trim();
  };
  const answers = await Promise.all(children.map((child) => firstLine(child.stdout)));
  for (const child of children) child.stdin.end();
  await Promise.all(children.map((child) => child.exited));
  expect(answers.sort()).toEqual(["NAME_IN_USE", "NAME_IN_USE", "NAME_IN_USE", "taken"]);
});

test("those that run are listed, what the dead left is removed", async () => {
  const living = await claim(subject(), "qemu", false);
  living.started(process.pid);
  const dead = await claim(subject("dead"), "qemu", false);
  dead.started(await deadPid());
  const entries = await list();
  expect(entries).toMatchObject([
    { name: "box", engine: "qemu", pid: process.pid, detached: false, spec: SPEC },
  ]);
  expect(existsSync(dead.runtimeDir)).toBe(false);
  living.release();
});

test("a process number that was given again is not the one that died", async () => {
  const place = await claim(subject(), "qemu", false);
  const file = join(place.runtimeDir, "sandbox.json");
  const record = await Bun.file(file).json();
  writeFileSync(file, JSON.stringify({ ...record, vmm: { pid: process.pid, start: "1" } }));
  expect(await list()).toEqual([]);
  expect(existsSync(place.runtimeDir)).toBe(false);
});

test("a record is for the directory it lies in, whole, and a file", async () => {
  const place = await claim(subject(), "qemu", false);
  place.started(process.pid);
  const file = join(place.runtimeDir, "sandbox.json");
  const record = await Bun.file(file).json();
  for (const wrong of [{ ...record, id: "0000000a" }, { ...record, vmm: {} }, { version: 1 }, null, 7]) {
    writeFileSync(file, JSON.stringify(wrong));
    expect(await list()).toEqual([]);
  }
  rmSync(place.runtimeDir, { recursive: true, force: true });
  mkdirSync(place.runtimeDir);
  Bun.spawnSync(["mkfifo", file]); // whoever opens one waits for a writer, and would keep the lock
  expect(await list()).toEqual([]);
});

test("what a dead VMM has left goes, whatever it is", async () => {
  const place = await claim(subject(), "qemu", false);
  const vmm = join(place.runtimeDir, "vmm");
  const outside = join(top, `outside${count}`);
  mkdirSync(outside);
  writeFileSync(join(outside, "kept"), "");
  symlinkSync(outside, join(vmm, "away"));
  Bun.spawnSync(["sh", "-c", "mkfifo f; i=0; while [ $i -lt 400 ]; do mkdir d && cd d; i=$((i+1)); done"], {
    cwd: vmm,
  });
  chmodSync(vmm, 0);
  place.started(await deadPid());
  expect(await list()).toEqual([]);
  expect(existsSync(place.runtimeDir)).toBe(false);
  expect(existsSync(join(outside, "kept"))).toBe(true);
});

test("a start whose logs cannot be kept is told so; one that fails leaves nothing behind", async () => {
  const base = runtimeBase();
  writeFileSync(process.env.XDG_STATE_HOME!, "a file is in its way");
  const notices: string[] = [];
  const unkept = await claim(subject(), "qemu", true, ({ code }) => notices.push(code));
  expect([unkept.archive, ...notices]).toEqual([undefined, "LOGS_NOT_KEPT"]);
  unkept.release();
  mkdirSync(`${process.env.XDG_STATE_HOME}x/capsa/ended`, { recursive: true });
  process.env.XDG_STATE_HOME += "x";
  const taken = { ...subject("n"), spec: { ...SPEC, networks: [{ name: "a", scope: "s", as: "n" }] } };
  const place = await claim(taken, "qemu", true);
  await expect(claim({ ...taken, name: "other" }, "qemu", true)).rejects.toThrow("already");
  expect(readdirSync(base).sort()).toEqual([".lock", place.id].sort());
  expect(readdirSync(`${process.env.XDG_STATE_HOME}/capsa/ended`)).toEqual([place.id]);
  place.release();
  expect(readdirSync(base)).toEqual([".lock"]);
});

test("where somebody else has the directory in /tmp, it is one of the user's state", () => {
  process.env.XDG_STATE_HOME = `/tmp/cs-${process.pid}`;
  try {
    const free = join(top, "free");
    expect(sharedBase(free)).toBe(free);
    chmodSync(free, 0o755); // one's own is one's own to mend
    expect(() => sharedBase(free)).toThrow("is open to other users, or not yours");
    const own = `/tmp/cs-${process.pid}/capsa/run`;
    expect(sharedBase("/dev/null/x")).toBe(own);
    expect(statSync(own).mode & 0o777).toBe(0o700);
    expect(sharedBase(join(top, "free2"))).toBe(own); // where the sandboxes are
    expect(existsSync(join(top, "free2"))).toBe(false);
  } finally {
    rmSync(`/tmp/cs-${process.pid}`, { recursive: true, force: true });
  }
  process.env.XDG_STATE_HOME = join(top, "y".repeat(80));
  expect(() => sharedBase("/dev/null/x")).toThrow(
    expect.objectContaining({
      code: "RUNTIME_DIR",
      message: expect.stringMatching(/\/dev\/null\/x cannot be made; and .*longer than 71 bytes/),
      hint: expect.stringContaining("CAPSA_RUNTIME_DIR"),
    }),
  );
  expect(existsSync(process.env.XDG_STATE_HOME)).toBe(false);
});

test.skipIf(process.geteuid?.() !== 0)("a directory of another user's is not used", () => {
  process.env.XDG_STATE_HOME = `/tmp/cs-${process.pid}`;
  const taken = join(top, "taken");
  mkdirSync(taken, { mode: 0o700 });
  chownSync(taken, 65534, 65534);
  try {
    expect(sharedBase(taken)).toBe(`/tmp/cs-${process.pid}/capsa/run`);
  } finally {
    rmSync(process.env.XDG_STATE_HOME, { recursive: true, force: true });
  }
});

test("a directory without a record is left alone while it is young", async () => {
  const base = runtimeBase();
  for (const [id, age] of [
    ["0000000a", 5],
    ["0000000b", 600],
  ] as const) {
    mkdirSync(join(base, id));
    const then = Date.now() / 1000 - age;
    utimesSync(join(base, id), then, then);
  }
  mkdirSync(join(base, "not-an-id"));
  await list();
  expect(readdirSync(base).sort()).toEqual([".lock", "0000000a", "not-an-id"]);
});

test("a runtime directory that others can enter, or that sockets do not fit in, is refused", () => {
  const base = runtimeBase();
  chmodSync(base, 0o755);
  expect(() => runtimeBase()).toThrow("is open to other users, or not yours");
  process.env.CAPSA_RUNTIME_DIR = join(top, "x".repeat(80));
  expect(() => runtimeBase()).toThrow("longer than 71 bytes");
  process.env.CAPSA_RUNTIME_DIR = "relative";
  expect(() => runtimeBase()).toThrow("not an absolute path");
});

test("the lock is one at a time", async () => {
  const base = runtimeBase();
  let inside = 0;
  await Promise.all(
    Array.from({ length: 8 }, () =>
      withLock(base, () => {
        expect(++inside).toBe(1);
        inside--;
      }),
    ),
  );
});

test("logs of the last 20 detached sandboxes are kept, with their exit", async () => {
  for (let i = 0; i < 22; i++) {
    const place = await claim(subject(`n${i}`), "qemu", true);
    const frames = [
      encodeFrame({ ev: "main-stdout", data: new TextEncoder().encode(`I am ${i}\n`) }),
      encodeFrame({ ev: "main-exit", exitCode: i }),
      new Uint8Array([0, 0]), // cut off in the middle
    ];
    writeFileSync(join(place.archive!, "events.log"), Buffer.concat(frames));
    rmSync(place.runtimeDir, { recursive: true });
    await Bun.sleep(2);
  }
  const past = await ended();
  expect(past).toHaveLength(20);
  expect(past[0]).toMatchObject({ name: "n21", exit: { reason: "main", exitCode: 21, signal: null } });
  const [entry] = await readLog("n21");
  expect(entry!.stream).toBe("stdout");
  expect(new TextDecoder().decode(entry!.data)).toBe("I am 21\n");
  await expect(readLog("n1")).rejects.toMatchObject({ code: "SANDBOX_NOT_FOUND" });
  await expect(attach("n21")).rejects.toMatchObject({ code: "SANDBOX_NOT_FOUND" });
});

test("a control socket that is none is told as that, one that is gone as a VMM that has ended", async () => {
  const place = await claim(subject(), "qemu", false);
  place.started(process.pid);
  await expect(attach(SPEC.name)).rejects.toMatchObject({ code: "VMM_GONE" });
  symlinkSync("/run/elsewhere.sock", join(place.runtimeDir, "control.sock"));
  await expect(attach(SPEC.name)).rejects.toMatchObject({
    code: "NOT_A_SOCKET",
    hint: expect.stringContaining("capsa down"),
  });
  place.release();
});

test("logs are files, of lines with a time, and free of what a terminal obeys", async () => {
  const place = await claim(subject(), "qemu", false);
  place.started(process.pid);
  const log = join(place.runtimeDir, "network.log");
  const secret = join(top, `secret${count}`);
  const line = (second: number, text: string) => `2026-01-01T00:00:0${second}Z ${text}\n`;
  writeFileSync(log, `${line(3, "tcp a")}\n${line(1, "\x1b[2J\x9b31m")}junk\n`);
  writeFileSync(join(place.runtimeDir, "secrets.log"), line(2, "tcp b"));
  expect(await readNetworkLog("box")).toBe(
    "2026-01-01T00:00:01Z \\x1b[2J\\x9b31m\n2026-01-01T00:00:02Z tcp b\n2026-01-01T00:00:03Z tcp a\n",
  );
  rmSync(join(place.runtimeDir, "secrets.log"));
  writeFileSync(secret, line(1, "a secret"));
  for (const name of ["network.log", "events.log"]) {
    const file = join(place.runtimeDir, name);
    rmSync(file, { force: true });
    symlinkSync(secret, file);
    expect(await readNetworkLog("box")).toBe("");
    expect(await readLog("box")).toEqual([]);
    rmSync(file);
    Bun.spawnSync(["mkfifo", file]);
    expect(await readNetworkLog("box")).toBe("");
    expect(await readLog("box")).toEqual([]);
  }
  place.release();
});

test("a process is itself, and nobody after its end", async () => {
  expect(identify(process.pid)?.pid).toBe(process.pid);
  expect(identify(await deadPid())).toBeUndefined();
});
