/** The client against an honest agent: each call's frames, its result, its flow of credit. */

import { describe, expect, test } from "bun:test";
import type { Message } from "../../../src/agent/framing.ts";
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
    await expect(agent.exec("true", mixed)).rejects.toThrow('option "cwd" and "GREETING"');
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
      message: "exec nonesuch: no such [31m program",
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
    expect(largest).toBeGreaterThan(window / 2);
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
    expect(await child.exited).toEqual({ exitCode: null, signal: "SIGTERM", timedOut: false, ok: false });
    expect(() => child.kill("SIGNONSENSE")).toThrow("no signal is called");
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
