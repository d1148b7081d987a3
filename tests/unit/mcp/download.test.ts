/** A download of a model's into a directory that a guest has bent meanwhile: nothing is written, or told of what is there. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import type { Sandboxes } from "../../../src/mcp/sandboxes.ts";
import { download } from "../../../src/mcp/tools/download.ts";
import { FakeAgent } from "../agent/fake.ts";
import { ownBent, REFUSED } from "../host/bent.ts";

const bent = ownBent();

test("whatever name it is to have", async () => {
  await using fake = new FakeAgent(({ id }, peer) => peer.send({ id, ok: true, size: 0 }));
  const agent = await fake.connect();
  const sandboxes = { get: () => ({ agent }) } as unknown as Sandboxes;
  const { run } = download(join(bent.shared, "way"), 1000);
  const signal = new AbortController().signal;
  for (const name of ["new", "secret"])
    await expect(run({ sandbox: "box", path: "/x", name }, { sandboxes, signal })).rejects.toMatchObject(
      REFUSED,
    );
  expect(fake.received).toEqual([]);
});
