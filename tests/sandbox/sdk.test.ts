/** The SDK in one shared sandbox: programs, their streams and ends, files, and all of it at once. */

import { describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Capsa, MountMode, sandbox } from "../../src/index.ts";
import { agent, shareSandbox, top, vm } from "./shared.ts";

shareSandbox({ SANDBOX: "yes" });

/** The bytes of `length` that `seed` stands for: no two the same, none compressible. */
function noise(length: number, seed: number): Uint8Array {
  let state = seed;
  return new Uint8Array(length).map(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

test("the smallest whole program: a share, a machine, a command, a file read back", async () => {
  const project = join(top, "project");
  const output = join(top, "output");
  await Bun.write(join(project, "script.sh"), "echo Hello from $(hostname) >/output/greeting\necho done\n");
  await Bun.write(join(output, ".keep"), "");

  await using machine = await Capsa.sandbox()
    .name("hello")
    .cpus(2)
    .memoryMb(256)
    .share(project, "/project", MountMode.ReadOnly)
    .share(output, "/output", MountMode.ReadWrite)
    .noNetwork()
    .run("/bin/sh", ["-c", "sleep 1000"])
    .build();
  const socket = machine.vsockSocket(sandbox.agentPort());
  await using helper = await sandbox.waitReady(socket);
  const result = await helper.exec("sh /project/script.sh");
  expect(result).toMatchObject({ stdout: "done\n", stderr: "", exitCode: 0 });
  expect(readFileSync(join(output, "greeting"), "utf8")).toBe("Hello from hello\n");
  const refused = await helper.exec("echo x >/project/new");
  expect(refused.stderr).toContain("Read-only file system");
  await helper.shutdown();
  expect((await machine.exited).reason).not.toBe("failed");
});

describe("exec", () => {
  test("exit code, both outputs, environment of sandbox and call, working directory", async () => {
    const result = await agent.exec("echo $SANDBOX $MINE $(pwd); echo oops >&2; exit 3", {
      env: { MINE: "too" },
      cwd: "/tmp",
    });
    expect(result).toMatchObject({ stdout: "yes too /tmp\n", stderr: "oops\n", exitCode: 3, ok: false });
    const cleared = await agent.exec(["/bin/env"], { env: { ONLY: "this" }, clearEnv: true });
    expect(cleared.stdout).toBe("ONLY=this\n");
  });

  test("arguments reach the program as they are", async () => {
    const odd = ["a b", "$HOME", "", "*", "ä\n'\"", "-n"];
    const { stdout } = await agent.exec(["/bin/sh", "-c", 'for a; do printf "%s|" "$a"; done', "sh", ...odd]);
    expect(stdout).toBe(odd.map((argument) => `${argument}|`).join(""));
  });

  test("a program that is not there, a directory that is none", async () => {
    await expect(agent.exec(["/no/such"])).rejects.toMatchObject({
      name: "AgentError",
      code: "ENOENT",
      path: "/no/such",
    });
    await expect(agent.exec("true", { cwd: "/etc/passwd" })).rejects.toMatchObject({ code: "ENOTDIR" });
    expect((await agent.exec("nonesuch")).exitCode).toBe(127);
  });

  test("user and group", async () => {
    expect((await agent.exec("id -u; id -g", { user: 65534, group: 5 })).stdout).toBe("65534\n5\n");
  });

  test("every byte of binary output survives", async () => {
    const data = noise(300_000, 1);
    await agent.writeFile("/tmp/noise", data);
    const result = await agent.exec(["/bin/sh", "-c", "cat /tmp/noise; cat /tmp/noise >&2"]);
    expect(Buffer.compare(result.stdoutBytes, data)).toBe(0);
    expect(Buffer.compare(result.stderrBytes, data)).toBe(0);
  });

  test("standard input of every kind arrives and ends", async () => {
    const data = noise(1_000_000, 2);
    const expected = new Bun.CryptoHasher("sha256").update(data).digest("hex");
    async function* slowly() {
      for (let at = 0; at < data.length; at += 90_000) {
        yield data.subarray(at, at + 90_000);
        await Bun.sleep(1);
      }
    }
    for (const stdin of [data, new Blob([data]), new Blob([data]).stream(), slowly()]) {
      expect((await agent.exec(["sha256sum"], { stdin })).stdout).toStartWith(expected);
    }
    expect((await agent.exec("cat", { stdin: "text" })).stdout).toBe("text");
    expect((await agent.exec("cat")).stdout).toBe("");
  });

  test("a program that does not read its input is no trouble", async () => {
    const result = await agent.exec("exec <&-; echo ended", { stdin: noise(2_000_000, 3) });
    expect(result).toMatchObject({ stdout: "ended\n", exitCode: 0 });
  });

  test("time runs out: the whole process group is killed, and the result says so", async () => {
    const result = await agent.exec("echo begun; sleep 1000 & sleep 1000", { timeoutMs: 300 });
    expect(result).toMatchObject({
      stdout: "begun\n",
      exitCode: null,
      signal: "SIGKILL",
      timedOut: true,
      ok: false,
    });
    expect(result.durationMs).toBeLessThan(5000);
    expect((await agent.exec("ps | grep -c '[s]leep 1000$'")).stdout.trim()).toBe("0");
  });

  test("an abort kills the program at once", async () => {
    const reason = new Error("changed my mind");
    const controller = new AbortController();
    const running = agent.exec(["sleep", "2000"], { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 100);
    await expect(running).rejects.toBe(reason);
    await Bun.sleep(200);
    expect((await agent.exec("ps | grep -c '[s]leep 2000'")).stdout.trim()).toBe("0");
    await expect(agent.exec("true", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });

  test("output past the limit ends the program and says what to do", async () => {
    const call = agent.exec("yes", { maxOutput: 100_000 });
    await expect(call).rejects.toMatchObject({
      code: "OUTPUT_TOO_LARGE",
      hint: expect.stringContaining("onStdout"),
    });
    await Bun.sleep(200);
    expect((await agent.exec("ps | grep -c '[y]es$'")).stdout.trim()).toBe("0");
  });

  test("output is handed over as it comes, and then not collected", async () => {
    const pieces: string[] = [];
    const decoder = new TextDecoder();
    const result = await agent.exec("echo one; sleep 0.2; echo two", {
      onStdout: (chunk) => pieces.push(decoder.decode(chunk)),
    });
    expect(pieces).toEqual(["one\n", "two\n"]);
    expect(result.stdout).toBe("");
  });

  test("64 at once, each with its own output and code", async () => {
    const results = await Promise.all(
      Array.from({ length: 64 }, (_, index) =>
        agent.exec(`head -c ${1000 * index} /dev/zero | tr '\\0' x; exit ${index}`),
      ),
    );
    results.forEach((result, index) => {
      expect(result.exitCode).toBe(index);
      expect(result.stdout.length).toBe(1000 * index);
    });
  });
});

describe("spawn", () => {
  test("a conversation with a program", async () => {
    await using child = await agent.spawn(["/bin/cat"], { stdin: "pipe" });
    const writer = child.stdin!.getWriter();
    const reader = child.stdout.getReader();
    for (const word of ["one", "two", "three"]) {
      await writer.write(new TextEncoder().encode(word));
      expect(new TextDecoder().decode((await reader.read()).value)).toBe(word);
    }
    await writer.close();
    expect((await reader.read()).done).toBe(true);
    expect(await child.exited).toEqual({
      exitCode: 0,
      signal: null,
      timedOut: false,
      oomKilled: false,
      ok: true,
    });
  });

  test("a reader that stops stops the program, and memory with it", async () => {
    await using child = await agent.spawn("yes | head -c 500000000");
    const reader = child.stdout.getReader();
    await reader.read();
    await Bun.sleep(300);
    const before = process.memoryUsage().rss;
    await Bun.sleep(300);
    expect(process.memoryUsage().rss - before).toBeLessThan(32 << 20);
    const state = await agent.exec(`cat /proc/${child.pid}/task/*/children /proc/${child.pid}/stat`);
    expect(state.exitCode).toBe(0); // it waits, it has not ended
  });

  test("signals by name and by number", async () => {
    const trap = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    const child = await agent.spawn(trap);
    const reader = child.stdout.getReader();
    await reader.read();
    child.kill("TERM");
    expect(new TextDecoder().decode((await reader.read()).value)).toBe("caught\n");
    expect((await child.exited).exitCode).toBe(5);
    const other = await agent.spawn(["sleep", "1000"]);
    other.kill(9);
    expect((await other.exited).signal).toBe("SIGKILL");
  });

  test("leaving its scope kills it", async () => {
    let pid: number;
    {
      await using child = await agent.spawn(["sleep", "3000"]);
      pid = child.pid;
    }
    expect(await agent.exists(`/proc/${pid}/exe`)).toBe(false);
  });

  test("closing the connection kills what ran by it, and nothing else", async () => {
    const other = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
    const child = await other.spawn(["sleep", "4000"]);
    await other.close();
    await expect(child.exited).rejects.toMatchObject({ code: "GUEST_LOST" });
    for (let tries = 0; tries < 50 && (await agent.exists(`/proc/${child.pid}/exe`)); tries++)
      await Bun.sleep(50);
    expect(await agent.exists(`/proc/${child.pid}/exe`)).toBe(false);
  });
});

describe("files", () => {
  test("text and bytes there and back, to the byte", async () => {
    const data = noise(3_000_001, 4);
    expect(await agent.writeFile("/tmp/big", data)).toBe(data.length);
    expect(Buffer.compare(await agent.readFile("/tmp/big"), data)).toBe(0);
    await agent.writeFile("/tmp/text", "grüße\n");
    expect(await agent.readTextFile("/tmp/text")).toBe("grüße\n");
    await agent.writeFile("/tmp/empty", "");
    expect((await agent.readFile("/tmp/empty")).length).toBe(0);
  });

  test("a part of a file, and a stream that is given up", async () => {
    await agent.writeFile("/tmp/digits", "0123456789");
    expect(await agent.readTextFile("/tmp/digits", { offset: 3, length: 4 })).toBe("3456");
    expect(await agent.readTextFile("/tmp/digits", { offset: 8 })).toBe("89");
    expect(await agent.readTextFile("/tmp/digits", { offset: 20 })).toBe("");
    const reader = agent.readFileStream("/dev/zero").getReader();
    expect((await reader.read()).value!.length).toBeGreaterThan(0);
    await reader.cancel();
    expect(await agent.ping()).toBeLessThan(5000);
  });

  test("mode, missing directories, and the old file until the new one is whole", async () => {
    await agent.writeFile("/tmp/a/b/run.sh", "#!/bin/sh\necho ran\n", { mode: 0o755, parents: true });
    expect((await agent.exec(["/tmp/a/b/run.sh"])).stdout).toBe("ran\n");
    await expect(agent.writeFile("/tmp/none/x", "")).rejects.toMatchObject({
      code: "ENOENT",
      path: "/tmp/none/x",
    });

    await agent.writeFile("/tmp/steady", "old");
    async function* failing() {
      yield "new, but ";
      throw new Error("no more");
    }
    await expect(agent.writeFile("/tmp/steady", failing())).rejects.toThrow("no more");
    expect(await agent.readTextFile("/tmp/steady")).toBe("old");
    const left = (await agent.listDir("/tmp")).filter(({ name }) => name.includes("steady"));
    expect(left).toHaveLength(1);
  });

  test("errors carry code and path", async () => {
    await expect(agent.readFile("/no/such")).rejects.toMatchObject({
      code: "ENOENT",
      op: "readFile",
      path: "/no/such",
    });
    await expect(agent.readFile("/tmp")).rejects.toMatchObject({ code: "EISDIR" });
    await expect(agent.listDir("/etc/passwd")).rejects.toMatchObject({ code: "ENOTDIR" });
    await expect(agent.writeFile("/proc/nonesuch", "x")).rejects.toMatchObject({
      name: "AgentError",
      op: "writeFile",
    });
  });

  test("exists and listDir", async () => {
    const before = Date.now();
    await agent.exec(
      "mkdir -p /tmp/d/sub && cd /tmp/d && printf 12345 >f && chmod 640 f && ln -s nowhere link && mkfifo fifo",
    );
    expect(await agent.exists("/tmp/d/link")).toBe(true);
    expect(await agent.exists("/tmp/d/nowhere")).toBe(false);
    const entries = new Map((await agent.listDir("/tmp/d")).map((entry) => [entry.name, entry]));
    expect([...entries.keys()].sort()).toEqual(["f", "fifo", "link", "sub"]);
    expect(entries.get("f")).toMatchObject({ type: "file", size: 5, mode: 0o640 });
    expect(Math.abs(entries.get("f")!.mtime.getTime() - before)).toBeLessThan(60_000);
    expect(entries.get("sub")!.type).toBe("dir");
    expect(entries.get("link")!.type).toBe("symlink");
    expect(entries.get("fifo")!.type).toBe("fifo");
  });

  test("a large directory is listed whole", async () => {
    await agent.exec("mkdir /tmp/many && cd /tmp/many && seq 20000 | xargs touch");
    const names = new Set((await agent.listDir("/tmp/many")).map(({ name }) => name));
    expect(names.size).toBe(20_000);
  });

  test("what one side writes into a share the other reads", async () => {
    writeFileSync(join(top, "from-host"), "host");
    expect(await agent.readTextFile("/share/from-host")).toBe("host");
    await agent.writeFile("/share/from-guest", "guest");
    expect(readFileSync(join(top, "from-guest"), "utf8")).toBe("guest");
  });
});

test("info, ping, version", async () => {
  const info = await agent.info();
  expect(info).toMatchObject({ hostname: vm.name, cpus: 1, arch: expect.stringMatching(/x86_64|aarch64/) });
  expect(info.kernel).toMatch(/^\d+\.\d+/);
  expect(info.memoryTotal).toBeGreaterThan(128 << 20);
  expect(info.memoryTotal).toBeLessThan(256 << 20);
  expect(info.memoryFree).toBeLessThan(info.memoryTotal);
  expect(info.uptimeMs).toBeGreaterThan(0);
  expect(await agent.ping()).toBeLessThan(5000);
  expect(agent.version).toMatch(/\//);
});

test("everything at once, nothing mixed up", async () => {
  await Promise.all(
    Array.from({ length: 12 }, async (_, index) => {
      const data = noise(200_000 + index, 100 + index);
      await agent.writeFile(`/tmp/mix${index}`, data);
      const [read, echoed, hash] = await Promise.all([
        agent.readFile(`/tmp/mix${index}`),
        agent.exec(["cat"], { stdin: data }),
        agent.exec(["sha256sum", `/tmp/mix${index}`]),
      ]);
      expect(Buffer.compare(read, data)).toBe(0);
      expect(Buffer.compare(echoed.stdoutBytes, data)).toBe(0);
      expect(hash.stdout).toStartWith(new Bun.CryptoHasher("sha256").update(data).digest("hex"));
    }),
  );
});

test("the timings add up", () => {
  const { spawnMs, kernelMs, initMs, mountsMs, agentMs, totalMs } = vm.timings!;
  for (const part of [spawnMs, kernelMs, initMs, mountsMs, agentMs]) expect(part).toBeGreaterThanOrEqual(0);
  expect(spawnMs + kernelMs + initMs + mountsMs + agentMs).toBeLessThan(totalMs * 1.5);
});

describe("the calls of the agent on the sandbox itself", () => {
  test("go over one connection, which is kept", async () => {
    expect(await vm.agent()).toBe(await vm.agent());
    await vm.writeFile("/tmp/own/file", "own", { parents: true });
    expect((await vm.exec("cat /tmp/own/file")).stdout).toBe("own");
    expect(await new Response(vm.readFileStream("/tmp/own/file")).text()).toBe("own");
    await expect(new Response(vm.readFileStream("/tmp/own/none")).text()).rejects.toMatchObject({
      code: "ENOENT",
    });
    await using changes = vm.watch("/tmp/own");
    await changes.ready;
    await vm.mkdir("/tmp/own/next");
    expect((await changes.next()).value).toMatchObject({ type: "create", path: "/tmp/own/next" });
    await using child = await vm.spawn("echo one; echo two");
    expect(await Array.fromAsync(child.stdout.lines())).toEqual(["one", "two"]);
  });

  test("come back after the guest has lost its agent, or somebody has closed it", async () => {
    const before = await vm.agent();
    await before.close();
    expect((await vm.exec("echo again")).stdout).toBe("again\n");
    const kept = await vm.agent();
    expect(kept).not.toBe(before);
    // init's only child by its own program is the agent
    await expect(
      vm.exec(
        'for p in /proc/[0-9]*; do grep -q "^PPid:.1$" $p/status && cmp -s $p/exe /proc/1/exe && echo $p; done | sed s,/proc/,, | xargs kill -9; sleep 100',
      ),
    ).rejects.toMatchObject({ code: "GUEST_LOST" });
    expect((await vm.exec("echo back")).stdout).toBe("back\n");
  });
});
