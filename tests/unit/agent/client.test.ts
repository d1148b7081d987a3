/** The client against an honest agent: each call's frames, its result, its flow of credit. */

import { describe, expect, jest, test } from "bun:test";
import type { Message } from "../../../src/wire/framing.ts";
import { FakeAgent, type Peer } from "./fake.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** An exec that prints, then ends with `code`. */
function printing(stdout: string, stderr: string, code: number) {
  return (message: Message, peer: Peer) => {
    if (message.op !== "exec") return;
    const { id } = message;
    peer.send({ id, ev: "started", pid: 7 });
    peer.send({ id, ev: "stdout", data: bytes(stdout) });
    peer.send({ id, ev: "stderr", data: bytes(stderr) });
    peer.send({ id, ok: true, exitCode: code, timedOut: false });
  };
}

describe("exec", () => {
  test("a string is run by the shell, an environment is passed, output and code come back", async () => {
    await using fake = new FakeAgent(printing("out\n", "err\n", 3));
    await using agent = await fake.connect();
    const result = await agent.exec("echo $A", { A: "1" });
    expect((await agent.exec("again")).exitCode).toBe(3);
    expect(result).toMatchObject({ stdout: "out\n", stderr: "err\n", exitCode: 3, signal: null, ok: false });
    expect(fake.received[0]).toEqual({
      id: 2,
      op: "exec",
      argv: ["/bin/sh", "-c", "echo $A"],
      env: { A: "1" },
      window: 1_048_576,
    });
  });

  test("an array is run as it is, with options", async () => {
    await using fake = new FakeAgent(printing("", "", 0));
    await using agent = await fake.connect();
    const result = await agent.exec(["ls", "-l"], { cwd: "/tmp", user: 1000, timeoutMs: 5000 });
    expect(result.ok).toBe(true);
    expect(fake.received[0]).toEqual({
      id: 2,
      op: "exec",
      argv: ["ls", "-l"],
      cwd: "/tmp",
      user: 1000,
      timeoutMs: 5000,
      window: 1_048_576,
    });
  });

  test("options and environment variables in one object are refused", async () => {
    await using fake = new FakeAgent(printing("", "", 0));
    await using agent = await fake.connect();
    const mixed = { cwd: "/tmp", GREETING: "hello" } as never;
    await expect(agent.exec("true", mixed)).rejects.toThrow('option "cwd" with "GREETING"');
  });

  test("binary output survives to the byte", async () => {
    const all = Uint8Array.from({ length: 256 }, (_, index) => index);
    await using fake = new FakeAgent((message, peer) => {
      if (message.op !== "exec") return;
      peer.send({ id: message.id, ev: "started", pid: 7 });
      peer.send({ id: message.id, ev: "stdout", data: all });
      peer.send({ id: message.id, ok: true, signal: 9, timedOut: true });
    });
    await using agent = await fake.connect();
    const result = await agent.exec(["cat"]);
    expect(result.stdoutBytes).toEqual(all);
    expect(result).toMatchObject({ exitCode: null, signal: "SIGKILL", timedOut: true, ok: false });
  });

  test("collected output is bounded, and the program killed", async () => {
    await using fake = new FakeAgent(printing("x".repeat(2000), "", 0));
    await using agent = await fake.connect();
    await expect(agent.exec("yes", { maxOutput: 1000 })).rejects.toMatchObject({
      code: "OUTPUT_TOO_LARGE",
      op: "exec",
    });
  });

  test("a program that cannot be started is an error with its code", async () => {
    await using fake = new FakeAgent((message, peer) =>
      peer.send({
        id: message.id,
        ok: false,
        error: { code: "ENOENT", message: "no such\u001b[31m program" },
      }),
    );
    await using agent = await fake.connect();
    await expect(agent.exec(["nonesuch"])).rejects.toMatchObject({
      name: "AgentError",
      code: "ENOENT",
      path: "nonesuch",
      message: "exec nonesuch: no such\\x1b[31m program",
    });
  });

  test("standard input of any kind is sent within the window and ended", async () => {
    const big = new Uint8Array(3_000_000).map((_, index) => index * 7);
    let window = 0;
    let unacknowledged = 0;
    let largest = 0;
    const got: Uint8Array[] = [];
    await using fake = new FakeAgent((message, peer) => {
      const { id } = message;
      if (message.op === "exec") {
        window = message.window as number;
        peer.send({ id, ev: "started", pid: 7 });
      }
      if (message.ev === "stdin") {
        const data = message.data as Uint8Array;
        got.push(data.slice());
        unacknowledged += data.length;
        largest = Math.max(largest, unacknowledged);
        setTimeout(() => {
          unacknowledged -= data.length;
          peer.send({ id, credit: data.length });
        }, 1);
      }
      if (message.ev === "stdin-end") peer.send({ id, ok: true, exitCode: 0, timedOut: false });
    });
    await using agent = await fake.connect();
    async function* source() {
      yield "head";
      yield big;
    }
    await agent.exec(["cat"], { stdin: source() });
    expect(Buffer.concat(got).equals(Buffer.concat([bytes("head"), big]))).toBe(true);
    expect(window).toBe(1_048_576);
    expect(largest).toBeLessThanOrEqual(window);
    expect(largest).toBeGreaterThanOrEqual(window / 2);
  });

  test("an abort kills the program and rejects with the signal's reason", async () => {
    const killed = Promise.withResolvers<Message>();
    await using fake = new FakeAgent((message, peer) => {
      if (message.op === "exec") peer.send({ id: message.id, ev: "started", pid: 7 });
      if (message.ev === "kill") killed.resolve(message);
    });
    await using agent = await fake.connect();
    const reason = new Error("enough");
    const running = agent.exec(["sleep", "9"], { signal: abortSoon(reason) });
    await expect(running).rejects.toBe(reason);
    expect(await killed.promise).toEqual({ id: 2, ev: "kill", signal: 9 });
  });
});

