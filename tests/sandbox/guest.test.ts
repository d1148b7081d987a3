/** What init makes of a machine, and that it outlives an agent, ends on every request to, and leaves nothing half done. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, BootError, Capsa, MountMode, type RunningSandbox, sandbox } from "../../src/index.ts";

const top = mkdtempSync(join(tmpdir(), "capsa-guest-"));
const before = process.env.CAPSA_RUNTIME_DIR;

beforeAll(() => {
  mkdirSync(join(top, "run"), { mode: 0o700 });
  mkdirSync(join(top, "share"));
  process.env.CAPSA_RUNTIME_DIR = join(top, "run");
});

afterAll(() => {
  if (before === undefined) delete process.env.CAPSA_RUNTIME_DIR;
  else process.env.CAPSA_RUNTIME_DIR = before;
  rmSync(top, { recursive: true });
});

const small = () => Capsa.sandbox().memoryMb(128);
const agentOf = (vm: RunningSandbox) => sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));

describe("the machine", () => {
  let vm: RunningSandbox;
  let agent: Agent;
  const shell = async (script: string) => (await agent.exec(script)).stdout.trim();

  beforeAll(async () => {
    vm = await small()
      .share(join(top, "share"), "/data", MountMode.ReadOnly)
      .run("/bin/sh", ["-c", "readlink /proc/self/fd/0; sleep 100000"])
      .build();
    agent = await agentOf(vm);
  });
  afterAll(() => vm?.kill());

  test("has the kernel's file systems where they belong", async () => {
    const mounts = await shell("cat /proc/mounts");
    for (const line of [
      /^proc \/proc proc rw,nosuid,nodev,noexec/m,
      /^sysfs \/sys sysfs /m,
      /^devtmpfs \/dev devtmpfs /m,
      /^devpts \/dev\/pts devpts .*ptmxmode=666/m,
      /^tmpfs \/dev\/shm tmpfs rw,nosuid,nodev/m,
      /^tmpfs \/tmp tmpfs /m,
      /^tmpfs \/run tmpfs /m,
      /^cgroup2 \/sys\/fs\/cgroup cgroup2 /m,
      /^\S+ \/data virtiofs ro,nosuid,nodev/m,
    ]) {
      expect(mounts).toMatch(line);
    }
    expect(await shell("stat -c %a / /tmp /dev/shm /run")).toBe("755\n1777\n1777\n755");
    expect(await shell("echo through > /dev/fd/1; test -c /dev/null -a -c /dev/ptmx && echo yes")).toBe(
      "through\nyes",
    );
  });

  test("shows nothing of how it was made", async () => {
    expect(
      await shell(
        "ls -d /capsa 2>/dev/null; cat /proc/*/mountinfo 2>/dev/null | grep -c capsa; ls -l /proc/1/fd | grep -c capsa",
      ),
    ).toBe("0\n0");
  });

  test("has the defaults programs count on", async () => {
    expect(await shell("echo $HOME $LANG $PATH")).toBe(
      "/root C.UTF-8 /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    expect(await shell("ulimit -n; ulimit -Hn; ulimit -c; umask")).toBe("1024\n524288\n0\n0022");
    expect(await shell("ping -c 1 -W 5 127.0.0.1 > /dev/null && echo loopback")).toBe("loopback");
    expect(await shell("id")).toBe("uid=0(root) gid=0(root)");
  });

  test("puts programs at fixed addresses under emulation only", async () => {
    expect(await shell("cat /proc/sys/kernel/randomize_va_space")).toBe(vm.engine === "qemu" ? "0" : "2");
  });

  test("gives the main process /dev/null to read", async () => {
    const { value } = await vm.stdout[Symbol.asyncIterator]().next();
    expect(Buffer.from(value ?? []).toString()).toStartWith("/dev/null\n");
  });

  test("reaps orphans", async () => {
    await agent.exec("for i in $(seq 50); do (sleep 0.1 &); done; sleep 1");
    expect(await shell("grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l")).toBe("0");
  });

  test("goes on when its agent dies, with a new one", async () => {
    const pid = Number(await shell("echo $PPID"));
    const asleep = agent.exec(["sleep", "1000"]).catch((error: unknown) => error);
    await Bun.sleep(200);
    await agent.exec(["kill", "-9", String(pid)]).catch(() => {});
    expect(await asleep).toBeInstanceOf(Error);
    agent = await agentOf(vm);
    expect(Number(await shell("echo $PPID"))).not.toBe(pid);
    // its calls' programs went with it, the main process did not
    expect(await shell("ps -o args | grep -c '^sleep 1000$'")).toBe("0");
    expect(await shell("ps -o args | grep -c '^sleep 100000$'")).toBe("1");
  });
});

describe("the end", () => {
  const ending = (request: string) =>
    small()
      .run("/bin/sh", [
        "-c",
        `trap 'echo farewell; exit 7' TERM; (sleep 0.5; ${request}) & while :; do sleep 0.1; done`,
      ])
      .build();

  for (const request of ["kill 1", "poweroff", "reboot", "halt"]) {
    test(`is asked for from inside by ${request}`, async () => {
      const vm = await ending(request);
      const output = new Response(vm.stdout as never).text();
      expect(await vm.wait()).toBe(7);
      expect(await output).toBe("farewell\n");
    });
  }

  test("comes with the main process, and waits for what that left until its grace is over", async () => {
    const start = performance.now();
    const script = "trap '' TERM; (while :; do sleep 1; done) & exit 3";
    const vm = await small().run("/bin/sh", ["-c", script]).build();
    expect(await vm.wait()).toBe(3);
    expect(performance.now() - start).toBeGreaterThan(5000);
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});

test("a share that cannot be mounted is told with the place", async () => {
  const vm = await small()
    .share(join(top, "share"), "/etc/passwd", MountMode.ReadOnly) // a directory, where the root has a file
    .run("/bin/true", [])
    .build();
  const error = await vm.ready.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(BootError);
  expect(String(error)).toMatch(/\/etc\/passwd: the place cannot be made: Not a directory/);
});
