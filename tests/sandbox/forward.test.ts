/** Streams between a sandbox without a network and this machine: what they carry, where they lead, how they end. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import {
  type Agent,
  type AgentProcess,
  Capsa,
  type CapsaError,
  type RunningSandbox,
  sandbox,
} from "../../src/index.ts";
import { capsa, ownRuntimeDirectory, scratch, start } from "../unit/cli/capsa.ts";

/** Sends back what it gets, to its end: on 127.0.0.1:8000, [::1]:8001 and a Unix socket. */
const ECHO = `
import socket, socketserver, threading
class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(1 << 18):
            self.request.sendall(data)
class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 128
class Server6(Server):
    address_family = socket.AF_INET6
class Local(Server):
    address_family = socket.AF_UNIX
for server in Server(("127.0.0.1", 8000), Echo), Server6(("::1", 8001), Echo), Local("/tmp/echo.sock", Echo):
    threading.Thread(target=server.serve_forever).start()
print("ready", flush=True)
`;

/** Never reads. */
const DEAF = `
import socket, time
server = socket.create_server(("127.0.0.1", 8002))
print("ready", flush=True)
client, _ = server.accept()
time.sleep(1000)
`;

const name = `forward-${process.pid.toString(36)}`;
const home = ownRuntimeDirectory();
let vm: RunningSandbox;
let agent: Agent;

beforeAll(async () => {
  vm = await Capsa.sandbox().name(name).memoryMb(512).rootfs("host").run("/bin/sleep", ["infinity"]).build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  await python(ECHO);
}, 120_000);
afterAll(() => vm[Symbol.asyncDispose]());

/** Runs until the sandbox ends; resolves once it says so. */
async function python(script: string): Promise<AgentProcess> {
  const child = await agent.spawn(["python3", "-c", script]);
  for await (const line of child.stdout.lines()) {
    expect(line).toBe("ready");
    return child;
  }
  throw new Error(await new Response(child.stderr).text());
}

async function all(socket: Socket): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of socket) parts.push(part);
  return Buffer.concat(parts);
}

/** Less where every instruction is emulated. */
const shrink = Number(process.env.CAPSA_TEST_SHRINK ?? 1);
const sha1 = (bytes: Buffer) => createHash("sha1").update(bytes).digest("hex");
const block = Buffer.from(
  Uint8Array.from({ length: (4 << 20) / shrink }, (_, i) => (i * 7 + (i >> 8)) & 255),
);

/** Send it, end, and read what comes after that. */
async function echoed(where: { port: number } | { path: string }, bytes: Buffer): Promise<Buffer> {
  const socket = connect({ host: "127.0.0.1", allowHalfOpen: true, ...where });
  socket.end(bytes);
  return all(socket);
}

async function listening(serve: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true }, serve);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return { server, port: (server.address() as { port: number }).port };
}

/** What a program of the guest gets that asks there. */
const get = (port: number, host = "127.0.0.1") =>
  agent.exec([
    "python3",
    "-c",
    `import socket; s = socket.create_connection(("${host}", ${port})); s.sendall(b"ask"); s.shutdown(1); print(s.makefile().read())`,
  ]);