describe("an agent that falls silent", () => {
  /** Says that the program runs, where it says that much; `asked` settles with the request. */
  function falling(speaks: boolean) {
    const asked = Promise.withResolvers<void>();
    const fake = new FakeAgent(({ op, id }, peer) => {
      if (op === "exec" && speaks) peer.send({ id, ev: "started", pid: 7 });
      if (op === "exec") asked.resolve();
      if (op === "ping") peer.send({ id, ok: true });
    });
    return { fake, asked: asked.promise };
  }
  const silent = { code: "ETIMEDOUT", message: "exec sleep: the agent did not answer in time" };

  test.each([
    ["before the program runs", false, 30_000],
    ["after the program's time is over", true, 30_000 + 60_000],
  ])("%s is given up, and not a moment before", async (_, speaks, limit) => {
    jest.useFakeTimers();
    try {
      const { fake, asked } = falling(speaks);
      await using _fake = fake;
      await using agent = await fake.connect();
      let ended: unknown;
      const running = agent.exec(["sleep"], { timeoutMs: 60_000 }).catch((error) => {
        ended = error;
      });
      await asked;
      await agent.ping(); // what the agent said before has arrived
      jest.advanceTimersByTime(limit - 1);
      await agent.ping();
      expect(ended).toBeUndefined();
      jest.advanceTimersByTime(1);
      await running;
      expect(ended).toMatchObject(silent);
    } finally {
      jest.useRealTimers();
    }
  });

  test("is waited for where the limit is the longest that a timer takes", async () => {
    const { fake, asked } = falling(true);
    await using _fake = fake;
    await using agent = await fake.connect();
    const running = agent.exec(["sleep"], { timeoutMs: 2 ** 31 - 1 });
    let ended = false;
    running.catch(() => {
      ended = true;
    });
    await asked;
    for (let turn = 0; turn < 20; turn++) await agent.ping();
    expect(ended).toBe(false);
  });
});

