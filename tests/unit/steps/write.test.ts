/** `write` steps with files of this machine that a guest may have bent. */
import { expect, test } from "bun:test";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { runSteps } from "../../../src/steps/run.ts";
import { ownBent, REFUSED } from "../host/bent.ts";
import { fakeAgent } from "./fake_agent.ts";

const bent = ownBent();

async function write(from: string) {
  const agent = fakeAgent();
  const step = {
    verb: "write",
    name: "write",
    sandbox: "box",
    timeoutMs: 5000,
    file: "/a",
    contents: { from },
    mode: 0o600,
  } as const;
  const { steps } = await runSteps([step], new Map([["box", agent]]));
  return { result: steps[0]!, contents: agent.files.get("/a")?.contents };
}

test("what a guest's link leads to does not come into a guest", async () => {
  for (const name of ["file", "way/secret"]) {
    const { result, contents } = await write(join(bent.shared, name));
    expect(result).toMatchObject({ status: "failed", error: REFUSED });
    expect(contents).toBeUndefined();
  }
});

test("what the guest has made itself does, by a link of the user's as well", async () => {
  writeFileSync(join(bent.shared, "own"), "made by the guest");
  const link = join(bent.shared, "..", "link");
  symlinkSync("shared/own", link);
  for (const path of [join(bent.shared, "own"), link]) {
    const { result, contents } = await write(path);
    expect(result.status).toBe("passed");
    expect(Buffer.from(contents!).toString()).toBe("made by the guest");
  }
});
