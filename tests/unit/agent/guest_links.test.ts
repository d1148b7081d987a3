/** Uploads and downloads by paths of this machine that a guest has bent: refused before the guest hears of anything. */
import { expect, test } from "bun:test";
import type { Agent } from "../../../src/agent/api.ts";
import { ownBent, REFUSED } from "../host/bent.ts";
import { FakeAgent } from "./fake.ts";

const bent = ownBent();

const cases: [what: string, call: (agent: Agent, shared: string) => Promise<unknown>][] = [
  ["a download through a link", (agent, shared) => agent.download("/x", `${shared}/way/x`)],
  ["a download into a link", (agent, shared) => agent.download("/x", `${shared}/way/`)],
  [
    "directories above a download",
    (agent, shared) => agent.download("/x", `${shared}/way/new/x`, { parents: true }),
  ],
  ["an upload through a link", (agent, shared) => agent.upload(`${shared}/way/secret`, "/x")],
  ["an upload of what is behind a link", (agent, shared) => agent.upload(`${shared}/way/`, "/x")],
];
for (const [what, call] of cases) {
  test(`${what} of a guest's`, async () => {
    await using fake = new FakeAgent(({ id }, peer) => peer.send({ id, ok: true, size: 0 }));
    const agent = await fake.connect();
    await expect(call(agent, bent.shared)).rejects.toMatchObject({ name: "HostFileError", ...REFUSED });
    expect(fake.received).toEqual([]);
  });
}