describe("spawn", () => {
  test("credit is returned only for what the reader took", async () => {
    const credits: number[] = [];
    await using fake = new FakeAgent((message, peer) => {
      if (message.op === "exec") {
        peer.send({ id: message.id, ev: "started", pid: 7 });
        for (let i = 0; i < 4; i++) peer.send({ id: message.id, ev: "stdout", data: new Uint8Array(65_536) });
      }
      if (typeof message.credit === "number") credits.push(message.credit);
    });
    await using agent = await fake.connect();
    const child = await agent.spawn(["yes"], { window: 262_144 });
    expect(child.pid).toBe(7);
    await Bun.sleep(50);
    expect(credits).toEqual([]);
    const reader = child.stdout.getReader();
    await reader.read();
    await reader.read();
    await Bun.sleep(50);
    expect(credits).toEqual([65_536, 65_536]);
  });

  test("stdin is written, signals are sent by name", async () => {
    await using fake = new FakeAgent((message, peer) => {
      const { id } = message;
      if (message.op === "exec") peer.send({ id, ev: "started", pid: 7 });
      if (message.ev === "stdin") peer.send({ id, ev: "stdout", data: message.data });
      if (message.ev === "kill") peer.send({ id, ok: true, signal: message.signal, timedOut: false });
    });
    await using agent = await fake.connect();
    const child = await agent.spawn(["cat"], { stdin: "pipe" });
    await child.stdin!.getWriter().write(bytes("ping"));
    const { value } = await child.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toBe("ping");
    child.kill("SIGTERM");
    expect(await child.exited).toEqual({
      exitCode: null,
      signal: "SIGTERM",
      timedOut: false,
      oomKilled: false,
      ok: false,
    });
    expect(() => child.kill("SIG40")).not.toThrow();
    expect(() => child.kill("SIGNONSENSE")).toThrow("no signal is called");
  });
});

/** A guest in which every exec, and process 5, runs until it is killed or its stdin ends. */
function running(message: Message, peer: Peer) {
  const { id } = message;
  if (message.op === "exec" && message.detach) peer.send({ id, ok: true, process: 5, pid: 7 });
  else if (message.op === "exec") peer.send({ id, ev: "started", pid: 7 });
  if (message.op === "attach") peer.send({ id, ev: "started", pid: 7, stdin: true, pty: true });
  if (message.ev === "detach") peer.send({ id, ok: true });
  if (message.ev === "stdin") peer.send({ id, ev: "stdout", data: message.data });
  if (message.ev === "stdin-end") peer.send({ id, ok: true, exitCode: 0, timedOut: false });
  if (message.ev === "kill") {
    peer.send({ id, ok: true, signal: message.signal, timedOut: false, oomKilled: true });
  }
}

describe("terminals and limits", () => {
  test("a terminal of a size, a user by name and limits are asked for, and resized", async () => {
    await using fake = new FakeAgent(running);
    await using agent = await fake.connect();
    const child = await agent.spawn(["sh"], {
      pty: { columns: 120, rows: 40 },
      user: "nobody:nogroup",
      limits: { memoryMb: 64, cpus: 0.5, pids: 9 },
    });
    child.resize(80, 24);
    child.kill();
    expect(await child.wait()).toMatchObject({ signal: "SIGKILL", oomKilled: true, ok: false });
    expect(child.stdin).not.toBeNull();
    expect(fake.received).toEqual([
      {
        id: 2,
        op: "exec",
        argv: ["sh"],
        user: "nobody:nogroup",
        stdin: true,
        limits: { memory: 64 * 1024 ** 2, cpuMilli: 500, pids: 9 },
        pty: { columns: 120, rows: 40 },
        window: 1_048_576,
      },
      { id: 2, ev: "resize", columns: 80, rows: 24 },
      { id: 2, ev: "kill", signal: 9 },
    ]);
  });

  test("one without a size has 80 by 24, and input of its own is fed", async () => {
    await using fake = new FakeAgent(running);
    await using agent = await fake.connect();
    const child = await agent.spawn(["sh"], { pty: true, stdin: "keys" });
    expect(await new Response(child.stdout).text()).toBe("keys");
    expect(child.stdin).toBeNull();
    expect(fake.received[0]).toMatchObject({ pty: { columns: 80, rows: 24 } });
  });

  test.each<[options: object, why: string]>([
    [{ pty: { columns: 0, rows: 0 } }, "columns should be a whole number from 1 to 65535, not 0"],
    [{ pty: { columns: 80, rows: 65_536 } }, "rows should be"],
    [{ limits: { memory: 5 } }, '"memory" is not a limit; the limits are memoryMb, cpus and pids'],
    [{ limits: { memoryMb: 0 } }, "limits.memoryMb should be"],
    [{ limits: { cpus: Number.NaN } }, "limits.cpus should be a number above 0"],
    [{ limits: { pids: "3" } }, "limits.pids should be"],
    [{ user: "a\0b" }, "user contains a NUL"],
    [{ user: -1 }, "user should be"],
    [{ detach: true, stdin: "text" }, "stdin of a detached process"],
  ])("%j is refused", async (options, why) => {
    await using fake = new FakeAgent(running);
    await using agent = await fake.connect();
    await expect(agent.spawn(["x"], options as never)).rejects.toThrow(why);
    expect(fake.received).toEqual([]);
  });
});

