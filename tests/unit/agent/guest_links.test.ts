/** Uploads and downloads by paths of this machine that a guest has bent: refused before the guest hears of anything. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Agent } from "../../../src/agent/api.ts";
import { rememberGuestDirectory } from "../../../src/host/guest_directories.ts";
import { ownState } from "../host/own_state.ts";
import { FakeAgent } from "./fake.ts";

ownState();
let top: string;

beforeEach(() => {
  top = realpathSync(mkdtempSync(join(tmpdir(), "capsa-links-")));
  mkdirSync(join(top, "shared"));
  mkdirSync(join(top, "outside"));
  writeFileSync(join(top, "outside/secret"), "secret");
  symlinkSync(join(top, "outside"), join(top, "shared/way"));
  const status = statSync(join(top, "shared"), { bigint: true });
  rememberGuestDirectory(status, { path: join(top, "shared"), sandbox: "box" });
});
afterEach(() => {
  const left = readdirSync(join(top, "outside"));
  rmSync(top, { recursive: true });
  expect(left).toEqual(["secret"]);
});

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
    await expect(call(agent, join(top, "shared"))).rejects.toMatchObject({
      name: "HostFileError",
      code: "GUEST_LINK",
      message: expect.stringContaining("where sandbox box may write"),
    });
    expect(fake.received).toEqual([]);
  });
}