describe("forward", () => {
  test("carries both ways at once, half closed, without a network device", async () => {
    await using opening = await vm.forward(8000);
    expect(opening.address).toBe(`127.0.0.1:${opening.port}`);
    expect(opening.url).toBe(`http://${opening.address}`);
    expect(sha1(await echoed(opening, block))).toBe(sha1(block));
    expect((await agent.exec("ls /sys/class/net")).stdout).toBe("lo\n");
  });

  test("leads to ::1 and to Unix sockets, and from a Unix socket of this user's alone", async () => {
    await using six = await vm.forward(8001);
    expect((await echoed(six, Buffer.from("six"))).toString()).toBe("six");
    await using dir = await scratch();
    const path = join(dir.path, "echo.sock");
    await using local = await vm.forward("/tmp/echo.sock", { path });
    expect(local).toMatchObject({ address: path, port: 0, url: `unix:${path}` });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await echoed({ path }, Buffer.from("local"))).toString()).toBe("local");
    await local.close();
    expect(await Bun.file(path).exists()).toBe(false);
  });

  test("carries many at once, each its own", async () => {
    await using opening = await vm.forward(8000);
    const messages = Array.from({ length: Math.ceil(150 / shrink) }, (_, i) => Buffer.alloc(20_000, `${i} `));
    const answers = await Promise.all(messages.map((message) => echoed(opening, message)));
    expect(answers.map(sha1)).toEqual(messages.map(sha1));
  });

  test("a server that does not read holds up who writes to it, and nobody else", async () => {
    await using _deaf = await python(DEAF);
    await using opening = await vm.forward(8002);
    const socket = connect({ host: "127.0.0.1", port: opening.port });
    socket.on("error", () => {});
    let taken = 0;
    while (taken < 256 << 20) {
      // what is in nobody's buffer comes back when there is room; who waits for it meanwhile is served
      if (!socket.write(block)) {
        const drained = new Promise<true>((done) => socket.once("drain", () => done(true)));
        await using other = await vm.forward(8000);
        const turn = echoed(other, block).then(() => false);
        if (!(await Promise.race([drained, turn]))) break;
      }
      taken += block.length;
    }
    expect(taken).toBeLessThan(64 << 20);
    socket.destroy();
  });

  test("a connection that nobody takes is reset, and told", async () => {
    const told: CapsaError[] = [];
    await using opening = await vm.forward(9, { onFailure: (error) => told.push(error) });
    const socket = connect({ host: "127.0.0.1", port: opening.port });
    expect(await all(socket).catch((error) => error.code)).toBe("ECONNRESET");
    expect(told).toMatchObject([
      { name: "AgentError", code: "ECONNREFUSED", message: "port 9: Connection refused" },
    ]);
  });

  test("what is no place, or is taken, is one clear error", async () => {
    const { server, port } = await listening(() => {});
    await expect(vm.forward(8000, { port })).rejects.toMatchObject({
      code: "PORT_IN_USE",
      message: `port ${port} of 127.0.0.1 cannot be listened on: it is taken`,
    });
    server.close();
    for (const wrong of [0, 65_536, 1.5, "relative"])
      await expect(vm.forward(wrong)).rejects.toMatchObject({ code: "SPEC_INVALID" });
    for (const wrong of [{ host: "localhost" }, { port: -1 }, { path: "x", port: 1 }])
      await expect(vm.forward(80, wrong)).rejects.toMatchObject({ code: "SPEC_INVALID" });
  });

  test("closing it, or its signal, ends what goes through it, and frees the port", async () => {
    for (const how of ["close", "signal"]) {
      const abort = new AbortController();
      const opening = await vm.forward(8000, { signal: abort.signal });
      const socket = connect({ host: "127.0.0.1", port: opening.port });
      socket.write("word");
      await new Promise((done) => socket.once("data", done));
      const ended = new Promise((done) => socket.once("close", done));
      if (how === "close") await opening.close();
      else abort.abort();
      await Promise.all([ended, opening.closed]);
      await using again = await vm.forward(8000, { port: opening.port });
      expect(again.port).toBe(opening.port);
    }
  });
});

