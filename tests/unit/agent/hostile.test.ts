/** The client against agents that answer late, twice, out of order, wrongly, or with what is no protocol at all. */

import { describe, expect, test } from "bun:test";
import type { Agent } from "../../../src/agent/api.ts";
import { connectAgent } from "../../../src/agent/client.ts";
import type { AgentError } from "../../../src/errors/errors.ts";
import { encodeFrame } from "../../../src/wire/framing.ts";
import { FakeAgent, greeting, type Peer } from "./fake.ts";

const LOST = { name: "GuestLostError", code: "GUEST_LOST" };

/** An agent that answers whatever comes with `bytes`. */
function babbling(bytes: Uint8Array) {
  return new FakeAgent((_, peer) => peer.raw(bytes));
}

function hex(text: string): Uint8Array {
  return Buffer.from(text.replaceAll(" ", ""), "hex");
}

describe("frames that are none lose the guest, with the reason", () => {
  const cases: [what: string, bytes: Uint8Array, why: string][] = [
    ["4 GiB announced", hex("ffffffff"), "announced a frame of 4294967295 bytes"],
    ["just over the limit", hex("00100001"), "announced a frame of 1048577 bytes"],
    ["an empty frame", hex("00000000"), "announced a frame of 0 bytes"],
    ["text instead of frames", new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n"), "announced a frame"],
    ["no map", hex("00000001 01"), "not a CBOR map"],
    ["a map cut short", hex("00000003 a1 6261"), "cut short"],
    ["bytes behind the map", hex("00000002 a0 00"), "bytes follow"],
    ["deep nesting", hex("00000011 a1 6161 818181818181818181818181 80 00"), "nested too deep"],
    ["an indefinite length", hex("00000005 a1 6161 9fff"), "indefinite length"],
    ["a list of 4 billion items", hex("00000008 a1 6161 9affffffff"), "more items than it has"],
    ["a string of 2^63 bytes", hex("0000000c a1 6161 5b8000000000000000"), "cut short"],
    ["a tag", hex("00000005 a1 6161 c001"), "CBOR tag"],
    ["a key that is a number", hex("00000003 a1 01 01"), "key that is not text"],
    ["no id", hex("00000004 a1 6161 01"), '"id" should be'],
    ["an id that is text", hex("00000006 a1 626964 6161"), '"id" should be'],
  ];
  for (const [what, bytes, why] of cases) {
    test(what, async () => {
      await using fake = babbling(bytes);
      await using agent = await fake.connect();
      const call = agent.ping();
      await expect(call).rejects.toMatchObject(LOST);
      await expect(call).rejects.toThrow(why);
      await call.catch(() => {});
    });
  }
});

test("garbage of every length is survived, and is the error of every pending call alike", async () => {
  for (let seed = 1; seed <= 50; seed++) {
    let state = seed;
    const garbage = Uint8Array.from({ length: 7 * seed }, () => {
      state = (state * 1103515245 + 12345) % 2147483648;
      return state >> 16;
    });
    await using fake = new FakeAgent((message, peer) => {
      if (message.op === "info") peer.raw(garbage);
      if (message.op === "info") peer.hangUp();
    });
    await using agent = await fake.connect();
    const errors = await Promise.all(
      [agent.ping(), agent.exec("x"), agent.readFile("/x"), agent.writeFile("/x", "y"), agent.info()].map(
        (call) =>
          call.then(
            () => undefined,
            (error) => error,
          ),
      ),
    );
    expect(errors[0]).toMatchObject(LOST);
    for (const error of errors) expect(error).toBe(errors[0]);
  }
});

test("a frame in single bytes is one frame", async () => {
  await using fake = new FakeAgent(async (_, peer) => {
    for (const byte of hex("00000009 a2 626964 02 626f6b f5")) {
      peer.raw(new Uint8Array([byte]));
      await Bun.sleep(1);
    }
  });
  await using agent = await fake.connect();
  expect(await agent.ping()).toBeGreaterThan(0);
});

test("an answer that comes twice, or to what was never asked, changes nothing", async () => {
  await using fake = new FakeAgent((message, peer) => {
    peer.send({ id: 4711, ok: true });
    peer.send({ id: 4712, ev: "stdout", data: new Uint8Array(9) });
    for (let i = 0; i < 3; i++) peer.send({ id: message.id, ok: true, exists: true });
  });
  await using agent = await fake.connect();
  expect(await agent.exists("/a")).toBe(true);
  expect(await agent.exists("/b")).toBe(true);
});

test("answers out of order reach their own calls", async () => {
  const held: [unknown, Peer][] = [];
  await using fake = new FakeAgent((message, peer) => {
    held.push([message.id, peer]);
    if (held.length < 3) return;
    for (const [id, to] of held.toReversed()) to.send({ id, ok: true, exists: id === 3 });
  });
  await using agent = await fake.connect();
  const answers = await Promise.all(["/a", "/b", "/c"].map((path) => agent.exists(path)));
  expect(answers).toEqual([false, true, false]);
});

test("an agent that never answers is given up; its late answer is dropped", async () => {
  await using fake = new FakeAgent((message, peer) => {
    setTimeout(
      () => peer.send({ id: message.id, ok: true, exists: true }),
      message.path === "/late" ? 80 : 0,
    );
  });
  await using agent = await fake.connect();
  await expect(agent.exists("/late", { timeoutMs: 30 })).rejects.toMatchObject({
    code: "ETIMEDOUT",
    op: "exists",
  });
  await Bun.sleep(100);
  expect(await agent.exists("/now")).toBe(true);
});

test("an agent that does not greet, or in another version, is not connected to", async () => {
  await using silent = new FakeAgent(
    () => {},
    () => {},
  );
  await expect(connectAgent(silent.path, { timeoutMs: 30 })).rejects.toMatchObject({
    code: "ETIMEDOUT",
    op: "hello",
  });
  await using other = new FakeAgent(
    () => {},
    (message, peer) => peer.send({ id: message.id, ok: true, version: 2, agent: "x" }),
  );
  await expect(other.connect()).rejects.toThrow("version 2 of the protocol");
  await using rude = new FakeAgent(
    () => {},
    (_, peer) => peer.hangUp(),
  );
  await expect(rude.connect()).rejects.toMatchObject(LOST);
});

test("no more than the window is taken from an agent that ignores it", async () => {
  await using fake = new FakeAgent((message, peer) => {
    if (message.op !== "exec") return;
    peer.send({ id: message.id, ev: "started", pid: 7 });
    for (let i = 0; i < 5; i++) peer.send({ id: message.id, ev: "stdout", data: new Uint8Array(65_536) });
  });
  await using agent = await fake.connect();
  const child = await agent.spawn(["yes"], { window: 262_144 });
  await expect(child.exited).rejects.toThrow("sent more than its window");
  await child.exited.catch(() => {});
});

describe("fields of the wrong shape lose the guest", () => {
  const exec = (message: object) => ({ id: 2, ...message });
  const cases: [what: string, frames: object[], why: string][] = [
    ["output that is text", [{ id: 2, ev: "stdout", data: "text" }], '"data" should be a byte string'],
    ["an unknown event", [{ id: 2, ev: "stdouch" }], '"ev" should be one of'],
    ["an exit code of 300", [exec({ ok: true, exitCode: 300, timedOut: false })], '"exitCode" should be'],
    ["an exit code of 1.5", [exec({ ok: true, exitCode: 1.5, timedOut: false })], '"exitCode" should be'],
    [
      "exit code and signal",
      [exec({ ok: true, exitCode: 0, signal: 9, timedOut: false })],
      "neither or both",
    ],
    ["neither", [exec({ ok: true, timedOut: false })], "neither or both"],
    ["an oomKilled of 1", [exec({ ok: true, exitCode: 0, timedOut: false, oomKilled: 1 })], '"oomKilled"'],
    [
      "a start without a pid",
      [{ id: 2, ev: "started", pid: -1 }, exec({ ok: true })],
      '"timedOut" should be',
    ],
    ["no timedOut", [exec({ ok: true, exitCode: 0 })], '"timedOut" should be'],
    ["credit for what was not sent", [{ id: 2, credit: 1 }], "credited more than was sent"],
    ["an error without a code", [exec({ ok: false, error: { message: "x" } })], '"code" should be'],
    [
      "an error code with escapes",
      [exec({ ok: false, error: { code: "\u001b[2J", message: "x" } })],
      '"code"',
    ],
    ["an error that is none", [exec({ ok: false, error: 5 })], "an error is not a map"],
  ];
  for (const [what, frames, why] of cases) {
    test(what, async () => {
      await using fake = new FakeAgent((message, peer) => {
        if (message.op !== "exec") return;
        peer.send({ id: message.id, ev: "started", pid: 7 });
        for (const frame of frames) peer.send(frame);
      });
      await using agent = await fake.connect();
      const call = agent.exec(["x"]);
      await expect(call).rejects.toThrow(why);
      await call.catch((error) => expect(error).toMatchObject(LOST));
    });
  }
});

describe("processes that cannot be lose the guest", () => {
  const good = { process: 1, pid: 7, argv: ["a"], startedMs: 0, running: true };
  const cases: [what: string, processes: unknown][] = [
    ["no list", { ...good }],
    ["numbers", [1]],
    ["no number", [{ ...good, process: undefined }]],
    ["a pid past all pids", [{ ...good, pid: 2 ** 40 }]],
    ["an argument that is a number", [{ ...good, argv: [1] }]],
    ["a start past all calendars", [{ ...good, startedMs: 1e300 }]],
    ["neither running nor ended", [{ ...good, running: false }]],
    ["ended twice", [{ ...good, running: false, exitCode: 1, signal: 9, timedOut: false }]],
  ];
  test.each(cases)("%s", async (_what, processes) => {
    await using fake = new FakeAgent((message, peer) => peer.send({ id: message.id, ok: true, processes }));
    await using agent = await fake.connect();
    await expect(agent.processes()).rejects.toMatchObject(LOST);
  });

  const starts: [what: string, answers: object[]][] = [
    ["no word of stdin", [{ id: 2, ev: "started", pid: 7, pty: false }]],
    ["no word of a terminal", [{ id: 2, ev: "started", pid: 7, stdin: false }]],
    ["an end without a start", [{ id: 2, ok: true, exitCode: 0, timedOut: false }]],
    ["a start that is no event", [{ id: 2, ev: "begun", pid: 7 }]],
    ["more than the window", [{ id: 2, ev: "stdout", data: new Uint8Array(5000) }]],
  ];
  test.each(starts)("attaching: %s", async (_what, answers) => {
    await using fake = new FakeAgent((_, peer) => {
      for (const answer of answers) peer.send(answer);
    });
    await using agent = await fake.connect();
    await expect(agent.attachProcess(1, { window: 4096 })).rejects.toMatchObject(LOST);
  });

  test("a detached start without a number", async () => {
    await using fake = new FakeAgent((message, peer) => peer.send({ id: message.id, ok: true, pid: 7 }));
    await using agent = await fake.connect();
    await expect(agent.spawn("x", { detach: true })).rejects.toMatchObject(LOST);
  });
});

test("a process that goes on after it was let go floods nobody", async () => {
  const { promise: flooded, resolve } = Promise.withResolvers<void>();
  await using fake = new FakeAgent((message, peer) => {
    if (message.op === "attach")
      peer.send({ id: message.id, ev: "started", pid: 7, stdin: false, pty: false });
    if (message.op === "ping") peer.send({ id: message.id, ok: true });
    if (message.ev !== "detach") return;
    for (let i = 0; i < 100; i++) peer.send({ id: message.id, ev: "stdout", data: new Uint8Array(40) });
    peer.send({ id: message.id, ok: true });
    resolve();
  });
  await using agent = await fake.connect();
  const child = await agent.attachProcess(1, { window: 4096 });
  child.detach();
  await flooded;
  expect(await agent.ping()).toBeGreaterThan(0);
  expect(await new Response(child.stdout).text()).toBe("");
});

describe("a directory entry that would reach elsewhere is refused", () => {
  const good = { name: "a", type: "file", size: 1, mode: 0o644, mtimeMs: 0 };
  const cases: [what: string, entry: object][] = [
    ["a slash", { ...good, name: "../../etc/passwd" }],
    ["the parent", { ...good, name: ".." }],
    ["a NUL", { ...good, name: "a\0b" }],
    ["an empty name", { ...good, name: "" }],
    ["a slash in bytes", { ...good, name: new Uint8Array([0x2f, 0xff]) }],
    ["256 bytes", { ...good, name: "x".repeat(256) }],
    ["an unknown type", { ...good, type: "door" }],
    ["a negative size", { ...good, size: -1 }],
    ["a time past all calendars", { ...good, mtimeMs: 1e300 }],
  ];
  for (const [what, entry] of cases) {
    test(what, async () => {
      await using fake = new FakeAgent((message, peer) =>
        peer.send({ id: message.id, ev: "entries", entries: [entry] }),
      );
      await using agent = await fake.connect();
      await expect(agent.listDir("/")).rejects.toMatchObject(LOST);
      await agent.listDir("/").catch(() => {});
    });
  }
});

describe("a list that does not end is given up", () => {
  /** Lists for ever; what it sends again and again is `entries`. */
  const endless = (entries: object[]) => {
    const frame = (id: unknown) => encodeFrame({ id, ev: "entries", entries });
    let wants = false;
    return new FakeAgent((message, peer) => {
      if (message.ev === "abort") wants = false;
      if (String(message.op).startsWith("list_")) {
        wants = true;
        peer.raw(frame(message.id));
      } else if (wants) peer.raw(frame(message.id)); // what was sent has been credited
    });
  };
  // a frame of these is more than a quarter of the window, and so is credited at once
  const entry = { name: "x".repeat(200), type: "file", size: 1, mode: 0o644, mtimeMs: 0 };
  const entries = Array.from({ length: 400 }, () => entry);
  const found = entries.map(({ name, ...status }) => ({ path: name, ...status }));
  const paths = Array.from({ length: 10_000 }, (_, index) => ({ path: `${index}`, type: "file" }));
  const cases: [
    what: string,
    told: object[],
    call: (agent: Agent, options: { maxBytes?: number }) => Promise<unknown>,
  ][] = [
    ["listDir /d", entries, (agent, options) => agent.listDir("/d", options)],
    ["listDir /d", found, (agent, options) => agent.listDir("/d", { recursive: true, ...options })],
    ["glob /d/", paths, (agent, options) => agent.glob("*", { cwd: "/d", ...options })],
  ];
  for (const [what, told, call] of cases) {
    for (const [limit, options] of [
      [16 << 20, {}],
      [300_000, { maxBytes: 300_000 }],
    ] as const) {
      test(`${what}, past ${limit} bytes`, async () => {
        await using fake = endless(told);
        await using agent = await fake.connect();
        const error = await call(agent, options).catch((reason) => reason);
        const { code, message, hint } = error as AgentError;
        expect([code, message]).toEqual([
          "OUTPUT_TOO_LARGE",
          `${what}: the list is longer than ${limit} bytes`,
        ]);
        expect(hint).toContain("maxBytes");
        const sent = fake.received.filter(({ credit }) => credit !== undefined);
        const credited = sent.reduce((sum, { credit }) => sum + Number(credit), 0);
        expect(credited).toBeLessThan(2 * limit + (1 << 20));
      });
    }
  }
});

describe("a change of what is elsewhere, or of no known kind, is refused", () => {
  const cases: [what: string, change: object][] = [
    ["the parent", { change: "create", path: "../x" }],
    ["an absolute path", { change: "create", path: "/etc/passwd" }],
    ["a rename to elsewhere", { change: "rename", path: "a", to: "b/../../c" }],
    ["a rename to nowhere", { change: "rename", path: "a" }],
    ["the parent, in bytes", { change: "modify", path: new Uint8Array([0x2e, 0x2e, 0x2f, 0xff]) }],
    ["a NUL", { change: "modify", path: "a\0b" }],
    ["no path", { change: "delete" }],
    ["an unknown kind", { change: "explode", path: "a" }],
  ];
  for (const [what, change] of cases) {
    test(what, async () => {
      await using fake = new FakeAgent((message, peer) =>
        peer.send({ id: message.id, ev: "entries", entries: [change] }),
      );
      await using agent = await fake.connect();
      await expect(agent.watch("/here").next()).rejects.toMatchObject(LOST);
    });
  }
});

test("changes that nobody takes are held to the window, and credited as they are taken", async () => {
  const entries = Array.from({ length: 100 }, (_, i) => ({
    change: "create",
    path: `${"x".repeat(900)}${i}`,
  }));
  await using fake = new FakeAgent((message, peer) => {
    if (message.op !== "watch") return;
    for (let i = 0; i < 2; i++) peer.send({ id: message.id, ev: "entries", entries });
  });
  await using agent = await fake.connect();
  const watcher = agent.watch("/here/");
  const credits = () => fake.received.filter((message) => message.credit !== undefined);
  for (let i = 0; i < 99; i++) await watcher.next();
  expect(credits()).toEqual([]);
  expect(await watcher.next()).toMatchObject({ value: { path: `/here/${"x".repeat(900)}99` } });
  while (credits().length === 0) await Bun.sleep(1);
  expect(credits()[0]!.credit).toBeGreaterThan(90_000);

  await using rude = new FakeAgent((message, peer) => {
    for (let i = 0; i < 3; i++) peer.send({ id: message.id, ev: "entries", entries });
  });
  await using other = await rude.connect();
  await expect(other.watch("/here").ready).rejects.toThrow("sent more than its window");
});

test("more of a file than was asked for is refused", async () => {
  await using fake = new FakeAgent((message, peer) => {
    peer.send({ id: message.id, ev: "data", data: new Uint8Array(11) });
  });
  await using agent = await fake.connect();
  await expect(agent.readFile("/x", { length: 10 })).rejects.toThrow("more of a file than was asked for");
});

test("a refused frame tells why the connection ends", async () => {
  await using fake = new FakeAgent((_, peer) =>
    peer.send({ id: 0, ok: false, error: { code: "EPROTO", message: "a frame without an id" } }),
  );
  await using agent = await fake.connect();
  await expect(agent.ping()).rejects.toThrow("it refused a frame: a frame without an id");
});

test("a guest that dies mid-call rejects all calls at once, and frees the caller", async () => {
  await using fake = new FakeAgent((message, peer) => {
    if (message.op === "ping") peer.hangUp();
  }, greeting);
  await using agent = await fake.connect();
  const calls = [agent.exec("sleep 9"), agent.readFile("/x"), agent.writeFile("/y", "z"), agent.ping()];
  const settled = await Promise.allSettled(calls);
  for (const result of settled) expect(result).toMatchObject({ status: "rejected", reason: LOST });
});
