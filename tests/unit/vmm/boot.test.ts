/** A machine from start to end: events, agent, console, logs, shares, several at once. */

import { expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { MEMORY } from "../../../src/spec/machine.ts";
import { alive, commandOf, Machine, makeConfig, scratch } from "./machine.ts";

test("boots, answers, and leaves nothing", async () => {
  const machine = await Machine.start();
  expect(await machine.event("started")).toMatchObject({ engine: "qemu" });
  expect(await machine.ready()).toMatchObject({ t: { agent: expect.any(Number) } });
  expect(await machine.agent({ id: 1, op: "hello", version: 1 })).toMatchObject({
    id: 1,
    ok: true,
    version: 1,
  });

  const status = await machine.status();
  expect(status).toMatchObject({ name: "unit", engine: "qemu", state: "running", cpus: 1, detached: false });
  expect(status.eventsLog).toBe(statSync(join(machine.runtimeDir, "events.log")).size);
  const processes = await machine.processes();
  expect(commandOf(processes.keeper)).toBe("capsa-keeper");
  expect(commandOf(processes.vmm)).toBe("capsa-vmm");
  for (const pid of Object.values(processes)) expect(alive(pid)).toBe(true);
  expect(readFileSync(`/proc/${processes.keeper}/environ`, "utf8")).toBe("");

  expect(await machine.request("stop")).not.toHaveProperty("error");
  expect(await machine.gone()).toEqual({ event: "exited", reason: "stopped" });
  for (const pid of Object.values(processes)) expect(alive(pid)).toBe(false);
});

test("a main process's output and end arrive, then the machine is down", async () => {
  const machine = await Machine.start(
    {},
    { main: { argv: ["/bin/sh", "-c", "echo out; echo err >&2; exit 3"] } },
  );
  expect(await machine.event("exited")).toEqual({ event: "exited", reason: "shutdown" });
  await machine.gone();
  const said = machine.guest();
  const text = (ev: string) =>
    Buffer.concat(said.filter((m) => m.ev === ev).map((m) => m.data as Uint8Array)).toString();
  expect(text("main-stdout")).toBe("out\n");
  expect(text("main-stderr")).toBe("err\n");
  expect(said.find((m) => m.ev === "main-exit")).toMatchObject({ exitCode: 3 });
});

test("what the guest printed before it ended is delivered whole, to a starter that reads late", async () => {
  const bytes = 8 << 20;
  const main = { argv: ["/bin/sh", "-c", `head -c ${bytes} /dev/zero`] };
  const machine = await Machine.start({}, { main });
  await machine.event("started");
  Bun.sleepSync(1500); // nothing is read meanwhile
  await machine.event("exited", 60_000);
  await machine.gone();
  const said = machine.guest();
  const got = said
    .filter((m) => m.ev === "main-stdout")
    .reduce((sum, m) => sum + (m.data as Uint8Array).length, 0);
  expect(got).toBe(bytes);
  expect(said.find((m) => m.ev === "main-exit")).toMatchObject({ exitCode: 0 });
});

test("the console goes to its log and to events, and takes input", async () => {
  const main = { argv: ["/bin/sh", "-c", "read line </dev/hvc0; echo got $line >/dev/hvc0; sleep 1000"] };
  const machine = await Machine.start({}, { main });
  await machine.ready();
  const text = () =>
    Buffer.concat(
      machine.events.filter((e) => e.event === "console").map((e) => e.data as Uint8Array),
    ).toString();
  const late = Date.now() + 10_000;
  while (!text().includes("got hello") && Date.now() < late) {
    const reply = await machine.request("console", { data: Buffer.from("hello\n") });
    expect(reply).not.toHaveProperty("error");
    await Bun.sleep(200);
  }
  expect(text()).toContain("got hello");
  expect(readFileSync(join(machine.runtimeDir, "console.log"), "utf8")).toContain("got hello");
  await machine.stop();
});

test("logs are archived", async () => {
  using archive = scratch();
  const machine = await Machine.start({ archive: archive.path }, { main: { argv: ["/bin/echo", "kept"] } });
  await machine.event("exited");
  await machine.gone();
  expect(readdirSync(archive.path).sort()).toEqual(["console.log", "events.log"]);
  expect(readFileSync(join(archive.path, "events.log")).includes("kept")).toBe(true);
});

test("events.log stays within its limit and begins with a whole frame", async () => {
  const main = {
    argv: [
      "/bin/sh",
      "-c",
      "i=0; while [ $i -lt 40 ]; do head -c 8192 /dev/zero; i=$((i+1)); done; sleep 1000",
    ],
  };
  const machine = await Machine.start({ logLimit: 131072 }, { main });
  const size = () =>
    machine
      .guest()
      .filter((m) => m.ev === "main-stdout")
      .reduce((sum, m) => sum + (m.data as Uint8Array).length, 0);
  const late = Date.now() + 20_000;
  while (size() < 40 * 8192 && Date.now() < late) await Bun.sleep(20);
  const log = readFileSync(join(machine.runtimeDir, "events.log"));
  expect(log.length).toBeLessThanOrEqual(131072);
  expect(log.length).toBeGreaterThan(1000);
  let at = 0;
  while (at < log.length) at += 4 + log.readUInt32BE(at);
  expect(at).toBe(log.length);
  await machine.stop();
});

test("a share is mounted, and read-only where it is said", async () => {
  using share = scratch();
  writeFileSync(join(share.path, "file"), "from the host\n");
  const root = (name: string, readOnly: boolean) => ({ name, path: share.path, readOnly });
  const machine = await Machine.start(
    { fs: [{ tag: "capsa", roots: [root("0", false), root("1", true)] }] },
    {
      fsTag: "capsa",
      mounts: [
        { name: "0", target: "/rw", readOnly: false },
        { name: "1", target: "/ro", readOnly: true },
      ],
      main: {
        argv: [
          "/bin/sh",
          "-c",
          "cat /ro/file; echo from the guest >/rw/answer; echo x >/ro/no || echo refused",
        ],
      },
    },
  );
  expect(await machine.event("exited")).toMatchObject({
    use: [
      { root: "0", used: true, written: true, entries: [new Uint8Array(Buffer.from("answer"))], more: false },
      { root: "1", used: true, written: false, entries: [], more: false }, // what the guest's own kernel refuses does not come so far
    ],
  });
  const said = machine.guest();
  const out = Buffer.concat(
    said.filter((m) => m.ev === "main-stdout").map((m) => m.data as Uint8Array),
  ).toString();
  expect(out).toBe("from the host\nrefused\n");
  expect(readFileSync(join(share.path, "answer"), "utf8")).toBe("from the guest\n");
  expect(existsSync(join(share.path, "no"))).toBe(false);
  await machine.gone();
});

test("the least memory that is said to do for a large initrd does", async () => {
  const { runtimeDir } = await makeConfig({});
  const initrd = join(runtimeDir, "initrd.cpio"); // with a plan
  appendFileSync(initrd, Buffer.alloc(16 << 20));
  const small = await Machine.start({ memory: MEMORY.least << 20, initrd });
  const { code, message } = await small.event("failed");
  expect(code).toBe("MEMORY_TOO_SMALL");
  await small.gone();
  const enough = Number(/give the machine (\d+) MiB or more/.exec(String(message))![1]);
  const machine = await Machine.start({ memory: enough << 20, initrd });
  await machine.ready();
  await machine.stop();
  rmSync(runtimeDir, { recursive: true });
});

test("two vCPUs run", async () => {
  const machine = await Machine.start(
    { cpus: 2 },
    { main: { argv: ["/bin/sh", "-c", "grep -c ^processor /proc/cpuinfo"] } },
  );
  await machine.event("exited");
  const out = machine.guest().find((m) => m.ev === "main-stdout")?.data as Uint8Array;
  expect(Buffer.from(out).toString()).toBe("2\n");
  await machine.gone();
});

test("time in the guest is the host's", async () => {
  const machine = await Machine.start(
    {},
    { main: { argv: ["/bin/sh", "-c", "date +%s; sleep 2; date +%s"] } },
  );
  await machine.event("exited");
  const out = machine.guest().filter((m) => m.ev === "main-stdout");
  const [begin, end] = Buffer.concat(out.map((m) => m.data as Uint8Array))
    .toString()
    .trim()
    .split("\n")
    .map(Number);
  expect(Math.abs(end! - Date.now() / 1000)).toBeLessThan(5);
  expect(end! - begin!).toBeGreaterThanOrEqual(2);
  expect(end! - begin!).toBeLessThanOrEqual(3);
  await machine.gone();
});

test("twenty at once", async () => {
  const machines = await Promise.all(Array.from({ length: 20 }, () => Machine.start({ memory: 96 << 20 })));
  await Promise.all(machines.map((machine) => machine.ready(90_000)));
  const answers = await Promise.all(machines.map((machine) => machine.agent({ id: 1, op: "ping" })));
  expect(answers.every((answer) => answer.ok)).toBe(true);
  await Promise.all(machines.map((machine) => machine.stop()));
}, 120_000);
