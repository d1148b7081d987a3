/** The life of sandboxes: main process, start and end in every way, other processes, and what stays behind: nothing. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  attach,
  BootError,
  Capsa,
  ended,
  list,
  NetworkMode,
  type Notice,
  readLog,
  sandbox,
} from "../../src/index.ts";

const top = mkdtempSync(join(tmpdir(), "capsa-life-"));
const runtime = join(top, "run");
const before = {
  CAPSA_RUNTIME_DIR: process.env.CAPSA_RUNTIME_DIR,
  XDG_STATE_HOME: process.env.XDG_STATE_HOME,
};

beforeAll(() => {
  mkdirSync(runtime, { mode: 0o700 });
  process.env.CAPSA_RUNTIME_DIR = runtime;
  process.env.XDG_STATE_HOME = join(top, "state");
});

afterAll(async () => {
  for (const { id } of await list()) await (await attach(id)).kill(); // what a failed test left
  for (const [name, value] of Object.entries(before)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  rmSync(top, { recursive: true });
});

const small = () => Capsa.sandbox().memoryMb(128);
const sleeping = () => small().run("/bin/sleep", ["100000"]);

const sandboxWithoutAllowance = () => sleeping().network(NetworkMode.UserNat({ allow: [] }));

/** Names in the runtime directory that are sandboxes'. */
const left = () => readdirSync(runtime).filter((name) => !name.startsWith("."));

/** Processes that have `text` in their command line: a VMM's has not, QEMU's has its runtime directory. */
function processesWith(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(text);
      } catch {
        return false;
      }
    })
    .map(Number);
}

/** The tree of processes below `pid`, itself included. */
function tree(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").trim();
    return [pid, ...(children === "" ? [] : children.split(" ").flatMap((child) => tree(Number(child))))];
  } catch {
    return [];
  }
}

const alive = (pid: number) =>
  tree(pid).length > 0 && !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));

async function gone(pids: readonly number[], withinMs: number): Promise<number[]> {
  const deadline = performance.now() + withinMs;
  let rest = [...pids];
  while (rest.length > 0 && performance.now() < deadline) {
    await Bun.sleep(20);
    rest = rest.filter((pid) => {
      try {
        return alive(pid);
      } catch {
        return false;
      }
    });
  }
  return rest;
}

test("its events, in order, to whoever reads early, late or elsewhere", async () => {
  const vm = await sandboxWithoutAllowance().build();
  const early = Array.fromAsync(vm.events());
  const elsewhere = await attach(vm.id);
  const followed = Array.fromAsync(elsewhere.events());
  const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  const hungry = await agent.exec(["tail", "/dev/zero"], { limits: { memoryMb: 8 } });
  expect(hungry.oomKilled).toBe(true);
  await agent.exec("nc -w 1 192.0.2.1 80");
  await elsewhere.pause();
  await elsewhere.pause(); // changes nothing
  await vm.resume();
  await agent.close();
  await vm.stop();

  const all = await early;
  const types = all.map(({ type }) => type);
  expect(types.slice(0, 3)).toEqual(["started", "ready", "main-started"]);
  const certain = (type: string) => /paused|resumed|exit/.test(type);
  expect(types.filter(certain)).toEqual(["paused", "resumed", "main-exit", "exited"]);
  expect(all.find(({ type }) => type === "oom")).toMatchObject({ program: "tail", limited: true });
  expect(all.find(({ type }) => type === "refusal")).toMatchObject({
    refusal: { protocol: "tcp", address: "192.0.2.1", port: 80 },
  });
  expect(all.at(-1)).toMatchObject({ exit: { reason: "shutdown" } });
  expect(await Array.fromAsync(vm.events())).toEqual(all);
  const [first, ...others] = (await followed).map(({ type }) => type);
  expect([first, ...others.filter(certain)]).toEqual(["ready", ...types.filter(certain)]);
});

