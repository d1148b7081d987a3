/** An agent for a file of tests, and for each test a connection to it. */

import { afterAll, afterEach, beforeAll, beforeEach } from "bun:test";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type * as api from "../../../src/agent/api.ts";
import { connectAgent } from "../../../src/agent/client.ts";
import { Agent, build, type Connection } from "./agent.ts";

/** Of the file that runs; there from `beforeAll` and `beforeEach` on. */
export let agent: Agent;
export let host: Connection;

/** To be called once at the top of a file of tests. */
export function serve(): void {
  beforeAll(async () => {
    build();
    agent = await Agent.start();
  }, 300_000);
  afterAll(() => agent.stop());
  beforeEach(async () => {
    host = await agent.connect();
  });
  afterEach(() => host.close());
}

/** A fresh directory of each test; there once {@link servePlaces} was called at the top. */
export let place: string;
let places = 0;

export function servePlaces(): void {
  beforeEach(() => {
    place = join(agent.directory, `place-${places++}`);
    mkdirSync(place);
  });
}

/** In {@link place}. */
export const at = (name: string) => join(place, name);

/** Run a script there; what it printed. Throws what it complained of. */
export function sh(script: string): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(["bash", "-ec", script], { cwd: place, stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${script}: ${stderr}`);
  return stdout.toString();
}

/** The client of src/agent, of each test; there once {@link serveClients} was called at the top. */
export let client: api.Agent;

export function serveClients(): void {
  beforeEach(async () => {
    client = await connectAgent(join(agent.directory, "agent.sock"), { timeoutMs: 10_000 });
  });
  afterEach(() => client.close());
}

/** Close `host`, and let it be a new connection. */
export async function reconnect(): Promise<void> {
  host.close();
  host = await agent.connect();
}
