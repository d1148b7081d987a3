/** A file's sandboxes and steps from a program: what is refused before anything is started, and what a builder has of it. */

import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ArgumentError, Capsa, CapsaError, ConfigError } from "../../../src/index.ts";
import { capsa } from "../cli/capsa.ts";

const top = mkdtempSync(join(tmpdir(), "capsa-project-"));
afterAll(() => rmSync(top, { recursive: true }));
mkdirSync(join(top, "src"));

function write(name: string, text: string): string {
  writeFileSync(join(top, name), text);
  return join(top, name);
}

const box = '[sandbox.box]\nmemory = "128M"\nlabels = { team = "x" }\nrun = "sleep 60"\nnetworks = ["db"]\n';
const share = '[[sandbox.box.shares]]\nhost = "src"\nguest = "/src"\n';
const other = '[sandbox.other]\nnetworks = ["db"]\n';
const right = write("capsa.toml", `${box}${share}${other}[[steps]]\nexec = "true"\nsandbox = "other"\n`);

test("a file that is wrong is told as the command tells it, with each place", async () => {
  const file = write("wrong.toml", '[sandbox.box]\nmemroy = "1G"\n[[steps]]\nexce = "true"\n');
  const error = await Capsa.load(file).catch((thrown) => thrown);
  expect(error).toBeInstanceOf(ConfigError);
  expect(error).toBeInstanceOf(CapsaError);
  expect(error).toMatchObject({ code: "CONFIG_INVALID", file });
  expect(error.problems).toMatchObject([
    { line: 2, column: 1, key: "sandbox.box.memroy", hint: 'did you mean "memory"?' },
    { line: 4, key: "steps[1].exce", hint: 'did you mean "exec"?' },
  ]);
  const { stderr, exitCode } = await capsa(["up", "-f", file]);
  expect([stderr.trim(), exitCode]).toEqual([error.message, 2]);
  await expect(Capsa.load(join(top, "none.toml"))).rejects.toMatchObject({ code: "CONFIG_UNREADABLE" });
});

test("a sandbox of the file is a builder that goes on from there", async () => {
  const project = await Capsa.load(right);
  const file = project.sandboxes[0]!;
  expect(project.sandbox("box").spec()).toEqual(file);
  const changed = project
    .sandbox("box")
    .memoryMb("1G")
    .env({ A: "1" })
    .labels({ by: "me" })
    .share("./a", "/a");
  expect(changed.run("/bin/other", ["x"]).spec()).toEqual({
    ...file,
    memoryMb: 1024,
    env: { A: "1" },
    labels: { team: "x", by: "me" },
    shares: [file.shares[0]!, expect.objectContaining({ guest: "/a" })],
    run: { argv: ["/bin/other", "x"], env: {} },
  });
  expect(file.describedBy).toEqual([right]);
  expect(project.steps).toMatchObject([{ name: "true", sandbox: "other", verb: "exec" }]);
});

test("what the file has not, and options that there are not, are refused before anything starts", async () => {
  const project = await Capsa.load(right);
  const meant = (hint: string) => expect.objectContaining({ code: "ARGUMENTS", hint });
  expect(() => project.sandbox("bxo")).toThrow(meant('did you mean "box"?'));
  await expect(project.start({ sandboxes: ["othre"] })).rejects.toEqual(meant('did you mean "other"?'));
  await expect(project.up({ onSteps() {} } as object)).rejects.toEqual(meant('it has "onStep"'));
  await expect(project.start({ detach: true } as object)).rejects.toEqual(meant('it has "detached"'));
  await expect(project.up({ detached: true } as object)).rejects.toThrow(ArgumentError);
  await expect(project.up({ sandboxes: ["box"] })).rejects.toThrow("has no steps for these sandboxes");
});
