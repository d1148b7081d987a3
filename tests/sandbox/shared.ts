/** One sandbox for a file of tests, with a directory of the host in it. */

import { afterAll, beforeAll } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, Capsa, MountMode, type RunningSandbox, sandbox } from "../../src/index.ts";

/** All of these are of the file that runs, and there from `beforeAll` on. */
export let vm: RunningSandbox;
export let agent: Agent;
/** On the host; /share in the guest. */
export let top: string;

/** One more connection to its agent. */
export const connect = () => sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));

/** To be called once at the top of a file of tests. */
export function shareSandbox(env: Record<string, string> = {}): void {
  beforeAll(async () => {
    top = mkdtempSync(join(tmpdir(), "capsa-shared-"));
    vm = await Capsa.sandbox()
      .memoryMb(256)
      .env(env)
      .share(top, "/share", MountMode.ReadWrite)
      .run("/bin/sleep", ["100000"])
      .build();
    agent = await connect();
  });
  afterAll(async () => {
    await agent?.close();
    await vm?.kill();
    rmSync(top, { recursive: true, force: true });
  });
}
