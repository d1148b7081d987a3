/** The recorded frames of guest/vectors against the agent and init: what is read is accepted, what is written is the same. */

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { lutimes, mkdir, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Agent, build, type Connection, type Frame, root } from "./agent.ts";

interface Vector {
  readonly name: string;
  readonly hex: string;
  readonly value: Frame;
}

const read = async (file: string): Promise<Vector[]> => Bun.file(join(root, "guest/vectors", file)).json();
const requests = await read("requests.json");
const responses = await read("responses.json");

let agent: Agent;
let host: Connection;

beforeAll(async () => {
  build();
  agent = await Agent.start();
}, 300_000);
afterAll(async () => {
  await agent.stop();
  rmSync("/tmp/capsa-vectors", { recursive: true, force: true });
});
beforeEach(async () => {
  host = await agent.connect();
});
afterEach(() => host.close());

test.each([
  ["init: events and plans", "guest-vectors"],
  ["the history of an output", "guest-history"],
  ["what readings of the host's clock say", "guest-reckon"],
])("%s", (_what, program) => {
  const run = Bun.spawnSync([join(root, "build/check", program)], {
    cwd: root,
    stdout: "pipe",
    stderr: "pipe",
  });
  if (run.exitCode !== 0) throw new Error(`${run.stdout}${run.stderr}`);
  expect(run.stdout.toString()).toMatch(/^1\.\.[1-9]/m);
});

describe("requests are understood:", () => {
  for (const { name, hex, value } of requests) {
    if (value.op === "shutdown") continue;
    test(name, async () => {
      const bytes = Buffer.from(hex, "hex");
      if (value.ev || value.credit) {
        // a frame to an open call: the call must be there, and know it
        const op = /^write_\w+/.exec(name)?.[0] ?? "exec";
        const about =
          op === "exec"
            ? { argv: ["cat"], stdin: true }
            : { path: join(agent.directory, `vector-${value.id}`) };
        host.send({ id: value.id, op, ...about });
        host.socket.write(bytes);
        if (value.data)
          expect(await host.find((f) => f.credit)).toMatchObject({ credit: value.data.$bytes.length / 2 });
        else if (value.ev === "kill") expect(await host.response(value.id)).toMatchObject({ signal: 15 });
        else if (value.ev === "abort") expect(await host.response(value.id)).toMatchObject({ ok: false });
        else if (value.ev?.endsWith("end")) expect(await host.response(value.id)).toMatchObject({ ok: true });
        else expect(await host.response(host.request("ping", {}))).toMatchObject({ ok: true });
        return;
      }
      host.socket.write(bytes);
      if (value.op === "write_file" || value.stdin) {
        host.send({ id: value.id, ev: value.stdin ? "stdin-end" : "end" });
      }
      if (value.op === "write_tree") host.send({ id: value.id, ev: "abort" }); // no tree has come: an end would be too early
      if (value.op === "listen" || value.op === "watch") host.send({ id: value.id, ev: "abort" });
      const response = await host.response(value.id);
      // a file that is not there or a user that may not is an answer, but the request was understood
      if (response.error) expect(response.error.code).not.toMatch(/EPROTO|ENOSYS/);
      else expect(response.ok).toBe(true);
    });
  }

  test("shutdown", async () => {
    const other = await Agent.start();
    const connection = await other.connect();
    const vector = requests.find(({ value }) => value.op === "shutdown");
    connection.socket.write(Buffer.from(vector?.hex ?? "", "hex"));
    expect(await connection.response(vector?.value.id)).toMatchObject({ ok: true });
    expect(await other.process.exited).toBe(0);
    await other.stop();
  });
});

async function treeRead(send: (message: Frame) => void) {
  const path = join(agent.directory, "tree");
  await symlink("file", path).catch(() => {});
  await lutimes(path, 1_500_000_000, 1_500_000_000);
  send({ id: 30, op: "read_tree", path });
}

async function treeListed(send: (message: Frame) => void) {
  const path = join(agent.directory, "listed");
  await mkdir(join(path, "a"), { recursive: true });
  send({ id: 32, op: "list_tree", path });
}

async function watched(send: (message: Frame) => void) {
  const path = join(agent.directory, "watched");
  await rm(path, { recursive: true, force: true });
  await mkdir(path);
  send({ id: 33, op: "watch", path });
  await host.find((f) => f.id === 33 && f.ev === "watching");
  // what happens in one turn of the agent's is told in one frame
  agent.process.kill("SIGSTOP");
  await symlink("nowhere", join(path, "a"));
  await rename(join(path, "a"), join(path, "b"));
  await rm(join(path, "b"));
  await mkdir(join(path, "d"));
  agent.process.kill("SIGCONT");
}

