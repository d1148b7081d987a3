/** The edge of the public API with a sandbox behind it: as tests/unit/errors/edge.test.ts, and once the sandbox has ended. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { callsOf, fuzz, survives } from "../unit/nasty.ts";
import { agent, connect, shareSandbox, vm } from "./shared.ts";

setDefaultTimeout(300_000);
const SEED = Number(process.env.CAPSA_SEED ?? 1);
shareSandbox();

test("an agent's calls", async () => {
  const good = {
    exec: ["true", { timeoutMs: 5000 }],
    spawn: [["true"], { timeoutMs: 5000 }],
    attachProcess: [1, {}],
    readFile: ["/etc/passwd", {}],
    readFileStream: ["/etc/passwd", {}],
    writeFile: ["/tmp/x", "text", {}],
    listDir: ["/etc", {}],
    mkdir: ["/tmp/d", {}],
    remove: ["/tmp/x", {}],
    copy: ["/etc/passwd", "/tmp/copy", {}],
    chmod: ["/tmp/x", 0o644, {}],
    chown: ["/tmp/x", { user: 1 }, {}],
    symlink: ["/x", "/tmp/link", {}],
    glob: ["*", { cwd: "/etc" }],
    watch: ["/tmp", {}],
  };
  // a tree of this machine's, or an end of the guest's, is not what this is about
  await fuzz(agent, good, { seed: SEED, part: 0.3, but: ["upload", "download", "shutdown", "close"] });
  expect(await agent.exec("echo well")).toMatchObject({ stdout: "well\n" });
});

test("a sandbox's calls", async () => {
  const good = {
    forward: [8000, {}],
    expose: [9, { guestPort: 0 }],
    events: [{}],
    setMemory: ["256M", { timeoutMs: 1 }],
    vsockSocket: [5000],
    apply: [[], {}],
    diff: [[]],
  };
  await fuzz(vm, good, { seed: SEED, part: 0.3, but: ["wait", "stop", "kill", "detach", "pause", "resume"] });
  await fuzz(vm.network, {}, { seed: SEED });
  expect(await agent.exec("echo well")).toMatchObject({ stdout: "well\n" });
});

test("all calls of what has ended", async () => {
  const other = await connect();
  const child = await other.spawn(["sleep", "1000"]);
  await vm.kill();
  for (const object of [vm, vm.network, agent, other, child]) {
    for (const name of object === child ? ["wait", "kill", "resize"] : callsOf(object)) {
      const call = (object as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!;
      for (const args of [[], ["/x"], ["/x", "/y"], [1, 1]])
        await survives(name, () => call.apply(object, args));
    }
  }
});
