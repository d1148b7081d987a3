/** An agent for a file of tests, and for each test a connection to it. */

import { afterAll, afterEach, beforeAll, beforeEach } from "bun:test";
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

/** Close `host`, and let it be a new connection. */
export async function reconnect(): Promise<void> {
  host.close();
  host = await agent.connect();
}