describe("lines", () => {
  const linesOf = async (...chunks: (string | Uint8Array)[]) => {
    await using fake = new FakeAgent((message, peer) => {
      if (message.op !== "exec") return;
      peer.send({ id: message.id, ev: "started", pid: 7 });
      for (const chunk of chunks) {
        peer.send({ id: message.id, ev: "stdout", data: typeof chunk === "string" ? bytes(chunk) : chunk });
      }
      peer.send({ id: message.id, ok: true, exitCode: 0, timedOut: false });
    });
    await using agent = await fake.connect();
    const child = await agent.spawn(["x"], { window: 4_194_304 });
    return await Array.fromAsync(child.stdout.lines());
  };

  test("are cut wherever the chunks are, without their ends", async () => {
    expect(await linesOf("a\nb", "c\n\n", "d\r", "\ne")).toEqual(["a", "bc", "", "d", "e"]);
    expect(await linesOf()).toEqual([]);
    const [one, other] = [bytes("ä").subarray(0, 1), bytes("ä").subarray(1)];
    expect(await linesOf(one, other, "\n")).toEqual(["ä"]);
  });

  test("one without an end comes in pieces", async () => {
    const long = "x".repeat(1 << 20);
    const pieces = await linesOf(...Array.from({ length: 40 }, () => long.slice(0, 65_536)), "y\n");
    expect(pieces.join("")).toBe(`${long}${long}${long.slice(0, 524_288)}y`);
    expect(Math.max(...pieces.map(({ length }) => length))).toBe(1 << 20);
  });

  test("in small pieces is looked through once", async () => {
    const { split } = String.prototype;
    let looked = 0;
    const counting = function (this: string, ...given: unknown[]) {
      looked += this.length;
      return Reflect.apply(split, this, given);
    };
    String.prototype.split = counting as typeof split;
    try {
      expect(await linesOf(...Array.from({ length: 1000 }, () => "x"))).toEqual(["x".repeat(1000)]);
    } finally {
      String.prototype.split = split;
    }
    expect(looked).toBeLessThan(100_000); // and not 500,000 of them
  });

  test("leaving the loop cancels the stream", async () => {
    await using fake = new FakeAgent(running);
    await using agent = await fake.connect();
    const child = await agent.spawn(["cat"], { stdin: "pipe" });
    const writer = child.stdin!.getWriter();
    await writer.write(bytes("one\ntwo\n"));
    for await (const line of child.stdout.lines()) {
      expect(line).toBe("one");
      break;
    }
    await writer.write(bytes("three\n"));
    await writer.close();
    expect((await child.exited).ok).toBe(true);
  });
});

