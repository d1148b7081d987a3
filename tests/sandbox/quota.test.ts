/** What a guest may add to shares with a size: a read-write one and a transaction. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, Capsa, MountMode, type RunningSandbox, sandbox } from "../../src/index.ts";
import { capableDirectory } from "../unit/changes/staged.ts";

const SIZE = 2 << 20;
/** The file system's own, of files in many parts. */
const SLACK = 256 << 10;
let top: string;
let state: string;
let vm: RunningSandbox;
let agent: Agent;

beforeAll(async () => {
  state = capableDirectory();
  process.env.XDG_STATE_HOME = state;
  top = mkdtempSync(join(tmpdir(), "capsa-quota-"));
  for (const name of ["rw", "transaction", "tools"]) mkdirSync(join(top, name));
  copyFileSync(join(import.meta.dirname, "quota.py"), join(top, "tools", "quota.py"));
  vm = await Capsa.sandbox()
    .memoryMb(256)
    .rootfs("host")
    .share(join(top, "tools"), "/tools", MountMode.ReadOnly)
    .share(join(top, "rw"), "/rw", { mode: MountMode.ReadWrite, size: "2M" })
    .share(top, "/top", MountMode.ReadOnly)
    .share(join(top, "transaction"), "/transaction", { mode: MountMode.Transaction, size: SIZE })
    .run("/bin/sleep", ["infinity"])
    .build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
}, 120_000);

afterAll(async () => {
  await vm?.kill();
  delete process.env.XDG_STATE_HOME;
  for (const path of [top, state]) rmSync(path, { recursive: true, force: true });
});

/** Bytes of this machine's disk there. */
function used(path: string): number {
  const { stdout } = Bun.spawnSync(["du", "-s", "--block-size=1", path]);
  return Number(stdout.toString().split("\t")[0]);
}

const WAYS = "appends at_once direct mapped sparse allocates copies small names exchanges".split(" ");

test("however a guest tries, it adds no more than the size of a share", async () => {
  for (const mode of ["rw", "transaction"]) {
    const place = mode === "rw" ? join(top, mode) : state;
    const child = await agent.spawn(["python3", "/tools/quota.py", `/${mode}`], { stdin: "pipe" });
    const input = child.stdin!.getWriter();
    const ways: string[] = [];
    for await (const line of child.stdout.lines()) {
      const [way, size, left] = line.split(" ");
      ways.push(way!);
      expect([way, Number(size)]).toEqual([way, SIZE]);
      // of these two a request is taken whole or not at all
      const unused = way === "direct" || way === "mapped" ? 1 << 20 : 8192;
      expect([way, Number(left) < unused]).toEqual([way, true]);
      expect([way, used(place) <= SIZE + SLACK]).toEqual([way, true]);
      await input.write(Buffer.from("\n"));
    }
    expect(await new Response(child.stderr).text()).toBe("");
    expect(ways).toEqual(WAYS);
    expect(readdirSync(join(top, mode))).toEqual([]);
  }
}, 240_000);

test("what the guest removes and has open by another share is not given back until it is closed", async () => {
  const { stdout, stderr } = await agent.exec(["python3", "-c", HOLDS]);
  expect([stderr, stdout]).toEqual(["", "refused\ntaken\n"]);
});

/** Opens each file by a read-only share before it removes it, as often as there is room. */
const HOLDS = `
import os
data, held = os.urandom(1500000), []
def write():
    with open("/rw/held", "wb") as file:
        file.write(data)
try:
    while len(held) < 5:
        write()
        held.append(open("/top/rw/held"))
        os.unlink("/rw/held")
except OSError:
    print("refused")
os.path.exists("/rw/held") and os.unlink("/rw/held")
for file in held:
    file.close()
os.statvfs("/rw")
write()
os.unlink("/rw/held")
print("taken")
`;

test("what this machine removes of its own makes no room", async () => {
  expect((await agent.exec("head -c 1500000 /dev/urandom > /rw/own")).stderr).toBe("");
  writeFileSync(join(top, "rw", "hosts"), Buffer.alloc(4 << 20, 1));
  const child = await agent.spawn("exec 3< /rw/hosts; echo; read line; exec 3<&-", { stdin: "pipe" });
  for await (const _ of child.stdout.lines()) {
    rmSync(join(top, "rw", "hosts"));
    await child.stdin!.getWriter().write(Buffer.from("\n"));
  }
  const { stderr } = await agent.exec("head -c 1500000 /dev/urandom > /rw/more; rm /rw/own /rw/more");
  expect(stderr).toContain("No space left on device");
});

test("what this machine removes of the guest's makes room, and a copy needs as much as the file has", async () => {
  const { stderr } = await agent.exec("head -c 1000000 /dev/urandom > /rw/file");
  expect(stderr).toBe("");
  rmSync(join(top, "rw", "file"));
  // as now and then is looked at; with what the directory has grown by names, both would not fit
  const again = await agent.exec(
    "until head -c 1000000 /dev/zero > /rw/other; do rm /rw/other; done 2>/dev/null",
  );
  expect(again.exitCode).toBe(0);
  writeFileSync(join(top, "transaction", "large"), Buffer.alloc(SIZE + 4096, 1));
  const refused = await agent.exec("echo >> /transaction/large");
  expect(refused.stderr).toContain("No space left on device");
  expect((await agent.exec("rm /transaction/large && echo small > /transaction/large")).exitCode).toBe(0);
});