describe("expose", () => {
  test("leads to one service of this machine, from both loopback addresses, and to nothing else", async () => {
    const { server, port } = await listening((socket) => {
      let asked = "";
      socket.on("data", (data) => {
        asked += data;
      });
      socket.on("end", () => socket.end(`${asked} and answer`));
    });
    const other = await listening(() => {});
    await using opening = await vm.expose(port, { guestPort: 7000 });
    expect(opening.guestPort).toBe(7000);
    for (const host of ["127.0.0.1", "::1"]) expect((await get(7000, host)).stdout).toBe("ask and answer\n");
    expect((await get(other.port)).stderr).toContain("Connection refused");
    await opening.close();
    expect((await get(7000)).stderr).toContain("Connection refused");
    server.close();
    other.server.close();
  });

  test("leads to a Unix socket, by any port that is free; much and many", async () => {
    await using dir = await scratch();
    const path = join(dir.path, "service.sock");
    const server = createServer({ allowHalfOpen: true }, (socket) => void socket.pipe(socket));
    await new Promise<void>((done) => server.listen(path, done));
    await using opening = await vm.expose(path);
    const { stdout, stderr } = await agent.exec([
      "python3",
      "-c",
      `
import socket, threading
data = bytes(range(256)) * ${4096 / shrink}
def run():
    s = socket.create_connection(("localhost", ${opening.guestPort}))
    def send():
        s.sendall(data)
        s.shutdown(1)
    threading.Thread(target=send).start()
    print(s.makefile("rb").read() == data)
threads = [threading.Thread(target=run) for _ in range(16)]
for t in threads: t.start()
for t in threads: t.join()
`,
    ]);
    expect({ stdout, stderr }).toEqual({ stdout: "True\n".repeat(16), stderr: "" });
    server.close();
  });

  test("a service that is not there is an end for the guest, and told here", async () => {
    const { server, port } = await listening(() => {});
    await new Promise((done) => server.close(done));
    const { promise: told, resolve } = Promise.withResolvers<CapsaError>();
    await using opening = await vm.expose(port, { guestPort: 0, onFailure: resolve });
    await get(opening.guestPort);
    expect(await told).toMatchObject({ name: "HostError", code: "ECONNREFUSED" });
  });

  test("a port that the guest has in use is an error", async () => {
    await expect(vm.expose(1, { guestPort: 8000 })).rejects.toMatchObject({
      name: "AgentError",
      code: "EADDRINUSE",
    });
  });
});

describe("the command line", () => {
  async function firstLine(child: { stdout: ReadableStream<Uint8Array> }): Promise<string> {
    let text = "";
    for await (const part of child.stdout) {
      text += new TextDecoder().decode(part);
      if (text.includes("\n")) break;
    }
    return text.trim();
  }

  test("forward prints the URL and stays until Ctrl-C; expose likewise", async () => {
    const { server, port } = await listening((socket) => socket.end("hello"));
    const out = start(home, ["forward", name, "8000"]);
    const into = start(home, ["expose", name, `${port}:7001`]);
    const url = new URL(await firstLine(out));
    expect((await echoed({ port: Number(url.port) }, Buffer.from("word"))).toString()).toBe("word");
    expect(await firstLine(into)).toBe("127.0.0.1:7001");
    expect((await get(7001)).stdout).toBe("hello\n");
    for (const child of [out, into]) child.kill("SIGINT");
    expect(await Promise.all([out.exited, into.exited])).toEqual([130, 130]);
    server.close();
  });

  test("what is no port is a usage error", async () => {
    const wrong = [
      ["forward", name, "x"],
      ["forward", name, "8000:8080:1"],
      ["forward", name, "70000"],
      ["forward", name, "80", "--host", "localhost"],
      ["expose", name, "5432:x"],
    ];
    const ends = await Promise.all(wrong.map((args) => capsa(args)));
    expect(ends.map(({ exitCode }) => exitCode)).toEqual(wrong.map(() => 2));
  });
});

test("the sandbox's end is theirs", async () => {
  const openings = [await vm.forward(8000), await vm.expose(1, { guestPort: 0 })];
  const child = start(home, ["forward", name, "8000", "--json"]);
  const reader = child.stdout.getReader();
  await reader.read();
  await vm.kill();
  await Promise.all(openings.map(({ closed }) => closed));
  expect(await child.exited).toBe(0);
  expect(await child.stderr.text()).toContain(`${name} has ended`);
});
