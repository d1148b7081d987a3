/** A pool of real sandboxes. */
import { expect, test } from "bun:test";
import { Capsa, list, sandbox } from "../../src/index.ts";
import { ownRuntimeDirectory, sandboxesIn } from "../unit/cli/capsa.ts";

const home = ownRuntimeDirectory();

test("each is ready, used once and replaced; closing leaves those that are reserved", async () => {
  const pool = Capsa.pool(Capsa.sandbox().name("pooled").memoryMb(128).run("/bin/sleep", ["infinity"]), 2);
  const [one, other] = await Promise.all([pool.reserve(), pool.reserve()]);
  for (const vm of [one, other]) {
    expect(vm.name).toMatch(/^pooled-[0-9a-f]{8}$/);
    expect(vm.timings).toBeDefined(); // it was ready before it was handed out
  }
  expect(one.name).not.toBe(other.name);
  const third = await pool.reserve();
  await pool.close();
  expect((await list()).map(({ name }) => name).sort()).toEqual(
    [one, other, third].map(({ name }) => name).sort(),
  );
  const again = await Capsa.attach(third.name);
  const agent = await sandbox.waitReady(again.vsockSocket(sandbox.agentPort()));
  expect((await agent.exec("hostname")).stdout).toBe(`${third.name}\n`);
  await Promise.all([one.kill(), other.kill(), third.kill()]);
  expect((await again.exited).reason).toBe("stopped");
  expect(await sandboxesIn(home)).toEqual([]);
});

test("what can never be is refused at once; closing while the first start is under way leaves nothing", async () => {
  expect(() => Capsa.pool(Capsa.sandbox().cpus(0).run("/bin/true"), 1)).toThrow("cpus");
  await Capsa.pool(Capsa.sandbox().memoryMb(128).run("/bin/sleep", ["infinity"]), 1).close();
  expect(await sandboxesIn(home)).toEqual([]);
});

test("ttl and idleTimeout begin with whoever reserves it, and hold when the program that started it lets go of it", async () => {
  const sleeping = Capsa.sandbox().memoryMb(128).run("/bin/sleep", ["infinity"]);
  await using lived = Capsa.pool(sleeping.name("lived").ttl("3s"), 1);
  await using idle = Capsa.pool(sleeping.name("idle").idleTimeout("1s"), 1);
  while (lived.ready === 0 || idle.ready === 0) await Bun.sleep(20);
  const waiting = (await list()).map(({ name }) => name);
  await Bun.sleep(4000); // longer than they live
  expect([lived.ready, idle.ready]).toEqual([1, 1]);
  const began = performance.now();
  const [one, other] = await Promise.all([lived.reserve(), idle.reserve()]);
  expect(waiting).toContain(one.name);
  expect(waiting).toContain(other.name);
  expect((await other.exited).reason).toBe("idle");
  const again = await Capsa.attach(one.name);
  await one.detach();
  expect((await again.exited).reason).toBe("ttl");
  expect(performance.now() - began).toBeGreaterThan(2900);
});
