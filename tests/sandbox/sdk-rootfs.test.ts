/** Root file systems: what a guest on the host's /usr can run, and that it sees nothing else of the host. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, Capsa, MountMode, type RunningSandbox, sandbox } from "../../src/index.ts";

const top = mkdtempSync(join(tmpdir(), "capsa-rootfs-"));
afterAll(() => rmSync(top, { recursive: true }));

async function boot(rootfs: Parameters<ReturnType<typeof Capsa.sandbox>["rootfs"]>[0]) {
  const machine = Capsa.sandbox().memoryMb(512).rootfs(rootfs).share(top, "/share", MountMode.ReadWrite);
  const vm = await machine.run("/bin/sleep", ["100000"]).build();
  return { vm, agent: await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort())) };
}

describe("host", () => {
  let vm: RunningSandbox;
  let agent: Agent;

  beforeAll(async () => {
    ({ vm, agent } = await boot("host"));
  });

  afterAll(async () => {
    await agent?.close();
    await vm?.kill();
  });

  const sh = async (script: string) => (await agent.exec(script)).stdout.trim();

  test("programs of the host run as they are", async () => {
    expect(await sh("python3 -c 'import json, ssl; print(json.dumps([6 * 7]))'")).toBe("[42]");
    await agent.writeFile(
      "/tmp/hello.c",
      '#include <stdio.h>\nint main(void) { puts("compiled"); return 3; }\n',
    );
    const built = await agent.exec("cd /tmp && cc -o hello hello.c && ./hello", { timeoutMs: 60_000 });
    expect(built).toMatchObject({ stdout: "compiled\n", exitCode: 3 });
  });

  test("a program's own inotify sees what this machine changes in a share, a replaced file too", async () => {
    mkdirSync(join(top, "watched"));
    writeFileSync(join(top, "watched/file"), "1");
    const program = `import ctypes, os, struct
libc = ctypes.CDLL(None)
fd = libc.inotify_init()
for path in b"/share/watched", b"/share/watched/file": assert libc.inotify_add_watch(fd, path, 0x7c2) > 0
print("ready", flush=True)
while True:
    events, at = os.read(fd, 4096), 0
    while at < len(events):
        wd, mask, _, length = struct.unpack_from("iIII", events, at)
        print(wd, hex(mask), events[at + 16:at + 16 + length].rstrip(b"\\0").decode(), flush=True)
        at += 16 + length`;
    await using child = await agent.spawn(["python3", "-c", program]);
    const seen: string[] = [];
    for await (const line of child.stdout.lines()) {
      if (line === "ready") {
        appendFileSync(join(top, "watched/file"), "2");
        closeSync(openSync(join(top, "watched/new"), "wx"));
        renameSync(join(top, "watched/new"), join(top, "watched/file"));
        mkdirSync(join(top, "watched/end"));
      } else {
        seen.push(line.trim());
        if (line.endsWith("end")) break;
      }
    }
    const [MODIFY, FROM, TO, CREATE, DELETE_SELF, DIRECTORY] = [0x2, 0x40, 0x80, 0x100, 0x400, 0x40000000];
    const told = (watch: number, mask: number, name = "") => `${watch} 0x${mask.toString(16)} ${name}`.trim();
    expect(seen.filter((line) => line !== told(2, 0x8000))).toEqual([
      ...[
        told(1, MODIFY, "file"),
        told(2, MODIFY),
        told(1, CREATE, "new"),
        told(1, FROM, "new"),
        told(1, TO, "file"),
      ],
      ...[told(2, DELETE_SELF), told(1, CREATE | DIRECTORY, "end")],
    ]);
  });

  test("what is mapped of a share is on the host after a sync, and not only at the end", async () => {
    writeFileSync(join(top, "mapped"), "before".padEnd(8192));
    const program = `import mmap, os
with open("/share/mapped", "r+b") as file: pages = mmap.mmap(file.fileno(), 0)
pages[0:6] = b"after "
os.sync()
print("synced", flush=True)
input()`;
    await using child = await agent.spawn(["python3", "-c", program], { stdin: "pipe" });
    for await (const line of child.stdout.lines()) {
      expect(line).toBe("synced");
      break;
    }
    expect(readFileSync(join(top, "mapped"), "utf8").slice(0, 6)).toBe("after ");
  });

  test("nothing of home, root, var, tmp, run or of /etc's secrets is there", async () => {
    for (const directory of [
      "/home",
      "/root",
      "/var/lib",
      "/var/log",
      "/tmp",
      "/srv",
      "/opt",
      "/mnt",
      "/media",
    ]) {
      const names = (await agent.listDir(directory)).map(({ name }) => name);
      expect(names.filter((name) => !name.startsWith("hello"))).toEqual([]);
    }
    const secrets = ["shadow", "gshadow", "sudoers", "ssh", "ssl/private", "machine-id", "fstab", "hostname"];
    for (const name of secrets) expect(await agent.exists(`/etc/${name}`)).toBe(false);
    expect(await agent.readTextFile("/etc/passwd")).not.toBe(readFileSync("/etc/passwd", "utf8"));
  });

  test("a secret put on the host outside /usr is found by no search", async () => {
    const token = `capsa-secret-${crypto.randomUUID()}`;
    writeFileSync(join(top, token), token);
    const search = await agent.exec(
      `find / -xdev -name '${token}' ! -path '/proc/*'; ls ${top} 2>&1; cat ${join(top, token)} 2>&1; ` +
        `find /usr -maxdepth 2 -lname '${top}*'`,
      { timeoutMs: 110_000 },
    );
    expect(search.stdout).not.toContain(`\n${token}\n`);
    expect(search.stdout.match(/No such file/g)?.length).toBe(2);
  });

  test("links out of /usr end in the guest, not on the host", async () => {
    await agent.exec("ln -sf ../../../../../../etc/shadow /usr/escape; ln -sf /proc/1/root /usr/root");
    expect((await agent.exec("cat /usr/escape")).exitCode).not.toBe(0);
    expect(await sh("ls /usr/root/etc/shadow 2>&1")).toContain("No such file");
  });

  test("it knows its own name", async () => {
    const found =
      "from socket import *; print(*[getaddrinfo(gethostname(), 1, f)[0][4][0] for f in (AF_INET, AF_INET6)])";
    expect(await sh(`python3 -c '${found}'`)).toBe("127.0.1.1 ::1");
    expect(await sh("hostname -f")).toBe(await sh("hostname"));
  });

  test("the guest may write anywhere, and the host keeps what it had", async () => {
    const before = readFileSync("/usr/bin/env");
    await agent.exec(
      "echo changed >/usr/bin/env; rm -f /usr/bin/python3; echo new >/usr/capsa-test; echo x >/etc/passwd",
    );
    expect(await sh("cat /usr/bin/env")).toBe("changed");
    expect(Buffer.compare(readFileSync("/usr/bin/env"), before)).toBe(0);
    expect(existsSync("/usr/bin/python3")).toBe(true);
    expect(existsSync("/usr/capsa-test")).toBe(false);
    await agent.writeFile("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
  });

  test("it is another machine", async () => {
    expect(await sh("hostname 2>/dev/null || cat /proc/sys/kernel/hostname")).not.toBe(hostname());
    expect(await sh("cat /etc/os-release | grep ^ID=")).toBe(
      readFileSync("/etc/os-release", "utf8")
        .split("\n")
        .find((line) => line.startsWith("ID="))!,
    );
    expect(await sh("ls /sys/class/net")).toBe("lo");
  });
});

test("directory: a tree of one's own, read-only below and writable above", async () => {
  const tree = join(top, "tree");
  mkdirSync(join(tree, "bin"), { recursive: true });
  cpSync(Bun.which("busybox")!, join(tree, "bin/busybox"));
  chmodSync(join(tree, "bin/busybox"), 0o755);
  cpSync(join(tree, "bin/busybox"), join(tree, "bin/sleep"));
  cpSync(join(tree, "bin/busybox"), join(tree, "bin/sh"));
  writeFileSync(join(tree, "motto"), "mine\n");
  mkdirSync(join(tree, "etc"));
  writeFileSync(join(tree, "etc/hosts"), "192.0.2.1 mine");
  const { vm, agent } = await boot({ directory: tree });
  await using _ = vm;
  expect(await agent.readTextFile("/motto")).toBe("mine\n");
  const names = (await agent.listDir("/")).map(({ name }) => name).sort();
  expect(names).toEqual(expect.arrayContaining(["bin", "dev", "motto", "proc", "sys", "tmp"]));
  expect(names).not.toContain("usr");
  expect(
    (await agent.exec("echo other >/motto; /bin/busybox rm /bin/sleep; /bin/busybox cat /motto")).stdout,
  ).toBe("other\n");
  expect(readFileSync(join(tree, "motto"), "utf8")).toBe("mine\n");
  expect(existsSync(join(tree, "bin/sleep"))).toBe(true);
  // behind the tree's own, whose last line does not end
  const { hostname: name } = await agent.info();
  expect(await agent.readTextFile("/etc/hosts")).toBe(`192.0.2.1 mine\n127.0.1.1\t${name}\n::1\t${name}\n`);
  expect(readFileSync(join(tree, "etc/hosts"), "utf8")).toBe("192.0.2.1 mine");
  await agent.close();
});