describe("main process", () => {
  test("its output is readable to the byte, its code is the sandbox's, and it is told why", async () => {
    const vm = await small()
      .env({ WORD: "both" })
      .run("/bin/sh", ["-c", "echo $WORD $OWN $PWD; printf '\\000\\377' >&2; exit 7"], {
        env: { OWN: "mine" },
        cwd: "/tmp",
      })
      .build();
    const [stdout, stderr] = await Promise.all([
      new Response(vm.stdout).text(),
      new Response(vm.stderr).bytes(),
    ]);
    expect(stdout).toBe("both mine /tmp\n");
    expect([...stderr]).toEqual([0, 255]);
    expect(await vm.wait()).toBe(7);
    expect(await vm.exited).toEqual({ reason: "main", exitCode: 7, signal: null });
    expect(vm.dropped).toEqual({ stdout: 0, stderr: 0, console: 0 });
    expect(left()).toEqual([]);
  });

  test("much output with a reader is whole; without one the end is kept", async () => {
    const script = "head -c 20000000 /dev/zero | tr '\\0' a; echo end";
    const [read, unread] = await Promise.all([
      small().run("/bin/sh", ["-c", script]).build(),
      small().run("/bin/sh", ["-c", script]).build(),
    ]);
    let size = 0;
    for await (const chunk of read.stdout) size += chunk.length;
    expect(size).toBe(20_000_004);
    await unread.exited;
    const kept = await new Response(unread.stdout).text();
    expect(kept.length).toBe(1 << 20);
    expect(kept.endsWith("aend\n")).toBe(true);
    expect(unread.dropped.stdout).toBe(20_000_004 - (1 << 20));
  });

  test("a signal that ends it is told", async () => {
    const vm = await small().run("/bin/sh", ["-c", "kill -SEGV $$"]).build();
    expect(await vm.wait()).toBe(128 + 11);
    expect(await vm.exited).toMatchObject({ reason: "main", signal: "SIGSEGV" });
  });

  test("one that cannot be started is told by its name", async () => {
    const vm = await small().run("/no/such/program").build();
    const exit = await vm.exited;
    expect(exit).toMatchObject({ reason: "failed", failure: { code: "ENOENT" } });
    expect(exit.failure!.message).toContain("/no/such/program");
    await expect(vm.wait()).rejects.toMatchObject({ name: "VmmError", code: "ENOENT" });
  });
});

describe("ends", () => {
  test("stop lets the main process end itself", async () => {
    await using vm = await small()
      .run("/bin/sh", ["-c", "trap 'echo bye; exit 4' TERM; echo up; while :; do sleep 0.1; done"])
      .build();
    const output = vm.stdout.getReader();
    const word = async () => new TextDecoder().decode((await output.read()).value);
    expect(await word()).toBe("up\n");
    expect(await vm.stop({ graceMs: 3000 })).toEqual({ reason: "shutdown", exitCode: 4, signal: null });
    expect(await word()).toBe("bye\n");
    expect(left()).toEqual([]);
  });

  test("stop ends one that will not hear", async () => {
    const vm = await small().run("/bin/sh", ["-c", "trap '' TERM; while :; do sleep 1; done"]).build();
    await vm.ready;
    const began = performance.now();
    const exit = await vm.stop({ graceMs: 300 });
    expect(["shutdown", "stopped"]).toContain(exit.reason);
    expect(performance.now() - began).toBeLessThan(5000);
  });

  test("kill is at once, twice is once, and pending calls are told", async () => {
    const vm = await sleeping().build();
    const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
    const pids = tree(vm.pid);
    const calls = [agent.exec("sleep 1000"), agent.readFile("/dev/zero"), agent.exec(["sleep", "1000"])];
    const settled = Promise.allSettled(calls);
    const began = performance.now();
    const [one, other] = await Promise.all([vm.kill(), vm.kill()]);
    expect(performance.now() - began).toBeLessThan(3000);
    expect(one).toEqual({ reason: "stopped", exitCode: null, signal: null });
    expect(other).toEqual(one);
    for (const result of await settled)
      expect(result).toMatchObject({ reason: { code: "SANDBOX_ENDED", reason: "stopped" } });
    await expect(vm.wait()).rejects.toMatchObject({ code: "NO_EXIT_CODE" });
    expect(await gone(pids, 2000)).toEqual([]);
    expect(left()).toEqual([]);
  });

  test("kill ends a VMM that obeys nobody, whoever asks", async () => {
    const vm = await sleeping().build();
    await vm.ready;
    const other = await attach(vm.name);
    const pids = tree(vm.pid);
    process.kill(pids[1]!, "SIGSTOP"); // its VMM, which its keeper is to end
    const exits = await Promise.all([vm.kill(), other.kill()]);
    expect(exits.map(({ reason }) => reason)).toEqual(["failed", "failed"]);
    expect(await gone(pids, 2000)).toEqual([]);
    expect(left()).toEqual([]);
  }, 30_000);

  test("leaving its scope kills it", async () => {
    let dir: string;
    let pids: number[];
    {
      await using vm = await sleeping().build();
      dir = vm.runtimeDir;
      pids = tree(vm.pid);
      expect(pids.length).toBeGreaterThan(1);
    }
    expect(await gone(pids, 2000)).toEqual([]);
    expect(processesWith(dir)).toEqual([]);
    expect(left()).toEqual([]);
  });

  test("a pause holds the guest's time, resume lets it go on", async () => {
    await using vm = await sleeping().build();
    const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
    await vm.pause();
    await expect(agent.ping({ timeoutMs: 300 })).rejects.toMatchObject({ code: "ETIMEDOUT" });
    await vm.resume();
    expect(await agent.ping()).toBeLessThan(5000);
  });
});

