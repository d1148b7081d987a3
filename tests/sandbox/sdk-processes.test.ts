/** Programs in a guest: terminals, users, limits, and those that outlive the connection that started them. */

import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { agent, connect, shareSandbox, top, vm } from "./shared.ts";

shareSandbox();

/** How many processes were started by exactly these arguments. */
const running = async (args: string) =>
  Number((await agent.exec(["sh", "-c", 'ps -o args | grep -cx "$1"', "sh", args])).stdout);

describe("a terminal", () => {
  test("is a shell's, line by line, until its input ends", async () => {
    await using child = await agent.spawn(["sh"], { pty: { columns: 90, rows: 20 } });
    const writer = child.stdin!.getWriter();
    await writer.write(new TextEncoder().encode("PS1=; stty -echo; stty size; tty; echo $TERM\n"));
    const seen: string[] = [];
    for await (const line of child.stdout.lines()) {
      seen.push(line);
      if (line === "xterm") child.resize(70, 10);
      if (line === "xterm") await writer.write(new TextEncoder().encode("stty size; exit 6\n"));
    }
    expect(seen).toEqual(expect.arrayContaining(["20 90", "xterm", "10 70"]));
    expect(seen.some((line) => /^\/dev\/pts\/\d+$/.test(line))).toBe(true);
    expect(await child.wait()).toMatchObject({ exitCode: 6 });
  });

  test("one of many, whose line is cut, takes its programs along", async () => {
    const other = await connect();
    const shells = await Promise.all(
      Array.from({ length: 20 }, () => other.spawn(["sh", "-c", "sleep 5000; :"], { pty: true })),
    );
    while ((await running("sleep 5000")) < 20);
    await other.close();
    await Promise.allSettled(shells.map(({ exited }) => exited));
    while ((await running("sleep 5000")) > 0);
    expect((await agent.exec("ls /dev/pts")).stdout).toBe("ptmx\n");
  });
});

describe("a user", () => {
  beforeAll(async () => {
    await agent.exec(
      "echo app:x:1500:1600:An App:/home/app:/bin/sh >>/etc/passwd;" +
        "printf 'video:x:44:other,app\\nlogs:x:45:apps\\nplugdev:x:46:app\\n' >>/etc/group",
    );
  });

  test.each([
    ["app", "1500 1600 1600 44 46 /home/app app"],
    ["1500", "1500 1600 1600 44 46 /home/app app"],
    ["app:video", "1500 44 44 /home/app app"],
    ["app:7", "1500 7 7 /home/app app"],
    ["77", "77 77 77 /root"],
    [77, "77 77 77 /root"],
  ])("%p is %p", async (user, wanted) => {
    const { stdout } = await agent.exec("echo $(id -u) $(id -g) $(id -G) $HOME $USER", { user });
    expect(stdout.trim()).toBe(wanted);
  });

  test("that is not there is told, also where the files are not what they should be", async () => {
    await expect(agent.exec("true", { user: "apps" })).rejects.toMatchObject({
      code: "EINVAL",
      message: 'exec /bin/sh: user "apps": not in the sandbox\'s /etc/passwd',
    });
    await expect(agent.exec("true", { user: "app:nosuch" })).rejects.toThrow('group "nosuch": not in');
    await agent.exec("mv /etc/passwd /etc/passwd.1; mkfifo /etc/passwd");
    await expect(agent.exec("true", { user: "app" })).rejects.toThrow("/etc/passwd: Invalid argument");
    await agent.exec("rm /etc/passwd");
    await expect(agent.exec("true", { user: "app" })).rejects.toThrow("not in the sandbox's /etc/passwd");
    expect((await agent.exec("id -u", { user: "1234" })).stdout).toBe("1234\n");
    await agent.exec("mv /etc/passwd.1 /etc/passwd");
    expect((await agent.exec("id -un", { user: "app" })).stdout).toBe("app\n");
  });
});