/** What makes the agent send each recorded frame; its number and text must lead to the same bytes. */
const causes: Record<string, (send: (message: Frame) => void) => void | Promise<void>> = {
  "hello response": (send) => send({ id: 1, op: "hello", version: 1 }),
  "ping response": (send) => send({ id: 2, op: "ping", data: Uint8Array.from([0, 1, 254, 255]) }),
  "ping response without data": (send) => send({ id: 3, op: "ping" }),
  "exec stdout": (send) => send({ id: 4, op: "exec", argv: ["echo", "hi"] }),
  "exec stderr": (send) => send({ id: 4, op: "exec", argv: ["sh", "-c", "printf '\\377\\000\\200' >&2"] }),
  "exec response, exit code": (send) => send({ id: 4, op: "exec", argv: ["true"] }),
  "exec response, signal": (send) => send({ id: 5, op: "exec", argv: ["sleep", "60"], timeoutMs: 10 }),
  "exec stdin credit": (send) => {
    send({ id: 5, op: "exec", argv: ["cat"], stdin: true });
    send({ id: 5, ev: "stdin", data: new Uint8Array(Buffer.from("input\n")) });
  },
  "exec error": (send) => send({ id: 4294967296, op: "exec", argv: ["true"], cwd: "/nope" }),
  "attach error": (send) => send({ id: 16, op: "attach", process: 4711 }),
  "detach response": (send) => {
    send({ id: 15, op: "exec", argv: ["true"], detach: true });
    send({ id: 16, op: "attach", process: 1 });
    send({ id: 16, ev: "detach" });
  },
  "connect error": (send) => send({ id: 18, op: "connect", port: 1 }),
  "accept error": (send) => send({ id: 21, op: "accept", listener: 4711 }),
  "file data": async (send) => {
    await writeFile(join(agent.directory, "capsa"), "capsa\n");
    send({ id: 6, op: "read_file", path: join(agent.directory, "capsa") });
  },
  "read_file response": async (send) => {
    await writeFile(join(agent.directory, "capsa"), "capsa\n");
    send({ id: 6, op: "read_file", path: join(agent.directory, "capsa") });
  },
  "write_file response": (send) => {
    send({ id: 8, op: "write_file", path: join(agent.directory, "written") });
    send({ id: 8, ev: "data", data: new Uint8Array(4) });
    send({ id: 8, ev: "end" });
  },
  "exists response": (send) => send({ id: 9, op: "exists", path: "/etc/passwd" }),
  "list_dir response": (send) => send({ id: 10, op: "list_dir", path: "/proc/self/fd" }),
  "mkdir error": (send) => send({ id: 22, op: "mkdir", path: "/etc" }),
  "read_link response": async (send) => {
    await symlink("d", join(agent.directory, "link"));
    send({ id: 27, op: "read_link", path: join(agent.directory, "link") });
  },
  "list_tree entries": treeListed,
  "list_tree response": treeListed,
  watching: watched,
  "watch entries": watched,
  "watch response": async (send) => {
    await watched(send);
    await rm(join(agent.directory, "watched"), { recursive: true });
  },
  "read_tree data": treeRead,
  "read_tree response": treeRead,
  "shutdown response": (send) => send({ id: 12, op: "shutdown" }),
  "protocol error": () => {
    host.socket.write(Buffer.from("ffffffff", "hex"));
  },
};

describe("responses and events are written as recorded:", () => {
  for (const { name, hex } of responses.filter(({ name }) => name in causes)) {
    test(name, async () => {
      const own = name === "shutdown response" ? await Agent.start() : undefined;
      if (own) host = await own.connect();
      const received: Buffer[] = [];
      host.socket.on("data", (bytes) => received.push(Buffer.from(bytes)));
      const arrived = () => Buffer.concat(received).toString("hex");
      await causes[name]?.((message) => host.send(message));
      for (let i = 0; i < 500 && !arrived().includes(hex); i++) await Bun.sleep(10);
      expect(arrived()).toContain(hex);
      await own?.stop();
    });
  }

  /** Frames whose values are this machine's: the same keys in the same order, of the same types. */
  const shape = (value: unknown): unknown => {
    if (Array.isArray(value)) return shape(value[0]);
    if (typeof value !== "object" || value === null)
      return typeof value === "bigint" ? "number" : typeof value;
    return Object.entries(value).map(([key, member]) => [key, shape(member)]);
  };
  const recorded = (name: string) => shape(responses.find((vector) => vector.name === name)?.value);

  test("exec started", async () => {
    const id = host.request("exec", { argv: ["true"] });
    expect(shape(await host.find((f) => f.id === id && f.ev === "started"))).toEqual(
      recorded("exec started"),
    );
  });

  test("exec response, in the background; attach started; processes response", async () => {
    const ended = await host.response(host.request("exec", { argv: ["true"], detach: true }));
    expect(shape(ended)).toEqual(recorded("exec response, in the background"));
    await host.drain(host.request("attach", { process: ended.process }));
    const running = await host.response(host.request("exec", { argv: ["cat"], detach: true, stdin: true }));
    const id = host.request("attach", { process: running.process });
    expect(shape(await host.find((f) => f.id === id && f.ev === "started"))).toEqual(
      recorded("attach started"),
    );
    const { processes, ...rest } = await host.response(host.request("processes"));
    const { processes: recordings, ...wanted } = responses.find(
      (it) => it.name === "processes response",
    )!.value;
    expect(shape(rest)).toEqual(shape(wanted));
    const known = (number: number) => processes.find((one: Frame) => one.process === number);
    expect(shape(known(ended.process))).toEqual(shape(recordings[0]));
    expect(shape(known(running.process))).toEqual(shape(recordings[1]));
    host.send({ id, ev: "stdin-end" });
    await host.drain(id);
  });

  test("info response", async () => {
    expect(shape(await host.response(host.request("info")))).toEqual(recorded("info response"));
  });

  test("stat response", async () => {
    expect(shape(await host.response(host.request("stat", { path: "/etc/passwd" })))).toEqual(
      recorded("stat response"),
    );
  });

  test("list_dir entries", async () => {
    const id = host.request("list_dir", { path: "/etc" });
    expect(shape(await host.find((f) => f.id === id && f.entries))).toEqual(recorded("list_dir entries"));
  });
});
