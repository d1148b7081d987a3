/** `capsa mcp` as a client of the protocol's own SDK sees it. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { list } from "../../src/index.ts";
import { MAIN, ownRuntimeDirectory, scratch } from "../unit/cli/capsa.ts";

const MAX_OUTPUT = 2048;
let dir: Awaited<ReturnType<typeof scratch>>;
let client: Client;
/** The sandbox that most of the tests use. */
let box: string;

/** A server as a client starts it; `process` is gone when `close` has resolved. */
async function serve(...args: string[]): Promise<{ client: Client; pid: number }> {
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [MAIN, "mcp", ...args],
    env: process.env as Record<string, string>,
    cwd: dir.path,
    stderr: "ignore",
  });
  const client = new Client({ name: "test", version: "1" });
  await client.connect(transport);
  return { client, pid: transport.pid! };
}

interface Answer {
  readonly isError?: boolean;
  readonly content: { text: string }[];
  readonly structuredContent?: Record<string, unknown>;
}

async function ask(name: string, args: Record<string, unknown>, of = client): Promise<Answer> {
  return (await of.callTool({ name, arguments: args })) as unknown as Answer;
}

/** What a tool gives. */
async function use(name: string, args: Record<string, unknown> = {}, of = client) {
  const answer = await ask(name, args, of);
  if (answer.isError) throw new Error(answer.content[0]!.text);
  expect(JSON.parse(answer.content[0]!.text)).toEqual(answer.structuredContent);
  return answer.structuredContent!;
}

/** Why it does not. */
async function refusal(name: string, args: Record<string, unknown> = {}): Promise<string> {
  const answer = await ask(name, args);
  expect(answer.isError).toBe(true);
  return answer.content[0]!.text;
}

beforeAll(async () => {
  dir = await scratch();
  mkdirSync(join(dir.path, "results"));
  mkdirSync(join(dir.path, "shared"));
  writeFileSync(join(dir.path, "shared/in"), "shown\n");
  writeFileSync(
    join(dir.path, "capsa.toml"),
    `[sandbox.small]
     memory = "128M"
     ttl = "1h"
     labels = { team = "x" }
     env = { GREETING = "hello" }
     [[sandbox.small.shares]]
     host = "./shared"
     guest = "/shared"
     [sandbox.large]
     memory = "256M"
     cpus = 2
     [mcp]
     maxSandboxes = 2
     execTimeout = "20s"
     maxOutput = "${MAX_OUTPUT / 1024}K"
     downloads = "./results"
     maxDownload = "64K"`,
  );
  ({ client } = await serve("--file", "capsa.toml"));
  box = (await use("create")).sandbox as string;
}, 120_000);
afterAll(async () => {
  await client?.close();
  await ended();
  await dir[Symbol.asyncDispose]();
});
ownRuntimeDirectory(); // it looks for what is left after the sandbox has ended

/** Until no sandbox of these tests, or this one, is left: a server that was closed may still be about it. */
async function ended(sandbox?: string): Promise<void> {
  while ((await list()).some(({ name }) => name === (sandbox ?? name))) await Bun.sleep(20);
}

test("the tools, with the limits in their descriptions", async () => {
  const { tools } = await client.listTools();
  const names = ["create", "exec", "read", "write", "list", "download", "stop", "sandboxes"];
  expect(tools.map(({ name }) => name)).toEqual(names);
  expect(JSON.stringify(tools)).toContain("as much as is allowed (256 MiB)");
  expect(JSON.stringify(tools)).not.toContain('"expected"');
  expect(client.getServerVersion()?.name).toBe("capsa");
  expect(client.getInstructions()).toContain("Throw-away");
});

test("what was created is told, without paths of this machine", async () => {
  const told = await ask("sandboxes", {});
  expect(told.structuredContent).toEqual({
    sandboxes: [
      expect.objectContaining({
        sandbox: box,
        kind: "small",
        labels: { team: "x" },
        memoryMb: 128,
        network: "none",
        shares: [{ path: "/shared", mode: "ro" }],
        endsAt: expect.any(String),
      }),
    ],
  });
  expect(told.content[0]!.text).not.toContain(dir.path);
});