describe("starts that fail", () => {
  test("an abort during the start leaves nothing", async () => {
    const reason = new Error("not now");
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), 30);
    const start = sleeping().build({ signal: controller.signal });
    // It may have been started just before; then it is the caller's to end
    const outcome = await start.then(
      (vm) => vm.kill(),
      (error) => error,
    );
    if (outcome instanceof Error) expect(outcome).toBe(reason);
    await expect(sleeping().build({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(left()).toEqual([]);
  });

  test("too little time is a BootError, and the end", async () => {
    const start = sleeping().bootTimeout(1).build();
    const error = await start.then(
      (vm) => sandbox.waitReady(vm.vsockSocket(sandbox.agentPort())).catch((caught) => caught),
      (caught) => caught,
    );
    expect(error).toBeInstanceOf(BootError);
    expect(error).toMatchObject({
      code: "BOOT_TIMEOUT",
      hint: expect.stringContaining("raise the boot timeout"),
    });
    await start.then((vm) => vm.exited).catch(() => {});
    expect(left()).toEqual([]);
  });

  test("a kernel that is none is told with its path", async () => {
    const start = sleeping()
      .kernel(import.meta.path)
      .build();
    const error = await start.then(
      (vm) => vm.ready.catch((caught) => caught),
      (caught) => caught,
    );
    expect(error).toBeInstanceOf(BootError);
    expect(left()).toEqual([]);
  });

  test("a name is taken once, and free again after", async () => {
    const vm = await sleeping().name("only").build();
    await expect(sleeping().name("only").build()).rejects.toMatchObject({
      name: "SpecError",
      code: "NAME_IN_USE",
    });
    await vm.kill();
    await (await sleeping().name("only").build()).kill();
  });

  test("waiting for a socket nobody listens on ends in time", async () => {
    await using vm = await sleeping().build();
    await vm.ready;
    const socket = vm.vsockSocket(4711);
    await expect(sandbox.waitReadyTimeout(socket, 400)).rejects.toMatchObject({
      code: "ETIMEDOUT",
      op: "waitReady",
    });
    await expect(sandbox.waitReadyTimeout(join(top, "none.sock"), 200)).rejects.toMatchObject({
      code: "ETIMEDOUT",
    });
    const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()).path);
    expect(await agent.ping()).toBeGreaterThan(0);
  });
});

test("two sandboxes are two: other files, other processes, other names", async () => {
  const [one, two] = await Promise.all([sleeping().name("one").build(), sleeping().name("two").build()]);
  await using _one = one;
  await using _two = two;
  const agents = await Promise.all(
    [one, two].map((vm) => sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()))),
  );
  await Promise.all(agents.map((agent, index) => agent.writeFile("/tmp/who", `${index}`)));
  expect(await Promise.all(agents.map((agent) => agent.readTextFile("/tmp/who")))).toEqual(["0", "1"]);
  expect(await Promise.all(agents.map(async (agent) => (await agent.info()).hostname))).toEqual([
    "one",
    "two",
  ]);
  expect((await list()).map(({ name }) => name).sort()).toEqual(["one", "two"]);
});