describe("limits", () => {
  /** Doubles a string to 16 MiB. */
  const HOG = `awk 'BEGIN { s = "x"; while (length(s) < 16 * 1024 * 1024) s = s s; print length(s) }'`;

  test("too much memory ends all of it, and is told as what it is", async () => {
    const result = await agent.exec(`(${HOG}); echo after`, { limits: { memoryMb: 8 } });
    expect(result).toMatchObject({ exitCode: null, signal: "SIGKILL", oomKilled: true, stdout: "" });
    const enough = await agent.exec(HOG, { limits: { memoryMb: 128 } });
    expect(enough).toMatchObject({ exitCode: 0, oomKilled: false, stdout: `${16 << 20}\n` });
    // its own kill is none for want of memory
    const own = await agent.exec("kill -9 $$", { limits: { memoryMb: 16 } });
    expect(own).toMatchObject({ signal: "SIGKILL", oomKilled: false });
  });

  test("too many processes are refused, not one of them more", async () => {
    const { stderr } = await agent.exec("for i in 1 2 3 4 5 6; do sleep 1 & done; wait", {
      limits: { pids: 4 },
    });
    expect(stderr).toContain("can't fork");
  });

  test("are those that were asked for, for each its own", async () => {
    const script = "cd /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); cat memory.max cpu.max pids.max";
    const [one, other] = await Promise.all([
      agent.exec(script, { limits: { memoryMb: 32, cpus: 0.25, pids: 7 } }),
      agent.exec(script, { limits: { cpus: 2 } }),
    ]);
    expect(one.stdout).toBe(`${32 << 20}\n25000 100000\n7\n`);
    expect(other.stdout).toBe("max\n200000 100000\nmax\n");
  });

  test("with them, what a program leaves behind ends with it, and its group goes", async () => {
    const { stdout } = await agent.exec("setsid sleep 6000 & echo $!", { limits: { pids: 20 } });
    expect(Number(stdout)).toBeGreaterThan(1);
    while ((await running("sleep 6000")) > 0);
    await agent.exec("true", { limits: { pids: 20 } }); // sweeps those before it
    const groups = await agent.exec("ls -d /sys/fs/cgroup/capsa/[0-9]* | wc -l");
    expect(Number(groups.stdout)).toBeLessThanOrEqual(1);
  });

  test("hold for a user, in a terminal and in the background", async () => {
    const child = await agent.spawn(HOG, { pty: true, user: "nobody", limits: { memoryMb: 8 } });
    expect(await child.exited).toMatchObject({ oomKilled: true });
    const { id } = await agent.spawn(HOG, { detach: true, limits: { memoryMb: 8 } });
    await using attached = await agent.attachProcess(id);
    expect(await attached.wait()).toMatchObject({ oomKilled: true });
    const listed = (await agent.processes()).find((entry) => entry.id === id);
    expect(listed?.status).toMatchObject({ signal: "SIGKILL", oomKilled: true });
  });

  test("a limit that is misspelt is no limit, and an error", async () => {
    const limits = { memory: 16 } as never;
    await expect(agent.exec("true", { limits })).rejects.toThrow('"memory" is not a limit');
  });
});