describe("exec", () => {
  const exec = (command: unknown, more: object = {}) => use("exec", { sandbox: box, command, ...more });

  test("gives both outputs and the exit code", async () => {
    const text = await exec("echo $GREETING $X; pwd; cat; cat /shared/in; echo no >&2; exit 3", {
      cwd: "/tmp",
      env: { X: "there" },
      stdin: "in\n",
    });
    expect(text).toMatchObject({ exitCode: 3, stdout: "hello there\n/tmp\nin\nshown\n", stderr: "no\n" });
    expect(text.truncated).toBe(false);
    expect(await exec(["echo", "$X"])).toMatchObject({ stdout: "$X\n" });
    expect(await exec("kill -9 $$")).toMatchObject({ exitCode: null, signal: "SIGKILL" });
  });

  test("says plainly what does not fit", async () => {
    const { stdout, truncated } = await exec("echo first; seq 10000 | tr '\\n' ' '; echo; echo last");
    expect(truncated).toBe(true);
    expect(stdout).toMatch(/^first\n1 2 3 /);
    expect(stdout).toMatch(/\[… \d+ bytes are left out here: an answer holds 2048 …\]/);
    expect(stdout).toMatch(/10000 \nlast\n$/);
  });

  test("ends what takes too long", async () => {
    const answer = await exec("echo begun; sleep 1000", { timeoutSeconds: 2 });
    expect(answer).toMatchObject({ signal: "SIGKILL", stdout: "begun\n" });
    expect(answer.timedOut).toBe("it ran longer than 2 s and was killed");
  });

  test("is cancelled by the client, and the command with it", async () => {
    const cancel = new AbortController();
    const call = client.callTool(
      { name: "exec", arguments: { sandbox: box, command: "echo $$ >/tmp/pid; exec sleep 1000" } },
      undefined,
      { signal: cancel.signal },
    );
    const gone = call.then(
      () => "answered",
      () => "cancelled",
    );
    await exec("until [ -s /tmp/pid ]; do sleep 0.05; done");
    cancel.abort();
    expect(await gone).toBe("cancelled");
    expect(await exec("while [ -e /proc/$(cat /tmp/pid) ]; do sleep 0.05; done")).toMatchObject({
      exitCode: 0,
    });
  });
});

test("write, read and list", async () => {
  const at = (path: string) => ({ sandbox: box, path });
  expect(await use("write", { ...at("/w/a/run"), content: "ä€\n", mode: "0755" })).toEqual({
    path: "/w/a/run",
    bytesWritten: 6,
  });
  await use("write", { ...at("/w/a/run"), content: "more\n", append: true });
  expect(await use("read", at("/w/a/run"))).toEqual({
    content: "ä€\nmore\n",
    encoding: "text",
    truncated: false,
  });
  await use("write", { ...at("/w/a/bytes"), content: "/wA=", encoding: "base64" });
  expect(await use("read", { ...at("/w/a/bytes"), encoding: "base64" })).toMatchObject({ content: "/wA=" });
  const { entries } = await use("list", at("/w/a"));
  expect(entries).toMatchObject([
    { name: "bytes", type: "file", size: 2, mode: "0644" },
    { name: "run", type: "file", size: 11, mode: "0755" },
  ]);
});

test("a long file in pieces, cut between characters; a long list", async () => {
  await use("exec", {
    sandbox: box,
    command:
      "mkdir /many; cd /many; printf 'x'; seq 1000 | sed 's/.*/€/' | tr -d '\\n' >long; touch $(seq 100)",
  });
  let text = "";
  for (let offset = 0, more = true; more; ) {
    const piece = await use("read", { sandbox: box, path: "/many/long", offset });
    text += piece.content;
    more = piece.truncated as boolean;
    if (more) expect(piece.note).toBe(`the file goes on: read again with offset ${piece.nextOffset}`);
    offset = piece.nextOffset as number;
  }
  expect(text).toBe("€".repeat(1000));
  const { truncated, note } = await use("list", { sandbox: box, path: "/many" });
  expect([truncated, note]).toEqual([true, expect.stringMatching(/^these are \d+ of 101: /)]);
});