test("the engine is told, with what it costs, once", async () => {
  const notices: Notice[] = [];
  const onNotice = (notice: Notice) => notices.push(notice);
  rmSync(join(runtime, ".told"), { force: true }); // another test may have heard it today
  await using vm = await sleeping().build({ onNotice });
  await using _other = await sleeping().build({ onNotice });
  expect(notices.length).toBe(vm.engine === "kvm" || process.env.CAPSA_ENGINE ? 0 : 1);
  for (const { code, message } of notices) {
    expect(code).toBe("ENGINE_QEMU");
    expect(message).not.toContain("\n");
  }
});

/** Run `body` in a Bun of its own; `vm`, `agent` and the SDK's exports are there. */
function elsewhere(body: string, stderr: "inherit" | "ignore" = "inherit") {
  const index = join(import.meta.dir, "../../src/index.ts");
  const script = `import * as capsa from ${JSON.stringify(index)}; const { Capsa, sandbox, attach } = capsa; ${body}`;
  return Bun.spawn([process.execPath, "-e", script], {
    env: process.env,
    stdin: "pipe",
    stdout: "pipe",
    stderr,
  });
}

async function line(child: ReturnType<typeof elsewhere>): Promise<string> {
  let text = "";
  for await (const chunk of child.stdout) {
    text += new TextDecoder().decode(chunk);
    if (text.includes("\n")) break;
  }
  return text.trim();
}

const START = `
  const vm = await Capsa.sandbox().memoryMb(128).name("elsewhere").run("/bin/sleep", ["100000"]).build();
  await vm.ready;`;