describe("processes in the background", () => {
  test("are detached, attached to, written to, and let go again", async () => {
    await using fake = new FakeAgent(running);
    await using agent = await fake.connect();
    expect(await agent.spawn("server", { detach: true, stdin: "pipe" })).toEqual({ id: 5, pid: 7 });
    const child = await agent.attachProcess(5, { replay: 100 });
    expect(child).toMatchObject({ id: 5, pid: 7, terminal: true });
    const writer = child.stdin!.getWriter();
    await writer.write(bytes("hello\n"));
    const reader = child.stdout.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("hello\n");
    const end = reader.read();
    child.detach();
    expect((await end).done).toBe(true);
    await expect(child.exited).rejects.toMatchObject({ code: "ECANCELED", op: "attach" });
    await agent.ping({ timeoutMs: 50 }).catch(() => {});
    expect(fake.received.slice(0, 4)).toEqual([
      { id: 2, op: "exec", argv: ["/bin/sh", "-c", "server"], stdin: true, detach: true },
      { id: 3, op: "attach", process: 5, replay: 100, window: 1_048_576 },
      { id: 3, ev: "stdin", data: Buffer.from("hello\n") },
      { id: 3, ev: "detach" },
    ]);
  });

  test("are not killed by disposing or by an abort, but by kill", async () => {
    await using fake = new FakeAgent(running);
    await using agent = await fake.connect();
    {
      await using child = await agent.attachProcess(5);
      expect(child.pid).toBe(7);
    }
    const reason = new Error("enough");
    const aborted = await agent.attachProcess(5, { signal: abortSoon(reason) });
    await expect(aborted.exited).rejects.toBe(reason);
    const killed = await agent.attachProcess(5);
    killed.kill("SIGTERM");
    expect(await killed.wait()).toMatchObject({ signal: "SIGTERM" });
    const events = fake.received.map(({ ev }) => ev).filter((ev) => ev !== undefined);
    expect(events).toEqual(["detach", "detach", "kill"]);
  });

  test("are listed with how they ended", async () => {
    const one = { process: 1, pid: 7, argv: ["a", new Uint8Array([0xff])], startedMs: 1000, running: true };
    await using fake = new FakeAgent((message, peer) => {
      const two = { ...one, process: 2, argv: [], running: false, exitCode: 3, timedOut: false };
      peer.send({ id: message.id, ok: true, processes: [one, two] });
    });
    await using agent = await fake.connect();
    expect(await agent.processes()).toEqual([
      { id: 1, pid: 7, argv: ["a", "\ufffd"], started: new Date(1000), status: null },
      {
        id: 2,
        pid: 7,
        argv: [],
        started: new Date(1000),
        status: { exitCode: 3, signal: null, timedOut: false, oomKilled: false, ok: false },
      },
    ]);
  });

  test("one that is not known is an error with its number", async () => {
    await using fake = new FakeAgent((message, peer) => {
      peer.send({ id: message.id, ok: false, error: { code: "ESRCH", message: "no process 9" } });
    });
    await using agent = await fake.connect();
    await expect(agent.attachProcess(9)).rejects.toMatchObject({
      code: "ESRCH",
      op: "attach",
      message: "attach 9: no process 9",
    });
    await expect(agent.attachProcess(0)).rejects.toThrow("must be at least 1, not 0");
  });
});

