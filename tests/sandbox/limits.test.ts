/** Sandboxes whose time is limited: how they end, who is told, and what keeps them. */
import { describe, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { attach, Capsa, ended, sandbox } from "../../src/index.ts";
import { capsa, ownRuntimeDirectory, scratch } from "../unit/cli/capsa.ts";

const tag = process.pid.toString(36);
ownRuntimeDirectory();

const small = (name: string) => Capsa.sandbox().name(`${name}-${tag}`).memoryMb(128);

test("ttl ends it as a stop does: its main process is told, then all of it is gone", async () => {
  await using vm = await small("ttl")
    .ttl(2000)
    .run("/bin/sh", ["-c", "trap 'echo told; exit 3' TERM; while :; do sleep 0.1; done"])
    .build();
  const output = new Response(vm.stdout).text();
  expect(await vm.exited).toEqual({ reason: "ttl", exitCode: 3, signal: null });
  expect(await output).toBe("told\n");
});

test("a detached one ends too, and the exit is known to who follows and to who comes later", async () => {
  const vm = await small("detached").ttl(2000).run("/bin/sleep", ["infinity"]).build({ detached: true });
  await vm.ready;
  const other = await attach(vm.name);
  await vm.detach();
  const exit = { reason: "ttl", exitCode: null, signal: "SIGTERM" } as const;
  expect(await other.exited).toEqual(exit);
  expect((await ended()).find(({ id }) => id === vm.id)).toMatchObject({ exit, spec: { ttlMs: 2000 } });
});

describe("idleTimeout ends it", () => {
  const idleMs = 4000;
  const idle = { reason: "idle", exitCode: null, signal: "SIGTERM" } as const;

  test.concurrent("once no call is open, however long one was; looking at it is none", async () => {
    await using vm = await small("calls").idleTimeout(idleMs).run("/bin/sleep", ["infinity"]).build();
    const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
    expect((await agent.exec(`sleep ${idleMs / 1000 + 1}`)).exitCode).toBe(0);
    const look = () => Promise.all([vm.metrics(), agent.info(), agent.processes()]).then(() => true);
    while (await look().catch(() => false)) await Bun.sleep(100);
    expect(await vm.exited).toEqual(idle);
  }, 60_000);

  test.concurrent("once no stream is open", async () => {
    await using vm = await small("streams")
      .idleTimeout(idleMs)
      .run("/bin/sh", ["-c", "sleep 1000 | nc -l -p 9"])
      .build();
    const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
    await agent.exec("until grep -q ':0009 ' /proc/net/tcp*; do sleep 0.1; done");
    await using opening = await vm.forward(9);
    const socket = connect({ host: "127.0.0.1", port: opening.port });
    socket.on("error", () => {});
    const ended = await Promise.race([vm.exited, Bun.sleep(idleMs + 1000)]);
    expect(ended).toBeUndefined();
    socket.destroy();
    expect(await vm.exited).toMatchObject({ reason: "idle" });
  }, 60_000);
});

test("the command line says why it ended", async () => {
  await using dir = await scratch();
  await writeFile(join(dir.path, "capsa.toml"), '[sandbox.brief]\nmemory = "128M"\nttl = "1ms"\n');
  const { exitCode, stderr } = await capsa(["up"], { cwd: dir.path });
  expect(stderr).toContain("brief ended: its time to live (`ttl`) was over");
  expect(exitCode).toBe(0);
});