describe("other processes", () => {
  test("attach: exec, output from then on, exit; and the owner is told", async () => {
    await using vm = await small()
      .name("shared")
      .run("/bin/sh", ["-c", "echo early; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo late; exit 9"])
      .build();
    await vm.ready;
    await Bun.sleep(300);
    const child = elsewhere(`
      const vm = await attach("shared");
      const timings = await vm.ready;
      const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
      const { stdout } = await agent.exec("hostname");
      await agent.writeFile("/tmp/go", "");
      const output = await new Response(vm.stdout).text();
      console.log(JSON.stringify({ attached: vm.attached, total: timings.totalMs, stdout, output, exit: await vm.exited }));`);
    const told = JSON.parse(await line(child));
    expect(told).toMatchObject({
      attached: true,
      stdout: "shared\n",
      output: "late\n",
      exit: { reason: "main", exitCode: 9 },
    });
    expect(await child.exited).toBe(0);
    expect(await vm.wait()).toBe(9);
    expect(await new Response(vm.stdout).text()).toBe("early\nlate\n");
  });

  test("leaving an attached one leaves it running", async () => {
    await using vm = await sleeping().build();
    await vm.ready;
    {
      await using other = await attach(vm.id);
      expect(other.name).toBe(vm.name);
      expect(other.engine).toBe(vm.engine);
    }
    const again = await attach(vm.name);
    expect((await again.kill()).reason).toBe("stopped");
    expect((await vm.exited).reason).toBe("stopped");
    expect(left()).toEqual([]);
  });

  test("a program ends where sandbox and pool let it, and they with it", async () => {
    const child = elsewhere(`
      const sleeping = Capsa.sandbox().memoryMb(128).run("/bin/sleep", ["100000"]);
      const pool = Capsa.pool(sleeping.name("pooled"), 1);
      pool.unref();
      const vm = await sleeping.name("let-go").build();
      await vm.exec("true");
      const reserved = await pool.reserve();
      await reserved.exec("true");
      vm.unref();
      reserved.unref();
      console.log("over");`);
    expect(await line(child)).toBe("over");
    expect(await child.exited).toBe(0);
    while (left().length > 0) await Bun.sleep(20);
  });

  test("a detached one outlives who started it; its log and exit outlive it", async () => {
    const child = elsewhere(`
      const vm = await Capsa.sandbox().memoryMb(128).name("far")
        .run("/bin/sh", ["-c", "echo kept; while [ ! -e /tmp/go ]; do sleep 0.1; done; exit 6"]).build({ detached: true });
      await vm.ready;
      await vm.detach();
      console.log((await vm.exited).reason);`);
    expect(await line(child)).toBe("detached");
    expect(await child.exited).toBe(0);
    expect(await list()).toMatchObject([{ name: "far", detached: true }]);
    const vm = await attach("far");
    const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
    const text = async () =>
      (await readLog("far")).map(({ data }) => new TextDecoder().decode(data)).join("");
    for (let tries = 0; tries < 100 && (await text()) === ""; tries++) await Bun.sleep(20);
    expect(await text()).toBe("kept\n");
    await agent.writeFile("/tmp/go", "");
    expect(await vm.wait()).toBe(6);
    expect(await text()).toBe("kept\n");
    expect(await ended()).toMatchObject([{ name: "far", exit: { reason: "main", exitCode: 6 } }]);
    expect(left()).toEqual([]);
  });

  test("when Bun ends, by itself or by any signal, nothing stays", async () => {
    const endings: [how: string, body: string, signal: NodeJS.Signals | undefined][] = [
      ["by itself", "console.log(vm.pid); process.exit(0);", undefined],
      ["by an error", "console.log(vm.pid); throw new Error('on purpose, by a test');", undefined],
      ["by Ctrl-C", "console.log(vm.pid);", "SIGINT"],
      ["by kill", "console.log(vm.pid);", "SIGTERM"],
      ["by kill -9", "console.log(vm.pid);", "SIGKILL"],
    ];
    for (const [how, body, signal] of endings) {
      const child = elsewhere(START + body, "ignore");
      const pid = Number(await line(child));
      const pids = tree(pid);
      if (signal !== undefined) {
        expect({ how, processes: pids.length }).not.toEqual({ how, processes: 0 });
        child.kill(signal);
      }
      await child.exited;
      expect({ how, left: await gone([pid, ...pids], 2000) }).toEqual({ how, left: [] });
      for (let tries = 0; tries < 50 && left().length > 0; tries++) await Bun.sleep(20);
      expect({ how, left: left() }).toEqual({ how, left: [] });
    }
  });

  test("whichever process of a sandbox is killed, all go and it is told, or it goes on and can be ended", async () => {
    const vm = await sleeping().build();
    const count = tree(vm.pid).length;
    await vm.kill();
    let deadly = 0;
    for (let index = 0; index < count; index++) {
      const victim = await sleeping().build();
      await victim.ready;
      const pids = tree(victim.pid);
      process.kill(pids[index]!, "SIGKILL");
      const exit = await Promise.race([victim.exited, Bun.sleep(2000)]);
      if (exit === undefined) {
        await using agent = await sandbox.waitReady(victim.vsockSocket(sandbox.agentPort()));
        expect((await agent.exec("echo on")).stdout).toBe("on\n");
        await victim.kill();
      } else {
        deadly++;
        expect({ index, reason: exit.reason }).toEqual({ index, reason: "failed" });
        expect(exit.failure!.message.length).toBeGreaterThan(10);
      }
      expect({ index, left: await gone(pids, 2000) }).toEqual({ index, left: [] });
      for (let tries = 0; tries < 50 && left().length > 0; tries++) await Bun.sleep(20);
      expect({ index, left: left() }).toEqual({ index, left: [] });
    }
    expect(deadly).toBeGreaterThanOrEqual(2); // the machine itself, and who watches over it
  });
});

test("files, sockets and processes of this process are back to what they were", async () => {
  const open = () => readdirSync("/proc/self/fd").length;
  await (await sleeping().build()).kill();
  const start = open();
  for (let round = 0; round < 3; round++) {
    const vm = await sleeping().build();
    const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
    await agent.exec("true");
    await agent.close();
    await vm.kill();
  }
  await Bun.sleep(100);
  expect(open()).toBeLessThanOrEqual(start + 1);
});
