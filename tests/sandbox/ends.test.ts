/** The end of a sandbox is told as that: to calls that are open, and to those that come later. */
import { describe, expect, test } from "bun:test";
import { Capsa, type RunningSandbox, sandbox } from "../../src/index.ts";
import { ownRuntimeDirectory } from "../unit/cli/capsa.ts";

ownRuntimeDirectory();
/** The lab, which shrinks what is about quantity, takes its time to boot. */
const TTL_MS = process.env.CAPSA_TEST_SHRINK === undefined ? 10_000 : 60_000;
const small = () => Capsa.sandbox().memoryMb(128).engine("qemu");
const agentOf = (vm: RunningSandbox) => sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));

/** What is open when the sandbox ends, in each of its ways. */
const ways: Record<string, (vm: RunningSandbox) => Promise<unknown>> = {
  ttl: async () => {},
  shutdown: (vm) => vm.stop({ graceMs: 1000 }),
  stopped: (vm) => vm.kill(),
  main: async (vm) => void (await (await agentOf(vm)).exec(["touch", "/tmp/over"])),
};

describe.each(Object.entries(ways))("ended by %s", (reason, end) => {
  test("open calls are told, later ones are told at once", async () => {
    const main = small().run("/bin/sh", ["-c", "until [ -e /tmp/over ]; do sleep 0.1; done"]);
    await using vm = await (reason === "ttl" ? main.ttl(TTL_MS) : main).build();
    const agent = await agentOf(vm);
    const open = [agent.exec("sleep 1000"), agent.exec(["sleep", "1000"])];
    const settled = Promise.allSettled(open);
    await agent.ping();
    await end(vm);
    for (const result of await settled)
      expect(result).toMatchObject({ reason: { name: "SandboxEndedError", code: "SANDBOX_ENDED", reason } });
    expect((await vm.exited).reason).toBe(reason as never);
    const ended = { code: "SANDBOX_ENDED", reason };
    await expect(agent.exec("true")).rejects.toMatchObject(ended);
    await expect(agentOf(vm)).rejects.toMatchObject(ended);
    await expect(vm.forward(80)).rejects.toMatchObject(ended);
    await expect(vm.expose(80)).rejects.toMatchObject(ended);
  });
});

test("a program that a signal ends while the sandbox goes on is a result", async () => {
  await using vm = await small().run("/bin/sleep", ["infinity"]).build();
  const agent = await agentOf(vm);
  expect(await agent.exec("kill -TERM $$")).toMatchObject({ exitCode: null, signal: "SIGTERM" });
});

test("a main process that is not there is what waitReady, forward and a pool say", async () => {
  const none = small().run("/bin/nosuch");
  await using vm = await none.build();
  await vm.exited;
  const failure = { name: "BootError", code: "ENOENT", message: expect.stringContaining("/bin/nosuch") };
  await expect(agentOf(vm)).rejects.toMatchObject(failure);
  await expect(vm.forward(80)).rejects.toMatchObject(failure);
  const failures = Promise.withResolvers<Error>();
  await using pool = Capsa.pool(none, 1, { onFailure: failures.resolve });
  const reserved = pool.reserve().then(
    () => "handed out",
    () => "closed",
  );
  expect(await failures.promise).toMatchObject(failure);
  await pool.close();
  expect(await reserved).toBe("closed");
});
