/** Locks on files of shares: programs of the sandbox and of this machine exclude one another, by each kind of lock. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, Capsa, MountMode, type RunningSandbox, sandbox } from "../../src/index.ts";
import { database, wellWritten } from "../soak/database.ts";

const LOCKER = join(import.meta.dirname, "locker.py");
let top: string;
let vm: RunningSandbox;
let agent: Agent;

/** A program that locks what it is told to, see locker.py. */
interface Locker {
  readonly path: string;
  ask(command: string): Promise<string>;
}
let host: Locker;
let guest: Locker;
const ends: (() => void)[] = [];

function locker(path: string, write: (line: string) => unknown, output: AsyncIterable<Uint8Array>): Locker {
  const chunks = output[Symbol.asyncIterator]();
  const decoder = new TextDecoder();
  return {
    path,
    async ask(command) {
      await write(`${command}\n`);
      let answer = "";
      while (!answer.endsWith("\n")) {
        const { value, done } = await chunks.next();
        if (done) throw new Error(`the locker ended: ${answer}`);
        answer += decoder.decode(value, { stream: true });
      }
      return answer.trimEnd();
    },
  };
}

beforeAll(async () => {
  top = mkdtempSync(join(tmpdir(), "capsa-locks-"));
  for (const share of ["both", "own", "read", "seen"]) {
    mkdirSync(join(top, share));
    writeFileSync(join(top, share, "f"), "");
  }
  writeFileSync(join(top, "both/page"), "-".repeat(4096));
  copyFileSync(LOCKER, join(top, "read/locker.py"));
  vm = await Capsa.sandbox()
    .memoryMb(256)
    .rootfs("host")
    .share(join(top, "both"), "/both", MountMode.ReadWrite)
    .share(join(top, "own"), "/own", { mode: MountMode.ReadWrite, locks: "guest" })
    .share(join(top, "read"), "/read", MountMode.ReadOnly)
    .share(join(top, "seen"), "/seen", { mode: MountMode.ReadOnly, locks: "host" })
    .run("/bin/sleep", ["infinity"])
    .build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  const here = Bun.spawn(["python3", LOCKER], { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
  ends.push(() => here.stdin.end());
  host = locker(
    join(top, "both/f"),
    (line) => {
      here.stdin.write(line);
      return here.stdin.flush();
    },
    here.stdout,
  );
  const there = await agent.spawn(["python3", "/read/locker.py"], { stdin: "pipe" });
  const input = there.stdin!.getWriter();
  guest = locker("/both/f", (line) => input.write(new TextEncoder().encode(line)), there.stdout);
}, 120_000);

afterAll(async () => {
  for (const end of ends) end();
  await vm?.kill();
  rmSync(top, { recursive: true, force: true });
});

const KINDS = ["flock", "posix", "ofd"] as const;

/** What can be had of `path` by `by` while `holder` has it. */
async function heeded(holder: Locker, by: Locker, kind: string, how: string) {
  expect(await holder.ask(`hold ${kind} ${how} ${holder.path}`)).toBe("yes");
  const shared = await by.ask(`try ${kind} shared ${by.path}`);
  const exclusive = await by.ask(`try ${kind} exclusive ${by.path}`);
  await holder.ask("drop");
  return { shared, exclusive, after: await by.ask(`try ${kind} exclusive ${by.path}`) };
}

test.each(KINDS)("%s of either side is heeded by the other, shared and exclusive", async (kind) => {
  for (const [holder, by] of [
    [host, guest],
    [guest, host],
  ] as const) {
    expect(await heeded(holder, by, kind, "exclusive")).toEqual({
      shared: "no",
      exclusive: "no",
      after: "yes",
    });
    expect(await heeded(holder, by, kind, "shared")).toEqual({
      shared: "yes",
      exclusive: "no",
      after: "yes",
    });
  }
});

test("the two kinds of fcntl are one, and flock is another", async () => {
  await host.ask(`hold posix exclusive ${host.path}`);
  expect(await guest.ask(`try ofd exclusive ${guest.path}`)).toBe("no");
  expect(await guest.ask(`who ${guest.path}`)).toBe("0"); // nobody that the guest could know
  expect(await guest.ask(`try flock exclusive ${guest.path}`)).toBe("yes");
  await host.ask("drop");
});

test.each(KINDS)("who waits for %s has it when the other side gives it up", async (kind) => {
  for (const [holder, by] of [
    [host, guest],
    [guest, host],
    [guest, guest],
  ] as const) {
    await holder.ask(`hold ${kind} exclusive ${holder.path}`);
    const waits = await by.ask(`child ${kind} exclusive ${by.path}`);
    expect(await by.ask(`try ${kind} shared ${by.path}`)).toBe("no"); // all else goes on
    await holder.ask("drop");
    expect(await by.ask(`told ${waits}`)).toBe("has");
    expect(await host.ask(`try ${kind} exclusive ${host.path}`)).toBe("no");
    await by.ask(`signal 9 ${waits}`);
    expect(await host.ask(`try ${kind} exclusive ${host.path}`)).toBe("yes");
  }
});

test.each(KINDS)("who waits for %s in the sandbox can be interrupted, and killed", async (kind) => {
  await host.ask(`hold ${kind} exclusive ${host.path}`);
  const interrupted = await guest.ask(`child ${kind} exclusive ${guest.path}`);
  await guest.ask(`signal 10 ${interrupted}`);
  expect(await guest.ask(`told ${interrupted}`)).toBe("interrupted");
  const killed = await guest.ask(`child ${kind} exclusive ${guest.path}`);
  await guest.ask(`signal 9 ${killed}`);
  expect(await guest.ask(`told ${killed}`)).toBe("nothing");
  await host.ask("drop");
  expect(await host.ask(`try ${kind} exclusive ${host.path}`)).toBe("yes");
});

test.each(KINDS)("what is read under %s is what was written under it, by a mapping too", async (kind) => {
  const pages = { host: join(top, "both/page"), guest: "/both/page" };
  for (let turn = 100; turn < 120; turn++) {
    for (const [side, by] of [
      ["host", host],
      ["guest", guest],
    ] as const) {
      const page = pages[side];
      const word = `${side.padEnd(5, ".")}${turn}`;
      expect(await by.ask(`lock ${kind} exclusive ${page}`)).toBe("locked");
      await by.ask(`write ${word} ${page}`);
      await by.ask(`lock ${kind} none ${page}`);
      for (const [reader, path] of [
        [host, pages.host],
        [guest, pages.guest],
      ] as const) {
        await reader.ask(`lock ${kind} shared ${path}`);
        expect(await reader.ask(`read ${path}`)).toBe(`${word} ${word}`);
        await reader.ask(`lock ${kind} none ${path}`);
      }
    }
  }
});

test("processes of the sandbox that wait for each other are told", async () => {
  expect(await guest.ask(`circle ${guest.path}`)).toBe(await host.ask(`circle ${host.path}`));
});

test("a process that has a lock is known in the sandbox by its number", async () => {
  const child = await guest.ask(`child posix exclusive ${guest.path}`);
  expect(await guest.ask(`told ${child}`)).toBe("has");
  expect(await guest.ask(`who ${guest.path}`)).toBe(child);
  await guest.ask(`signal 9 ${child}`);
});

test("flock of a directory reaches this machine", async () => {
  await guest.ask("hold flock exclusive /both");
  expect(await host.ask(`try flock shared ${join(top, "both")}`)).toBe("no");
  await guest.ask("drop");
  expect(await host.ask(`try flock shared ${join(top, "both")}`)).toBe("yes");
});

test("locks stay in the sandbox where the share says so, and where it is read-only and does not say otherwise", async () => {
  await host.ask(`hold flock exclusive ${join(top, "own/f")}`);
  await host.ask(`hold posix exclusive ${join(top, "own/f")}`);
  await host.ask(`hold flock exclusive ${join(top, "read/f")}`);
  await host.ask(`hold flock shared ${join(top, "seen/f")}`);
  for (const kind of KINDS) {
    const child = await guest.ask(`child ${kind} exclusive /own/f`);
    expect(await guest.ask(`told ${child}`)).toBe("has");
    expect(await guest.ask(`try ${kind} shared /own/f`)).toBe("no");
    await guest.ask(`signal 9 ${child}`);
  }
  const flock = (mode: string, path: string) => agent.exec(["flock", "-n", mode, path, "true"]);
  expect((await flock("-x", "/read/f")).exitCode).toBe(0);
  expect((await flock("-s", "/seen/f")).exitCode).toBe(0);
  expect((await flock("-x", "/seen/f")).exitCode).toBe(1);
  await host.ask("drop");
});

test("a SQLite database that both write at once stays whole", async () => {
  expect(await database(agent, join(top, "both"), "/both", 100)).toBe(wellWritten(100));
}, 120_000);

test("nothing is locked any more when the sandbox is gone, however it ends", async () => {
  await guest.ask(`hold flock exclusive ${guest.path}`);
  await guest.ask(`hold posix exclusive ${guest.path}`);
  const waits = await host.ask(`child flock exclusive ${host.path}`);
  await vm.kill();
  expect(await host.ask(`told ${waits}`)).toBe("has");
  expect(await host.ask(`try posix exclusive ${host.path}`)).toBe("yes");
  await host.ask(`signal 9 ${waits}`);
});