test("a directory that is larger than any answer is refused, with what to do", async () => {
  await use("exec", {
    sandbox: box,
    command: "mkdir /huge; cd /huge; name=$(printf '%0240d' 0); seq 4000 | sed s/^/$name/ | xargs touch",
  });
  const told = await refusal("list", { sandbox: box, path: "/huge" });
  expect(told).toContain("/huge has more entries than this tool looks at: 1048576 bytes of them");
  expect(told).toContain("exec with ls and a pattern");
});

test("what a guest has named comes as text that steers no terminal", async () => {
  await use("exec", { sandbox: box, command: "mkdir /odd; touch '/odd/\u009b1m\u202e'" });
  const { content, structuredContent } = await ask("list", { sandbox: box, path: "/odd" });
  expect(content[0]!.text).toContain('"name":"\\u009b1m\\u202e"');
  expect(JSON.parse(content[0]!.text)).toEqual(structuredContent);
  expect(await refusal("read", { sandbox: box, path: "/none\u202e" })).toContain("/none\\u202e");
});

test("download: under a new name, below the operator's directory, within the operator's size", async () => {
  const results = join(dir.path, "results");
  const take = { sandbox: box, path: "/d" };
  await use("exec", {
    sandbox: box,
    command: "mkdir /d; echo data >/d/f; ln -s /etc /d/l; head -c 70000 /dev/zero >/big",
  });
  expect(await use("download", { ...take, name: "tree" })).toMatchObject({
    name: "tree",
    entries: 3,
    bytes: 5,
  });
  expect(readFileSync(join(results, "tree/f"), "utf8")).toBe("data\n");
  expect(await refusal("download", { ...take, name: "tree" })).toContain("choose another name");
  for (const name of ["..", "tree/l/x", "/etc/x", ""]) {
    expect(await refusal("download", { ...take, name })).toContain("the operator has set the directory");
  }
  expect(await refusal("download", { ...take, path: "/big", name: "big" })).toContain(
    "of the 65536 bytes allowed",
  );
  expect(await refusal("download", { ...take, path: "/none", name: "none" })).toContain("No such file");
  expect(readdirSync(results)).toEqual(["tree"]);
});

describe("what a model may not have is refused with what it may", () => {
  const cases: [what: string, tool: string, args: () => Record<string, unknown>, why: string][] = [
    [
      "memory",
      "create",
      () => ({ memoryMb: 4096 }),
      "from 40 to 256 MiB, which is what this server's operator allows, not 4096",
    ],
    ["memory of a kind", "create", () => ({ memoryMb: 256 }), 'of kind "small" may have at most 128 MiB'],
    ["another kind", "create", () => ({ kind: "huge" }), '"small" or "large", not "huge"'],
    ["a network", "create", () => ({ network: "user" }), "create.network: unknown key"],
    [
      "time",
      "exec",
      () => ({ sandbox: box, command: "true", timeoutSeconds: 100 }),
      "up to 20, which is what",
    ],
    ["no command", "exec", () => ({ sandbox: box }), "exec.command: is missing"],
    ["a sandbox of another", "exec", () => ({ sandbox: "other", command: "true" }), `it has: ${"mcp-"}`],
    ["no program", "exec", () => ({ sandbox: box, command: ["/none"] }), "/none"],
    ["a relative path", "read", () => ({ sandbox: box, path: "a" }), "an absolute path"],
    ["no file", "read", () => ({ sandbox: box, path: "/none" }), "No such file"],
    ["no text", "read", () => ({ sandbox: box, path: "/bin/busybox" }), "is not UTF-8 text"],
    [
      "no base64",
      "write",
      () => ({ sandbox: box, path: "/x", content: "%", encoding: "base64" }),
      "is not base64",
    ],
    ["a share to write to", "write", () => ({ sandbox: box, path: "/shared/x", content: "" }), "Read-only"],
    ["no such tool", "excec", () => ({}), 'did you mean "exec"?'],
  ];
  for (const [what, tool, args, why] of cases) {
    test(what, async () => expect(await refusal(tool, args())).toContain(why));
  }
});

