/** Files of shares that programs in the guest have mapped and written, in each cache mode: all who look find the same. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, Capsa, MountMode, type RunningSandbox, sandbox } from "../../src/index.ts";

const PROGRAM = join(import.meta.dirname, "mapped.py");
const MODES = ["auto", "always", "never"] as const;
let top: string;
let vm: RunningSandbox;
let agent: Agent;

beforeAll(async () => {
  top = mkdtempSync(join(tmpdir(), "capsa-mapped-"));
  let draft = Capsa.sandbox().memoryMb(256).rootfs("host");
  for (const cache of MODES) {
    mkdirSync(join(top, cache));
    copyFileSync(PROGRAM, join(top, cache, "mapped.py"));
    writeFileSync(join(top, cache, "watched"), "before");
    draft = draft.share(join(top, cache), `/${cache}`, { mode: MountMode.ReadWrite, cache });
  }
  vm = await draft.run("/bin/sleep", ["infinity"]).build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
}, 120_000);

afterAll(async () => {
  await vm?.kill();
  rmSync(top, { recursive: true, force: true });
});

test("what is written through a mapping is read, copied, sought and counted, in each cache mode", async () => {
  for (const cache of MODES) {
    const { stdout, stderr } = await agent.exec(["python3", `/${cache}/mapped.py`, `/${cache}`]);
    expect([cache, stderr]).toEqual([cache, ""]);
    const lines = stdout.trimEnd().split("\n");
    expect([cache, ...lines.filter((line) => !line.endsWith(": ok"))]).toEqual([cache]);
    expect(lines).toHaveLength(18);
    expect(readFileSync(join(top, cache, "live"), "latin1").slice(0, 8)).toBe("LASTRRRR");
  }
});

test.each(["auto", "never"] as const)(
  "sendfile finds what this machine has written, cache = %s",
  async (cache) => {
    const child = await agent.spawn(["python3", `/${cache}/mapped.py`, `/${cache}`, "behind"]);
    const lines: string[] = [];
    for await (const line of child.stdout.lines()) {
      lines.push(line);
      writeFileSync(join(top, cache, "watched"), "behind");
    }
    expect(lines).toEqual(["before", "seen"]);
  },
);
