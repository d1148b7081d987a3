/** Directories of the user's that are not there, or cannot be written. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { capsa, MAIN, ownRuntimeDirectory, sandboxesIn, scratch } from "../unit/cli/capsa.ts";

const home = ownRuntimeDirectory();
let directory: Awaited<ReturnType<typeof scratch>>;
/** No state can be kept there, whoever wants to: /proc takes no directories. */
const NOWHERE = { HOME: "/proc/nowhere", XDG_STATE_HOME: undefined, CAPSA_CACHE: cache() };

/** Of the kernel: its directory is found by HOME. */
function cache(): string {
  const { CAPSA_CACHE, XDG_CACHE_HOME, HOME } = process.env;
  return CAPSA_CACHE ?? join(XDG_CACHE_HOME ?? join(HOME ?? "/root", ".cache"), "capsa");
}

beforeAll(async () => {
  directory = await scratch();
  await writeFile(
    join(directory.path, "capsa.toml"),
    '[sandbox.box]\nmemory = "128M"\nrun = "echo begun; sleep infinity"\n',
  );
});
afterAll(() => directory[Symbol.asyncDispose]());

test("without a home that can be written a sandbox runs, and its start says what is not kept", async () => {
  const run = async (line: string) => {
    const ended = await capsa(line.split(" "), { cwd: directory.path, env: NOWHERE });
    return { line, ...ended };
  };
  const up = await run("up -d");
  expect(up).toMatchObject({ exitCode: 0 });
  expect(up.stderr).toMatch(/the logs of box will be gone once it has ended: .*; XDG_STATE_HOME may name/);
  for (const line of [
    "ps",
    "ps --json",
    "exec box -- true",
    "cp capsa.toml box:/tmp",
    "metrics",
    "diff",
    "doctor",
  ])
    expect(await run(line)).toMatchObject({ line, exitCode: 0 });
  expect(await run("logs box")).toMatchObject({ exitCode: 0, stdout: "begun\n" });
  expect(await run("down box --grace 100ms")).toMatchObject({ exitCode: 0 });
  const gone = await run("logs box");
  expect(gone).toMatchObject({ exitCode: 125 });
  expect(gone.stderr).toContain('no sandbox "box" is running');
});

test("without HOME the user's own home is taken", async () => {
  const env = { HOME: undefined, CAPSA_CACHE: cache(), XDG_STATE_HOME: join(directory.path, "state") };
  for (const line of ["up -d", "ps", "doctor", "down box --grace 100ms", "logs box"])
    expect(await capsa(line.split(" "), { cwd: directory.path, env })).toMatchObject({ exitCode: 0 });
});

const unshare = ["unshare", "--user", "--map-root-user", "--mount"];
const possible = Bun.spawnSync([...unshare, "true"]).exitCode === 0;

test.skipIf(!possible)(
  "a runtime directory that is full is told by its path, and nothing is left in it",
  async () => {
    for (const size of ["16k", "1m"]) {
      const script = `mount -t tmpfs -o size=${size},mode=700 none ${home} && "$@"; code=$?; ls ${home}; exit $code`;
      const child = Bun.spawn([...unshare, "sh", "-c", script, "sh", process.execPath, MAIN, "up", "-d"], {
        cwd: directory.path,
        env: process.env,
        stdin: "ignore",
        stdout: "pipe",
        stderr: "pipe",
      });
      const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
      expect(stderr).toContain(`capsa: the runtime directory ${home} cannot be written in: ENOSPC`);
      expect({ stdout, exitCode: await child.exited }).toEqual({ stdout: "", exitCode: 125 });
    }
    expect(await sandboxesIn(home)).toEqual([]);
  },
);