describe("output", () => {
  const chatter = "echo out; echo err >&2; sleep 0.2; seq 1000; echo last >&2";

  test("maxOutput counts what is passed on; onLimit says what becomes of the program", async () => {
    const passed: number[] = [];
    const onStdout = (chunk: Uint8Array) => passed.push(chunk.length);
    await expect(agent.exec(chatter, { maxOutput: 100, onStdout })).rejects.toMatchObject({
      code: "OUTPUT_TOO_LARGE",
    });
    expect(passed.reduce((sum, length) => sum + length, 0)).toBeLessThanOrEqual(100);
    const cut = await agent.exec(chatter, { maxOutput: 100, onLimit: "truncate" });
    expect(cut).toMatchObject({ exitCode: 0, truncated: true });
    expect(cut.stdoutBytes.length + cut.stderrBytes.length).toBe(100);
    expect(cut.stdout).toStartWith("out\n");
    const killed = await agent.exec("yes", { maxOutput: 1000, onLimit: "kill" });
    expect(killed).toMatchObject({ signal: "SIGKILL", truncated: true });
    expect(killed.stdout).toHaveLength(1000);
    expect(await agent.exec("printf 12345", { maxOutput: 5 })).toMatchObject({ truncated: false });
    await expect(agent.exec("true", { onLimit: "stop" as never })).rejects.toThrow('"truncate" or "kill"');
  });

  test("a promise of onStdout is awaited, one piece at a time, and its error is the call's", async () => {
    let inside = 0;
    let most = 0;
    await agent.exec("for i in 1 2 3 4; do echo $i; sleep 0.02; done", {
      onStdout: async () => {
        most = Math.max(most, ++inside);
        await Bun.sleep(30);
        inside--;
      },
    });
    expect(most).toBe(1);
    const onStdout = async () => {
      throw new Error("full");
    };
    await expect(agent.exec("echo x; sleep 1000", { onStdout })).rejects.toThrow("full");
  });

  test("stderr among stdout, or nowhere", async () => {
    const both = { stdout: "out\nerr\nlast\n", stderr: "" };
    const script = "echo out; echo err >&2; echo last";
    expect(await agent.exec(script, { stderr: "stdout" })).toMatchObject(both);
    expect(await agent.exec(script, { stderr: "discard" })).toMatchObject({
      stdout: "out\nlast\n",
      stderr: "",
    });
    await using child = await agent.spawn(script, { stderr: "stdout" });
    expect(await Array.fromAsync(child.stdout.lines())).toEqual(["out", "err", "last"]);
    await expect(agent.exec("true", { stderr: "none" as never })).rejects.toThrow('"stdout" or "discard"');
  });

  test("a stream that nobody reads holds nobody up while the other one is read", async () => {
    await using child = await agent.spawn("echo ready; yes | head -c 1500000 >&2; echo done; seq 3 >&2");
    expect(await Array.fromAsync(child.stdout.lines())).toEqual(["ready", "done"]);
    const rest = await new Response(child.stderr).text();
    expect(rest).toEndWith("y\n1\n2\n3\n");
    expect(rest.length).toBeLessThanOrEqual(262_144);
    const printed = Number((await agent.exec("(yes | head -c 1500000; seq 3) | wc -c")).stdout);
    expect(child.dropped.stderr + rest.length).toBe(printed);
    await using other = await agent.spawn("echo ready; yes | head -c 1500000 >&2; echo done");
    for await (const line of other.stdout.lines()) if (line === "ready") break; // left, and the server goes on
    expect(await other.exited).toMatchObject({ ok: true });
  });

  test("waitFor finds one line after the other, and the program is never held up", async () => {
    const server =
      "echo starting; echo listening on 8000 >&2; yes | head -c 1500000; yes | head -c 1500000 >&2; echo again; sleep 1000";
    await using child = await agent.spawn(server);
    expect((await child.waitFor(/listening on (\d+)/))[1]).toBe("8000");
    await child.waitFor("again");
    await expect(child.waitFor(/never/, { timeoutMs: 50 })).rejects.toMatchObject({ code: "ETIMEDOUT" });
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(child.waitFor(/never/, { signal })).rejects.toThrow("enough");
    await using short = await agent.spawn("echo bad luck >&2; exit 3");
    await expect(short.waitFor(/good/)).rejects.toMatchObject({
      code: "PROCESS_ENDED",
      message: expect.stringContaining("bad luck"),
    });
    await expect(short.waitFor(/late/)).rejects.toMatchObject({ code: "PROCESS_ENDED" });
    expect(await short.wait()).toMatchObject({ exitCode: 3 });
  });
});

describe("in the background", () => {
  test("a process outlives its connection, and is found by another", async () => {
    const other = await connect();
    const { id, pid } = await other.spawn("echo begun; read line; echo $line; exit 3", {
      detach: true,
      stdin: "pipe",
    });
    await other.close();
    expect((await agent.processes()).find((entry) => entry.id === id)).toMatchObject({ pid, status: null });
    await using child = await agent.attachProcess(id);
    expect(child).toMatchObject({ id, pid, terminal: false });
    const writer = child.stdin!.getWriter();
    await writer.write(new TextEncoder().encode("a line\n"));
    expect(await Array.fromAsync(child.stdout.lines())).toEqual(["begun", "a line"]);
    expect(await child.wait()).toMatchObject({ exitCode: 3 });
  });

  test("it is not held up by having no reader, and what is kept is its end", async () => {
    const { id } = await agent.spawn("seq 100000; echo end", { detach: true });
    while ((await agent.processes()).find((entry) => entry.id === id)?.status === null);
    await using child = await agent.attachProcess(id, { replay: 11 });
    expect(await new Response(child.stdout).text()).toBe("100000\nend\n");
  });

  test("a shutdown lets it end in order", async () => {
    const script =
      "trap 'sleep 0.5; echo in order >/share/end; exit' TERM; echo ready; while :; do sleep 0.1; done";
    const { id } = await agent.spawn(script, { detach: true });
    const child = await agent.attachProcess(id);
    for await (const line of child.stdout.lines()) if (line === "ready") break;
    child.detach();
    await agent.shutdown({ graceMs: 20_000 });
    await vm.exited;
    expect(readFileSync(join(top, "end"), "utf8")).toBe("in order\n");
  });
});