test("no more sandboxes than are allowed; one that has ended makes room, and is known as ended", async () => {
  const { sandbox: other, cpus } = await use("create", { kind: "large", memoryMb: 64, cpus: 1 });
  expect(cpus).toBe(1);
  expect(await refusal("create")).toContain("allows 2 sandboxes at a time");
  expect(await use("stop", { sandbox: other })).toEqual({ stopped: other });
  expect(await refusal("exec", { sandbox: other, command: "true" })).toContain("has ended: it was shut down");
  expect((await list()).map(({ name }) => name)).toEqual([box]);
});

/** A server without the SDK's client: what is written is sent as it is. */
async function raw() {
  const child = Bun.spawn([process.execPath, MAIN, "mcp", "--rootfs", "base", "--memory", "64M"], {
    cwd: dir.path,
    env: process.env,
    stdin: "pipe",
    stdout: "pipe",
    stderr: "ignore",
  });
  const chunks = child.stdout.getReader();
  let text = "";
  const read = async () => {
    while (!text.includes("\n")) {
      const { done, value } = await chunks.read();
      if (done) throw new Error("the server has ended");
      text += Buffer.from(value).toString();
    }
    const line = text.slice(0, text.indexOf("\n"));
    text = text.slice(line.length + 1);
    return JSON.parse(line);
  };
  const send = (id: number, method: string, params: object) => {
    child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id, method, params })}\n`);
    return child.stdin.flush();
  };
  const call = (id: number, name: string, args: object) => send(id, "tools/call", { name, arguments: args });
  const clientInfo = { name: "raw", version: "1" };
  await send(0, "initialize", { protocolVersion: "2025-11-25", capabilities: {}, clientInfo });
  await read();
  await call(1, "create", {});
  const { sandbox } = (await read()).result.structuredContent;
  return { child, chunks, read, call, sandbox: sandbox as string };
}

test("a message that is too long is refused; its sandbox, and the next message, are not touched", async () => {
  const { child, read, call, sandbox } = await raw();
  const at = { sandbox, path: "/tmp/a" };
  await call(2, "write", { ...at, content: "a".repeat(11 * 2 ** 20) });
  expect(await read()).toMatchObject({
    id: 2,
    error: { code: -32600, message: expect.stringMatching(/10 MiB.*append/) },
  });
  await call(3, "write", { ...at, content: "b".repeat(9 * 2 ** 20) });
  expect(await read()).toMatchObject({ id: 3, result: { structuredContent: { bytesWritten: 9 * 2 ** 20 } } });
  await call(4, "exec", [sandbox, "true"]);
  expect(await read()).toMatchObject({ id: 4, error: { code: -32602 } });
  // in the midst of a call, and without reading what is said of it
  await call(5, "exec", { sandbox, command: "sleep 1000" });
  await child.stdin.end();
  expect(await child.exited).toBe(0);
  await ended(sandbox);
});

test("a client that reads no more is taken for gone", async () => {
  const { child, chunks, call, sandbox } = await raw();
  await chunks.cancel();
  while (child.exitCode === null) {
    try {
      await call(2, "sandboxes", {});
    } catch {
      // it has ended, and nobody reads
    }
    await Bun.sleep(20);
  }
  expect(child.exitCode).toBe(0);
  await ended(sandbox);
});

describe("every sandbox ends with the server", () => {
  for (const [how, end] of [
    ["stdin closed", ({ client }) => client.close()],
    ["Ctrl-C", ({ pid }) => process.kill(pid, "SIGINT")],
    ["kill -9", ({ pid }) => process.kill(pid, "SIGKILL")],
  ] as [string, (server: Awaited<ReturnType<typeof serve>>) => unknown][]) {
    test(how, async () => {
      const server = await serve("--rootfs", "base", "--memory", "64M");
      const { sandbox } = await use("create", {}, server.client);
      expect((await list()).map(({ name }) => name)).toContain(sandbox as string);
      expect((await server.client.listTools()).tools.map(({ name }) => name)).not.toContain("download");
      await end(server);
      await ended(sandbox as string);
      await server.client.close();
    });
  }
});