describe("files", () => {
  test("a file is read with offset and length past 32 bits as whole numbers", async () => {
    await using fake = new FakeAgent((message, peer) => {
      peer.send({ id: message.id, ev: "data", data: bytes("abc") });
      peer.send({ id: message.id, ok: true, size: 3 });
    });
    await using agent = await fake.connect();
    expect(await agent.readTextFile("/big", { offset: 5_000_000_000, length: 3 })).toBe("abc");
    expect(fake.received[0]).toEqual({
      id: 2,
      op: "read_file",
      path: "/big",
      offset: 5_000_000_000n,
      length: 3,
      window: 4_194_304,
    });
  });

  test("a cancelled stream ends the call in the guest", async () => {
    const aborted = Promise.withResolvers<void>();
    await using fake = new FakeAgent((message, peer) => {
      if (message.op === "read_file") peer.send({ id: message.id, ev: "data", data: bytes("abc") });
      if (message.ev === "abort") aborted.resolve();
    });
    await using agent = await fake.connect();
    const reader = agent.readFileStream("/endless").getReader();
    await reader.read();
    await reader.cancel();
    await aborted.promise;
  });

  test("a file is written in pieces, mode and parents are passed", async () => {
    let size = 0;
    await using fake = new FakeAgent((message, peer) => {
      const { id } = message;
      if (message.ev === "data") {
        size += (message.data as Uint8Array).length;
        peer.send({ id, credit: (message.data as Uint8Array).length });
      }
      if (message.ev === "end") peer.send({ id, ok: true, size });
    });
    await using agent = await fake.connect();
    const written = await agent.writeFile("/a/b", new Blob(["x".repeat(300_000)]), {
      mode: 0o755,
      parents: true,
    });
    expect(written).toBe(300_000);
    expect(fake.received[0]).toEqual({
      id: 2,
      op: "write_file",
      path: "/a/b",
      mode: 0o755,
      parents: true,
      window: 4_194_304,
    });
  });

  test("a source that fails aborts the write and is the error", async () => {
    const aborted = Promise.withResolvers<void>();
    await using fake = new FakeAgent((message) => {
      if (message.ev === "abort") aborted.resolve();
    });
    await using agent = await fake.connect();
    async function* source() {
      yield "some";
      throw new Error("the source broke");
    }
    await expect(agent.writeFile("/a", source())).rejects.toThrow("the source broke");
    await aborted.promise;
  });

  test("a refused write does not wait for its source", async () => {
    await using fake = new FakeAgent((message, peer) => {
      if (message.op === "write_file")
        peer.send({ id: message.id, ok: false, error: { code: "EROFS", message: "Read-only file system" } });
    });
    await using agent = await fake.connect();
    const never = new ReadableStream<Uint8Array>({ pull: () => new Promise(() => {}) });
    await expect(agent.writeFile("/project/x", never)).rejects.toMatchObject({
      code: "EROFS",
      path: "/project/x",
    });
  });

  test("a directory is listed, names that are not UTF-8 keep their bytes", async () => {
    const entry = { type: "file", size: 5, mode: 0o644, mtimeMs: 1000.5 };
    const odd = new Uint8Array([0x61, 0xff]);
    await using fake = new FakeAgent((message, peer) => {
      if (message.op !== "list_dir") return;
      peer.send({
        id: message.id,
        ev: "entries",
        entries: [
          { ...entry, name: "a" },
          { ...entry, name: odd },
        ],
      });
      peer.send({ id: message.id, ok: true });
    });
    await using agent = await fake.connect();
    const [first, second] = await agent.listDir("/");
    expect(first).toEqual({ name: "a", type: "file", size: 5, mode: 0o644, mtime: new Date(1000) });
    expect(second!.name).toBe("a\ufffd");
    expect([...second!.nameBytes!]).toEqual([0x61, 0xff]);
  });
});

test("exists, info, ping and shutdown", async () => {
  const info = {
    kernel: "6.12",
    hostname: "box",
    arch: "x86_64",
    cpus: 2,
    memoryTotal: 2n ** 33n,
    memoryFree: 5,
    uptimeMs: 9,
  };
  await using fake = new FakeAgent((message, peer) => {
    const answers: Record<string, object> = { exists: { exists: true }, info, ping: {}, shutdown: {} };
    peer.send({ id: message.id, ok: true, ...answers[message.op as string] });
  });
  await using agent = await fake.connect();
  expect(agent.version).toBe("fake/1");
  expect(await agent.exists("/x")).toBe(true);
  expect(await agent.info()).toEqual({ ...info, memoryTotal: 2 ** 33 });
  expect(await agent.ping()).toBeGreaterThan(0);
  await agent.shutdown({ graceMs: 100 });
  expect(fake.received.at(-1)).toEqual({ id: 5, op: "shutdown", graceMs: 100 });
});

test("calls on a closed agent are refused", async () => {
  await using fake = new FakeAgent(() => {});
  const agent = await fake.connect();
  await agent.close();
  await expect(agent.ping()).rejects.toMatchObject({ code: "GUEST_LOST" });
  expect(() => agent.readFileStream("relative")).toThrow("should be absolute");
});

function abortSoon(reason: Error): AbortSignal {
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), 20);
  return controller.signal;
}
