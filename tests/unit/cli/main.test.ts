import { describe, expect, test } from "bun:test";
import { mkdir, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import pkg from "../../../package.json" with { type: "json" };
import { capsa, MAIN, scratch } from "./capsa.ts";

const VERBS = [
  "up",
  "exec",
  "shell",
  "ps",
  "logs",
  "network",
  "learn",
  "down",
  "init",
  "doctor",
  "check",
  "schema",
  "kernel",
];

describe("the command line", () => {
  test("--version", async () => {
    expect(await capsa(["--version"])).toEqual({ exitCode: 0, stdout: `${pkg.version}\n`, stderr: "" });
  });

  test("--help lists every verb, and every verb has help of its own", async () => {
    const { exitCode, stdout } = await capsa(["--help"]);
    expect(exitCode).toBe(0);
    for (const verb of VERBS) {
      expect(stdout).toMatch(new RegExp(`^  ${verb} `, "m"));
      const own = await capsa([verb, "--help"]);
      expect(own).toMatchObject({ exitCode: 0, stderr: "" });
      expect(own.stdout).toStartWith(`Usage: capsa ${verb}`);
    }
  });

  test("without a verb: help on stderr, exit code 2", async () => {
    const { exitCode, stdout, stderr } = await capsa([]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toContain("Usage: capsa");
  });

  test.each<[args: string[], ...said: string[]]>([
    [["upp"], "unknown command 'upp'", "Did you mean up?"],
    [["ps", "--jsn"], "unknown option '--jsn'", "Did you mean --json?"],
    [["exec"], "missing required argument 'name'"],
    [["exec", "box"], "give a command", "`capsa shell box`"],
    [["exec", "box", "--attach", "1", "--", "true"], "--attach takes only -i and -t"],
    [["exec", "box", "--attach", "0"], "`capsa ps NAME`"],
    [["exec", "--memory", "64", "box", "true"], '"64M"'],
    [["exec", "--cpus", "0", "box", "true"], "above 0"],
    [["exec", "--pids", "-1", "box", "true"], "at least 1"],
    [["exec", "-t", "box", "true"], "-t needs a terminal"],
    [["exec", "-it", "box", "--attach", "1"], "-t needs a terminal"],
    [["shell", "box"], "-t needs a terminal"],
    [["exec", "box", "ls", "-l"], "unknown option '-l'", "after --"],
    [["exec", "--timeout", "5", "box", "true"], '"30s"'],
    [["exec", "-e", "=x", "box", "true"], "KEY=VALUE"],
    [["exec", "-e", "CAPSA_NOT_SET_ANYWHERE", "box", "true"], "is not set here"],
    [["up", "--json", "--tap", "-f", "capsa.toml.example"]],
    [["up", "--report", "junt=x.xml"], 'no format "junt"', 'did you mean "junit"?'],
    [["up", "--report", "junit"], "which file?", "--report junit=FILE"],
    [
      ["up", "--report", "junit=src", "-f", "examples/python/capsa.toml"],
      "src cannot be written",
      "directory",
    ],
    [
      ["up", "--report", "tap=/tmp/x", "--report", "json=/tmp/../tmp/x", "-f", "examples/python/capsa.toml"],
      "two reports cannot go to /tmp/../tmp/x",
    ],
    [["up", "--report", "tap=no/such/x", "-f", "examples/python/capsa.toml"], "no/such/x cannot be written"],
    [["down", "--all", "box"], "--all and names"],
    [["init", "pyton"], 'did you mean "python"?'],
    [["init", "rust"], "there are: hello, python, build, agent"],
    [["up", "-f", "capsa.toml.example", "analysys"], 'did you mean "analysis"?'],
    [["up", "-f", "none.toml"], "there is no none.toml", "capsa init"],
    [["check", "examples/python"], "is a directory", "examples/python/capsa.toml"],
  ])("%j is refused with exit code 2", async (args, ...said) => {
    const { exitCode, stdout, stderr } = await capsa(args);
    expect(exitCode).toBe(2);
    for (const words of said) expect(stderr).toContain(words);
    if (!args.includes("--json")) expect(stdout).toBe("");
  });

  test("an error is one JSON document with --json, and nothing else is printed", async () => {
    const cases: [args: string[], code: string][] = [
      [["check", "none.toml", "--json"], "CONFIG_UNREADABLE"],
      [["ps", "--json", "--nonsense"], "USAGE"],
      [["up", "--json", "-f", "capsa.toml.example", "nobody"], "ARGUMENTS"],
      [["down", "--json", "nobody-of-this-name"], "SANDBOX_NOT_FOUND"],
    ];
    for (const [args, code] of cases) {
      const { stdout, stderr, exitCode } = await capsa(args);
      expect(JSON.parse(stdout)).toMatchObject({ error: { code, message: expect.any(String) } });
      expect(stderr).toBe("");
      expect(exitCode).toBe(code === "SANDBOX_NOT_FOUND" ? 125 : 2);
    }
  });

  test("an argument that is not UTF-8 is refused, whoever it is for; one that has U+FFFD is none", async () => {
    const script = `"$0" "$1" exec nobody-of-this-name -- echo "$(printf "$2")"`;
    const said = async (word: string) => {
      const child = Bun.spawn(["sh", "-c", script, process.execPath, MAIN, word], { stderr: "pipe" });
      return [await child.stderr.text(), await child.exited];
    };
    expect(await said("a\\377b")).toEqual([expect.stringContaining('"a\ufffdb" is not UTF-8'), 2]);
    expect(await said("a\\357\\277\\275b")).toEqual([expect.stringContaining("no sandbox"), 125]);
  });

  test("--json behind -- belongs to the command", async () => {
    const { stdout, stderr } = await capsa(["exec", "nobody-of-this-name", "--", "x", "--json"]);
    expect(stdout).toBe("");
    expect(stderr).toContain('no sandbox "nobody-of-this-name"');
  });

  test("a reader that goes early ends it without a word", async () => {
    const child = Bun.spawn(
      ["bash", "-c", `set -o pipefail; "$0" "$1" schema | true`, process.execPath, MAIN],
      {
        stderr: "pipe",
      },
    );
    expect(await child.stderr.text()).toBe("");
    expect([0, 141]).toContain(await child.exited);
  });
});

describe("what nobody expected", () => {
  /** A command that goes on, in which a failure is let happen that nobody waits for. */
  async function fail(how: string, env: Record<string, string> = {}) {
    await using dir = await scratch();
    const preload = join(dir.path, "preload.ts");
    const wait = `if (process.listenerCount("unhandledRejection") === 0) return; clearInterval(timer);`;
    await writeFile(preload, `const timer = setInterval(() => { ${wait} ${how}; }, 1);\n`);
    const child = Bun.spawn([process.execPath, "--preload", preload, MAIN, "mcp"], {
      env: { ...process.env, CAPSA_DEBUG: undefined, ...env },
      stdin: "pipe",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { exitCode: await child.exited, stdout, stderr };
  }
  const said =
    "capsa: it is odd\n  this is a fault in capsa: please report it with the output of CAPSA_DEBUG=1\n";

  test.each([
    'Promise.reject(new Error("it is odd"))',
    'throw new Error("it is odd")',
    'Promise.reject("it is odd")',
  ])("%s ends the command with a sentence", async (how) => {
    expect(await fail(how)).toEqual({ exitCode: 125, stdout: "", stderr: said });
  });

  test("CAPSA_DEBUG=1 shows where", async () => {
    const { exitCode, stderr } = await fail('throw new Error("it is odd")', { CAPSA_DEBUG: "1" });
    expect(exitCode).toBe(125);
    expect(stderr).toMatch(/^capsa: Error: it is odd\n +at .*preload\.ts/);
  });
});

describe("on a full disk", () => {
  /** `capsa` with its stdout on a disk that is full, whatever it is sent. */
  async function full(args: readonly string[]) {
    const child = Bun.spawn(["sh", "-c", 'exec "$0" "$@" >/dev/full', process.execPath, MAIN, ...args], {
      stderr: "pipe",
    });
    const [exitCode, stderr] = await Promise.all([child.exited, child.stderr.text()]);
    return { exitCode, stderr };
  }
  const said = "capsa: stdout cannot be written to: ENOSPC: no space left on device, write\n";

  test("an error that should have been JSON is told on stderr", async () => {
    expect(await full(["schema"])).toEqual({ exitCode: 125, stderr: said });
    expect(await full(["check", "--json", "capsa.toml.example"])).toEqual({ exitCode: 125, stderr: said });
  });

  test("a long text beyond ASCII is one error, and no crash", async () => {
    await using directory = await scratch();
    const file = join(directory.path, "capsa.toml");
    await writeFile(file, `[sandbox.box]\n[[steps]]\nexec = "${"ü\ufffd".repeat(100_000)}"\n`);
    expect(await full(["check", "--json", file])).toEqual({ exitCode: 125, stderr: said });
  });
});

describe("check", () => {
  const wrong = "[sandbox.box]\nmemroy = 1\ncpus = 0\n";

  test("tells what a right file has", async () => {
    const { exitCode, stdout } = await capsa(["check", "examples/python/capsa.toml"]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(
      /^SANDBOX +CPUS +MEMORY +ROOTFS +SHARES\nanalysis +1 CPU +512 MiB +host +\/project \(ro\) \/output \(rw\)\n/,
    );
    expect(stdout).toContain("4 steps; the file is right");
  });

  test("tells the same to programs", async () => {
    const { stdout } = await capsa(["check", "examples/python/capsa.toml", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({
      file: join(process.cwd(), "examples/python/capsa.toml"),
      sandboxes: [{ name: "analysis", memoryMb: 512, rootfs: { kind: "host" } }],
      steps: [
        { verb: "exec", expect: { stdout: { matches: expect.stringContaining("^warmest") } } },
        {},
        {},
        {},
      ],
    });
  });

  test("tells every problem with its place", async () => {
    await using dir = await scratch();
    await writeFile(join(dir.path, "capsa.toml"), wrong);
    const { exitCode, stderr, stdout } = await capsa(["check"], { cwd: dir.path });
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: "" });
    expect(stderr).toContain("capsa.toml:2:1: sandbox.box.memroy: unknown key");
    expect(stderr).toContain("capsa.toml:3:8: sandbox.box.cpus");
    const { error } = JSON.parse((await capsa(["check", "--json"], { cwd: dir.path })).stdout);
    expect(
      error.problems.map(({ line, column }: { line: number; column: number }) => [line, column]),
    ).toEqual([
      [2, 1],
      [3, 8],
    ]);
  });
});

describe("init", () => {
  test.each(["hello", "python", "build", "agent"])(
    "%s writes a right capsa.toml and what it needs",
    async (template) => {
      await using dir = await scratch();
      const { exitCode, stderr } = await capsa(["init", template, "a/b"], { cwd: dir.path });
      expect(exitCode).toBe(0);
      expect(stderr).toContain("wrote a/b/capsa.toml");
      expect(stderr).toContain("next: cd a/b && capsa up");
      expect(await capsa(["check", "a/b/capsa.toml"], { cwd: dir.path })).toMatchObject({ exitCode: 0 });
    },
  );

  test("overwrites nothing", async () => {
    await using dir = await scratch();
    await writeFile(join(dir.path, "capsa.toml"), "# mine\n");
    const { exitCode, stderr } = await capsa(["init", "python"], { cwd: dir.path });
    expect(exitCode).toBe(2);
    expect(stderr).toContain("already has capsa.toml");
    expect(await readdir(dir.path)).toEqual(["capsa.toml"]);
    expect(await Bun.file(join(dir.path, "capsa.toml")).text()).toBe("# mine\n");
  });

  test("leaves nothing behind where it cannot write all of it, and what was there stays", async () => {
    await using dir = await scratch();
    await mkdir(join(dir.path, "output"));
    await writeFile(join(dir.path, "project"), "mine");
    const { exitCode, stderr } = await capsa(["init", "python"], { cwd: dir.path });
    expect([exitCode, stderr]).toEqual([125, expect.stringContaining(join(dir.path, "project"))]);
    expect((await readdir(dir.path, { recursive: true })).sort()).toEqual(["output", "project"]);
    await rm(join(dir.path, "output"), { recursive: true });
    expect(await capsa(["init", "python"], { cwd: dir.path })).toMatchObject({ exitCode: 125 });
    expect(await readdir(dir.path)).toEqual(["project"]);
  });

  test("writes to where no link leads", async () => {
    await using dir = await scratch();
    await symlink(join(dir.path, "elsewhere"), join(dir.path, "capsa.toml"));
    const { exitCode, stderr } = await capsa(["init", "hello"], { cwd: dir.path });
    expect(exitCode).toBe(2);
    expect(stderr).toContain("already has capsa.toml");
    expect(await readdir(dir.path)).toEqual(["capsa.toml"]);
  });
});

test("schema prints the JSON Schema", async () => {
  const { stdout, exitCode } = await capsa(["schema"]);
  expect(exitCode).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    $schema: expect.stringContaining("2020-12"),
    properties: { sandbox: {} },
  });
});

test("a table has aligned columns, wide characters included", async () => {
  const { formatTable } = await import("../../../src/cli/output.ts");
  expect(formatTable(["A", "BB"], [["日本", "x"], ["c"]])).toBe("A     BB\n日本  x\nc\n");
});
