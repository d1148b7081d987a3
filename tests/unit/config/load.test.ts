import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, symlinkSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Config, loadConfig, parseConfig } from "../../../src/config/load.ts";
import { ConfigError } from "../../../src/config/problem.ts";
import { ownBent, REFUSED } from "../host/bent.ts";

const MAIN = resolve(import.meta.dirname, "../../../src/cli/main.ts");

let dir: string;
let file: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "capsa-config-"));
  file = join(dir, "capsa.toml");
  await mkdir(join(dir, "src"));
  await mkdir(join(dir, "rootfs"));
  await writeFile(join(dir, "data.bin"), "x");
  await writeFile(join(dir, "secret"), "of one line\n");
  await writeFile(join(dir, "two-lines"), "of two lines\r\nInjected: header\n");
  await symlink("src", join(dir, "link"));
  await symlink("circle", join(dir, "circle"));
});
afterAll(() => rm(dir, { recursive: true }));

const parse = (text: string): Config => parseConfig(text, file);

/** "line:column key" of each problem, and what is said. */
function problems(text: string): { at: string[]; said: string; error: ConfigError } {
  try {
    parse(text);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return {
      at: error.problems.map(({ line, column, key }) => `${line}:${column} ${key}`),
      said: error.message,
      error,
    };
  }
  throw new Error("the file was accepted");
}

describe("a right file", () => {
  test("has defaults for everything", () => {
    expect(parse("[sandbox.box]\n").sandboxes).toEqual([
      {
        name: "box",
        cpus: 1,
        memoryMb: 512,
        engine: "auto",
        confine: "auto",
        rootfs: { kind: "base" },
        shares: [],
        describedBy: [join(dir, "capsa.toml")],
        network: "none",
        env: {},
        bootTimeoutMs: 30_000,
      },
    ]);
  });

  test("is read whole", () => {
    const { sandboxes, steps } = parse(`
      [sandbox.box]
      cpus = 4
      memory = "2G"
      engine = "qemu"
      confine = "require"
      rootfs = "./rootfs"
      network = "none"
      env = { A = "1" }
      run = ["/bin/server", "-p", "1"]
      cwd = "/work"
      kernel = "data.bin"
      initrd = "./data.bin"
      bootTimeout = "1m"
      ttl = "8h"
      idleTimeout = "90s"
      [[sandbox.box.shares]]
      host = "src"
      guest = "/work//src/"
      mode = "rw"
      ownership = { uids = [{ guest = 0, host = 1000, count = 1 }], gids = [{ guest = 0, host = 100, count = 2 }] }
      cache = "never"
      locks = "guest"
      protect = [".git/hooks", "./a/"]
      [[sandbox.box.shares]]
      host = "link"
      guest = "/other"
      ownership = "caller"
      [[sandbox.box.shares]]
      host = "data.bin"
      guest = "/etc/data.bin"
      [[steps]]
      exec = "make"
      timeout = "90s"
      stdin = "in"
      env = { B = "2" }
      expect = { exitCode = 3, stdout = { equals = "x", contains = "y", matches = '^z$' }, stderr = { contains = ["a", "b"] } }
      [[steps]]
      name = "put it there"
      write = { file = "/a", text = "b", mode = "0755" }
      [[steps]]
      write = { file = "/c", from = "data.bin" }
      [[steps]]
      assert = { file = "/a", equals = "b" }
      [[steps]]
      exec = ["true"]
      cwd = "/elsewhere"
      expect = { exitCode = "any" }
    `);
    expect(sandboxes).toEqual([
      {
        name: "box",
        cpus: 4,
        memoryMb: 2048,
        engine: "qemu",
        confine: "require",
        rootfs: { kind: "directory", path: join(dir, "rootfs") },
        shares: [
          {
            host: join(dir, "src"),
            guest: "/work/src",
            mode: "rw",
            ownership: {
              mode: "map",
              uids: [{ guest: 0, host: 1000, count: 1 }],
              gids: [{ guest: 0, host: 100, count: 2 }],
            },
            cache: "never",
            locks: "guest",
            protect: [".git/hooks", "a"],
          },
          {
            host: join(dir, "link"),
            guest: "/other",
            mode: "ro",
            ownership: { mode: "caller" },
            cache: "auto",
          },
          {
            host: join(dir, "data.bin"),
            guest: "/etc/data.bin",
            mode: "ro",
            ownership: { mode: "root" },
            cache: "auto",
          },
        ],
        describedBy: [join(dir, "capsa.toml")],
        network: "none",
        env: { A: "1" },
        run: { argv: ["/bin/server", "-p", "1"], env: {}, cwd: "/work" },
        kernel: join(dir, "data.bin"),
        initrd: join(dir, "data.bin"),
        bootTimeoutMs: 60_000,
        ttlMs: 28_800_000,
        idleTimeoutMs: 90_000,
      },
    ]);
    expect(steps).toEqual([
      {
        verb: "exec",
        name: "make",
        sandbox: "box",
        timeoutMs: 90_000,
        line: 32,
        argv: ["/bin/sh", "-c", "make"],
        env: { B: "2" },
        cwd: "/work",
        stdin: "in",
        expect: {
          exitCode: 3,
          stdout: { equals: "x", contains: ["y"], matches: /^z$/mu },
          stderr: { contains: ["a", "b"] },
        },
      },
      {
        verb: "write",
        name: "put it there",
        sandbox: "box",
        timeoutMs: 600_000,
        line: 38,
        file: "/a",
        contents: { text: "b" },
        mode: 0o755,
      },
      {
        verb: "write",
        name: "write /c",
        sandbox: "box",
        timeoutMs: 600_000,
        line: 41,
        file: "/c",
        contents: { from: join(dir, "data.bin") },
        mode: 0o644,
      },
      {
        verb: "assert",
        name: "assert /a",
        sandbox: "box",
        timeoutMs: 600_000,
        line: 43,
        file: "/a",
        exists: true,
        match: { equals: "b" },
      },
      {
        verb: "exec",
        name: "true",
        sandbox: "box",
        timeoutMs: 600_000,
        line: 45,
        argv: ["true"],
        env: {},
        cwd: "/elsewhere",
        expect: { exitCode: "any" },
      },
    ]);
  });

  test("says which sandbox a step is for where there are several", () => {
    const { steps } = parse('[sandbox.a]\n[sandbox.b]\n[[steps]]\nsandbox = "b"\nexec = "x"');
    expect(steps.map(({ sandbox }) => sandbox)).toEqual(["b"]);
  });

  test("waits for one thing, by a command in the sandbox's directory", () => {
    const wait = (text: string) => `[[steps]]\nwait = { ${text} }\n`;
    const { steps } = parse(
      `[sandbox.a]\nrun = "x"\ncwd = "/c"\n${wait("port = 80")}every = "1s"\n${wait('line = "^a$"')}${wait('exec = "b"')}`,
    );
    const common = { verb: "wait", sandbox: "a", timeoutMs: 600_000 };
    expect(steps).toMatchObject([
      { ...common, name: "wait for port 80", until: { port: 80 }, everyMs: 1000 },
      { ...common, name: "wait for a line that matches /^a$/", until: { line: /^a$/mu }, everyMs: 250 },
      { ...common, name: "wait for success of b", until: { argv: ["/bin/sh", "-c", "b"], cwd: "/c" } },
    ]);
  });

  test("has limits for models, each with a default", () => {
    const limits = { maxSandboxes: 4, execTimeoutMs: 120_000, maxOutput: 65_536, maxDownload: 2 ** 30 };
    expect(parse("[sandbox.box]\n").mcp).toEqual(limits);
    const given =
      'maxSandboxes = 1\nexecTimeout = "5m"\nmaxOutput = "1K"\ndownloads = "src"\nmaxDownload = "1M"';
    expect(parse(`[sandbox.box]\n[mcp]\n${given}`).mcp).toEqual({
      maxSandboxes: 1,
      execTimeoutMs: 300_000,
      maxOutput: 1024,
      downloads: join(dir, "src"),
      maxDownload: 2 ** 20,
    });
  });

  test("may begin with a byte order mark", () => {
    expect(parse("\uFEFF[sandbox.box]\n").sandboxes).toHaveLength(1);
  });
});

describe("a wrong file", () => {
  const box = "[sandbox.box]\n";
  const share = (guest: string) => `[[sandbox.box.shares]]\nhost = "src"\nguest = "${guest}"\n`;
  test.each<[name: string, text: string, at: string[], ...said: string[]]>([
    [
      "unknown key",
      `${box}memroy = "1G"`,
      ["2:1 sandbox.box.memroy"],
      "sandbox.box.memroy: unknown key",
      'did you mean "memory"?',
    ],
    [
      "unknown key far from all",
      `${box}quux = 1`,
      ["2:1 sandbox.box.quux"],
      "known here: bootTimeout, confine, cpus",
    ],
    ["unknown table", `${box}[stepps]`, ["2:2 stepps"], 'did you mean "steps"?'],
    [
      "unknown key deep in a step",
      `${box}[[steps]]\nexec = "x"\nexpect = { exitcode = 1 }`,
      ["4:12 steps[1].expect.exitcode"],
      'did you mean "exitCode"?',
    ],
    [
      "key named like a property of every object",
      `${box}constructor = 1`,
      ["2:1 sandbox.box.constructor"],
      "unknown key",
    ],
    ["no sandbox", "", ["1:1 sandbox"], "sandbox: is missing"],
    ["empty sandbox table", "[sandbox]", ["1:2 sandbox"], "not an empty table"],
    ["sandbox that is no table", "sandbox = 3", ["1:11 sandbox"], "must be [sandbox.NAME] tables, not 3"],
    [
      "sandbox key without a name",
      '[sandbox]\nmemory = "1G"',
      ["2:10 sandbox.memory"],
      'must be a [sandbox.NAME] table, not "1G"',
    ],
    ["bad name", '[sandbox."My Box"]', ['1:10 sandbox."My Box"'], "is not a valid name", "small letters"],
    [
      "list where text belongs",
      `${box}memory = []`,
      ["2:10 sandbox.box.memory"],
      'such as "512M"',
      "not an empty list",
    ],
    ["size without a unit", `${box}memory = "512"`, ["2:10 sandbox.box.memory"], 'not "512"'],
    ["too little memory", `${box}memory = "8M"`, ["2:10 sandbox.box.memory"], 'from "40M"'],
    ["too much memory", `${box}memory = "9999G"`, ["2:10 sandbox.box.memory"], 'to "1024G"'],
    ["too many CPUs", `${box}cpus = 256`, ["2:8 sandbox.box.cpus"], "a whole number from 1 to 255, not 256"],
    ["half a CPU", `${box}cpus = 0.5`, ["2:8 sandbox.box.cpus"], "not 0.5"],
    [
      "word not in the list",
      `${box}engine = "kmv"`,
      ["2:10 sandbox.box.engine"],
      '"auto" or "kvm" or "qemu"',
      'did you mean "kvm"?',
    ],
    [
      "network that is not there",
      `${box}network = "nat"`,
      ["2:11 sandbox.box.network"],
      '"none", "user" or a table',
      'not "nat"',
    ],
    [
      "rule that is none",
      `${box}network = { allow = ["a.example", "b.example:x"] }`,
      ["2:35 sandbox.box.network.allow[2]"],
      "is not HOST",
      "rules look like",
    ],
    [
      "key of a network",
      `${box}network = { alow = [] }`,
      ["2:13 sandbox.box.network.alow"],
      'did you mean "allow"?',
    ],
    [
      "port that is none",
      `${box}[sandbox.box.network]\npublish = ["8080"]`,
      ["3:12 sandbox.box.network.publish[1]"],
      "is not [ADDRESS:]PORT:GUEST_PORT",
    ],
    [
      "private network of one sandbox",
      `${box}networks = ["backend", "fronted"]\n[sandbox.db]\nnetworks = ["backend"]\n[sandbox.web]\nnetworks = ["frontend"]`,
      ["2:24 sandbox.box.networks[2]", "6:13 sandbox.web.networks[1]"],
      'no other sandbox of this file is on the network "fronted"',
      'did you mean "frontend"?',
    ],
    [
      "private network twice",
      `${box}networks = ["backend", "backend"]\n[sandbox.db]\nnetworks = ["backend"]`,
      ["2:24 sandbox.box.networks[2]"],
      "is there already",
    ],
    [
      "name that no private network can have",
      `${box}networks = ["back end"]`,
      ["2:13 sandbox.box.networks[1]"],
      "the name of a network",
    ],
    ["duration without a unit", `${box}bootTimeout = "30"`, ["2:15 sandbox.box.bootTimeout"], '"30s"'],
    ["no time to live", `${box}ttl = "0s"`, ["2:7 sandbox.box.ttl"], 'from "1ms"'],
    ["a limit that is none", `${box}idleTimeout = "2000h"`, ["2:15 sandbox.box.idleTimeout"], 'to "1193h"'],
    ["no time at all", `${box}bootTimeout = "0s"`, ["2:15 sandbox.box.bootTimeout"], 'from "1ms"'],
    ["number in env", `${box}env = { A = 1 }`, ["2:13 sandbox.box.env.A"], "text in quotes"],
    ["name in env", `${box}env = { "A=B" = "1" }`, ['2:9 sandbox.box.env."A=B"'], "any text without ="],
    ["empty run", `${box}run = []`, ["2:7 sandbox.box.run"], "not an empty list"],
    ["number in run", `${box}run = ["a", 1]`, ["2:13 sandbox.box.run[2]"], "not 1"],
    ["relative cwd", `${box}cwd = "work"`, ["2:7 sandbox.box.cwd"], "an absolute path in the guest"],
    ["rootfs word", `${box}rootfs = "debian"`, ["2:10 sandbox.box.rootfs"], '"base", "host" or a directory'],
    ["missing rootfs", `${box}rootfs = "./none"`, ["2:10 sandbox.box.rootfs"], "is not there"],
    ["rootfs below a file", `${box}rootfs = "./data.bin/x"`, ["2:10 sandbox.box.rootfs"], "is not there"],
    ["rootfs in a circle", `${box}rootfs = "./circle"`, ["2:10 sandbox.box.rootfs"], "lead in a circle"],
    ["kernel with a long name", `${box}kernel = "${"n".repeat(256)}"`, ["2:10 sandbox.box.kernel"], "longer"],
    ["NUL in a path", `${box}initrd = "a\\u0000"`, ["2:10 sandbox.box.initrd"], "a path on the host"],
    ["NUL in rootfs", `${box}rootfs = "./a\\u0000"`, ["2:10 sandbox.box.rootfs"], "a directory such as"],
    ["NUL in run", `${box}run = ["a", "\\u0000"]`, ["2:13 sandbox.box.run[2]"], "without a NUL"],
    ["NUL in a shell command", `${box}[[steps]]\nexec = "\\u0000"`, ["3:8 steps[1].exec"], "a shell command"],
    [
      "NUL in the paths of a write",
      `${box}[[steps]]\nwrite = { file = "/\\u0000", from = "\\u0000" }`,
      ["3:18 steps[1].write.file", "3:36 steps[1].write.from"],
      "an absolute path in the guest",
    ],
    [
      "write from a circle",
      `${box}[[steps]]\nwrite = { file = "/a", from = "circle" }`,
      ["3:31 steps[1].write.from"],
      "lead in a circle",
    ],
    [
      "host path in a circle",
      `${box}[[sandbox.box.shares]]\nhost = "circle/a"\nguest = "/a"`,
      ["3:8 sandbox.box.shares[1].host"],
      "lead in a circle",
    ],
    [
      "changes that none can be",
      `${box}shares = [{ host = ".", guest = "/a", mode = "transaction" }]
[[steps]]\nassert = { changes = ["mode /a", "creatd /a", "created a", "renamed /a"] }`,
      [
        "4:34 steps[1].assert.changes[2]",
        "4:47 steps[1].assert.changes[3]",
        "4:60 steps[1].assert.changes[4]",
      ],
      'a change such as "created /project/a.txt", not "creatd /a"',
    ],
    ["missing kernel", `${box}kernel = "none"`, ["2:10 sandbox.box.kernel"], "is not there"],
    ["initrd that is a directory", `${box}initrd = "src"`, ["2:10 sandbox.box.initrd"], "is a directory"],
    [
      "missing host path",
      `${box}[[sandbox.box.shares]]\nhost = "none"\nguest = "/a"`,
      ["3:8 sandbox.box.shares[1].host"],
      "/none is not there",
      "relative paths start at /",
    ],
    [
      "paths that a shell would expand",
      `${box}kernel = "~/vmlinux"\nrootfs = "\${HOME}/root"\nshares = [{ host = "~", guest = "/a" }, { host = "./~", guest = "/b" }]
secrets.TOKEN = { from = "file:$HOME/token", hosts = ["a.example"] }
network = "user"\n[[steps]]\nwrite = { file = "/a", from = "/x/\${A}/y" }\n[mcp]\ndownloads = "~/x"`,
      [
        "2:10 sandbox.box.kernel",
        "3:10 sandbox.box.rootfs",
        "4:20 sandbox.box.shares[1].host",
        "4:50 sandbox.box.shares[2].host",
        "5:26 sandbox.box.secrets.TOKEN.from",
        "8:31 steps[1].write.from",
        "10:13 mcp.downloads",
      ],
      "`~` and variables are not expanded",
      'write the whole path; "./~/vmlinux" if that is its name',
    ],
    [
      "transaction of a file",
      `${box}[[sandbox.box.shares]]\nhost = "data.bin"\nguest = "/a"\nmode = "transaction"`,
      ["5:8 sandbox.box.shares[1].mode"],
      "of a directory",
      "share the directory it is in",
    ],
    [
      "share that is a device",
      `${box}[[sandbox.box.shares]]\nhost = "/dev/null"\nguest = "/a"`,
      ["3:8 sandbox.box.shares[1].host"],
      "is neither a directory nor a file",
      "share the directory it is in",
    ],
    [
      "id ranges that overlap",
      `${share("/a")}ownership = { uids = [{ guest = 0, host = 5, count = 3 }, { guest = 2, host = 9, count = 1 }], gids = [{ guest = 0, host = 5, count = 3 }] }`,
      ["4:59 sandbox.box.shares[1].ownership.uids[2]"],
      "overlap",
    ],
    [
      "locks of a transaction on the host",
      `${share("/a")}mode = "transaction"\nlocks = "host"`,
      ["5:9 sandbox.box.shares[1].locks"],
      "locks are the guest's",
      "leave it out",
    ],
    [
      "a size of a share that is only read",
      `${share("/a")}size = "1M"`,
      ["4:8 sandbox.box.shares[1].size"],
      "cannot add",
      "leave it out",
    ],
    [
      "protected paths that are not below the share",
      `${share("/a")}protect = ["a/b", "../c", "/d"]`,
      ["4:19 sandbox.box.shares[1].protect[2]", "4:27 sandbox.box.shares[1].protect[3]"],
      "no path below the directory",
      "share it read-only",
    ],
    [
      "something below a file to protect",
      `${box}[[sandbox.box.shares]]\nhost = "data.bin"\nguest = "/a"\nmode = "rw"\nprotect = ["a"]`,
      ["6:11 sandbox.box.shares[1].protect"],
      "a single file has no paths below it",
    ],
    ["NUL in a text", `${box}env = { A = "\\u0000" }`, ["2:13 sandbox.box.env.A"], "NUL"],
    [
      "share without guest",
      `${box}[[sandbox.box.shares]]\nhost = "src"`,
      ["2:15 sandbox.box.shares[1].guest"],
      "sandbox.box.shares[1].guest: is missing",
    ],
    [
      "same guest path",
      box + share("/a") + share("/a/"),
      ["7:9 sandbox.box.shares[2].guest"],
      "two shares are mounted on /a",
    ],
    [
      "guest path hidden by dots",
      box + share("/a") + share("/x/../a"),
      ["7:9 sandbox.box.shares[2].guest"],
      "two shares",
    ],
    ["guest root", box + share("/"), ["4:9 sandbox.box.shares[1].guest"], "rootfs ="],
    [
      "guest path the guest needs",
      box + share("/dev/x"),
      ["4:9 sandbox.box.shares[1].guest"],
      "capsa needs /dev in the guest",
    ],
    [
      "ownership word",
      `${box + share("/a")}ownership = "me"`,
      ["5:13 sandbox.box.shares[1].ownership"],
      '"root", "caller", "passthrough"',
    ],
    [
      "half an id map",
      `${box + share("/a")}ownership = { uids = [{ guest = 0, host = -1, count = 1 }] }`,
      ["5:1 sandbox.box.shares[1].ownership.gids", "5:43 sandbox.box.shares[1].ownership.uids[1].host"],
      "0 or more, not -1",
    ],
    [
      "step without a verb",
      `${box}[[steps]]\nname = "x"`,
      ["2:3 steps[1]"],
      "this step does nothing",
      'exec = "…", write = { … }',
    ],
    [
      "step with two verbs",
      `${box}[[steps]]\nexec = "x"\nassert = { file = "/a" }`,
      ["4:10 steps[1].assert"],
      "exec and assert",
    ],
    [
      "exec's key in another step",
      `${box}[[steps]]\nassert = { file = "/a" }\nstdin = "x"`,
      ["4:9 steps[1].stdin"],
      "stdin belongs to exec",
    ],
    [
      "step for no sandbox",
      `${box}[[steps]]\nsandbox = "bux"\nexec = "x"`,
      ["3:11 steps[1].sandbox"],
      'did you mean "box"?',
    ],
    [
      "step for any of several",
      `${box}[sandbox.two]\n[[steps]]\nexec = "x"`,
      ["3:3 steps[1]"],
      'add sandbox = "box"',
    ],
    [
      "step timeout",
      `${box}[[steps]]\nexec = "x"\ntimeout = "0ms"`,
      ["4:11 steps[1].timeout"],
      "must be greater than 0",
    ],
    [
      "step timeout that no timer takes",
      `${box}[[steps]]\nexec = "x"\ntimeout = "597h"`,
      ["4:11 steps[1].timeout"],
      "at most 596h",
    ],
    [
      "wait for nothing",
      `${box}[[steps]]\nwait = {}`,
      ["3:8 steps[1].wait"],
      "one of port, file, line, exec",
    ],
    [
      "wait for two things",
      `${box}[[steps]]\nwait = { port = 80, file = "/a" }`,
      ["3:28 steps[1].wait.file"],
      "port and file",
    ],
    ["wait for no port", `${box}[[steps]]\nwait = { port = 0 }`, ["3:17 steps[1].wait.port"], "1 to 65535"],
    [
      "wait for a line of nobody's",
      `${box}[[steps]]\nwait = { line = "a" }`,
      ["3:17 steps[1].wait.line"],
      "no main process",
    ],
    [
      "wait for a pattern that is none",
      `${box}run = "x"\n[[steps]]\nwait = { line = "(" }`,
      ["4:17 steps[1].wait.line"],
      "not a regular expression",
    ],
    [
      "wait without a pause",
      `${box}[[steps]]\nwait = { port = 80 }\nevery = "0ms"`,
      ["4:9 steps[1].every"],
      "greater than 0",
    ],
    [
      "wait's key in another step",
      `${box}[[steps]]\nexec = "x"\nevery = "1s"`,
      ["4:9 steps[1].every"],
      "every belongs to wait",
    ],
    [
      "bad pattern",
      `${box}[[steps]]\nexec = "x"\nexpect = { stdout = { matches = "(" } }`,
      ["4:33 steps[1].expect.stdout.matches"],
      "not a regular expression",
    ],
    [
      "empty expectation",
      `${box}[[steps]]\nexec = "x"\nexpect = { stdout = {} }`,
      ["4:21 steps[1].expect.stdout"],
      "this expects nothing",
    ],
    [
      "exit code",
      `${box}[[steps]]\nexec = "x"\nexpect = { exitCode = 256 }`,
      ["4:23 steps[1].expect.exitCode"],
      "0 to 255",
    ],
    [
      "contents of what is not there",
      `${box}[[steps]]\nassert = { file = "/a", exists = false, equals = "" }`,
      ["3:50 steps[1].assert.equals"],
      "must not exist",
    ],
    [
      "a transaction of files that are whoever looks's",
      `${box}[[sandbox.box.shares]]\nhost = "src"\nguest = "/a"\nmode = "transaction"\nownership = "caller"`,
      ["6:13 sandbox.box.shares[1].ownership"],
      "passthrough",
    ],
    [
      "an assertion of nothing",
      `${box}[[steps]]\nassert = { exists = true }`,
      ["3:10 steps[1].assert"],
      "changes = [",
    ],
    [
      "an assertion of changes where there are none to be",
      `${box}[[steps]]\nassert = { changes = [] }`,
      ["3:22 steps[1].assert.changes"],
      'mode = "transaction"',
    ],
    [
      "an assertion of a file and of changes",
      `${box}[[sandbox.box.shares]]\nhost = "src"\nguest = "/a"\nmode = "transaction"\n[[steps]]\nassert = { file = "/a", changes = [] }`,
      ["7:19 steps[1].assert.file"],
      "steps of their own",
    ],
    [
      "write of nothing",
      `${box}[[steps]]\nwrite = { file = "/a" }`,
      ["3:9 steps[1].write"],
      "the step does not say what to write",
    ],
    [
      "write of two things",
      `${box}[[steps]]\nwrite = { file = "/a", text = "", from = "data.bin" }`,
      ["3:42 steps[1].write.from"],
      "text and from",
    ],
    [
      "write of a directory",
      `${box}[[steps]]\nwrite = { file = "/a", from = "src" }`,
      ["3:31 steps[1].write.from"],
      "is a directory",
    ],
    [
      "write mode",
      `${box}[[steps]]\nwrite = { file = "/a", text = "", mode = "u+x" }`,
      ["3:42 steps[1].write.mode"],
      "octal",
    ],
    [
      "relative file",
      `${box}[[steps]]\nassert = { file = "a" }`,
      ["3:19 steps[1].assert.file"],
      "absolute path",
    ],
    ["date", `${box}cpus = 2024-01-01T00:00:00Z`, ["2:8 sandbox.box.cpus"], "not a date"],
    ["a limit of nothing", `${box}[mcp]\nmaxOutput = "0K"`, ["3:13 mcp.maxOutput"], 'from "1"'],
    [
      "a limit without an end",
      `${box}[mcp]\nexecTimeout = "25h"`,
      ["3:15 mcp.execTimeout"],
      'from "1ms" to "24h"',
    ],
    [
      "downloads into nowhere",
      `${box}[mcp]\ndownloads = "none"`,
      ["3:13 mcp.downloads"],
      "/none is not there",
    ],
    ["steps that are a table", `${box}[steps]\nexec = "x"`, ["2:2 steps"], "[[steps]] tables, not a table"],
  ])("%s", (_name, text, at, ...said) => {
    const found = problems(text);
    expect(found.at).toEqual(at);
    for (const words of said) expect(found.said).toContain(words);
    expect(found.error.code).toBe("CONFIG_INVALID");
  });

  test("tells everything at once, in order of lines, of shape and of meaning alike", () => {
    const found = problems(
      `${box}rootfs = "./none"\nmemroy = "1G"\n${share("/a") + share("/a")}[[steps]]\nexec = "x"\nwrite = { file = "/a", text = "" }\n[[steps]]\nexce = "x"`,
    );
    expect(found.at).toEqual([
      "2:10 sandbox.box.rootfs",
      "3:1 sandbox.box.memroy",
      "9:9 sandbox.box.shares[2].guest",
      "12:9 steps[1].write",
      "14:1 steps[2].exce",
    ]);
  });

  test("shows the line and marks the place, tabs and all", () => {
    expect(problems("[sandbox.box]\n\tcpus = 0").said).toBe(
      `${file}:2:9: sandbox.box.cpus: must be a whole number from 1 to 255, not 0\n  2 | \tcpus = 0\n    | \t       ^`,
    );
  });
});

describe("text that is not TOML", () => {
  test.each<[name: string, text: string, at: string, said: string]>([
    ["no value", "[sandbox.a]\ncpus = ", "2:8", "the file ends too early"],
    ["no value, more lines", "[sandbox.a]\ncpus = \nmemory", "2:8", "the line ends too early"],
    ["no quotes", "[sandbox.a]\nmemory = 1G", "2:11", '"G" cannot stand here'],
    ["open quote", '[sandbox.a]\nmemory = "1G\n', "2:13", "the line ends too early"],
    ["key twice", "[sandbox.a]\ncpus = 1\ncpus = 2", "3:1", '"sandbox.a.cpus" is defined twice'],
    ["table twice", "[sandbox.a]\n[sandbox.a]\n", "2:1", '"sandbox.a" is defined twice'],
    ["number too large", "[sandbox.a]\ncpus = 9007199254740993", "2:8", "9007199254740993"],
  ])("%s", (_name, text, at, said) => {
    const found = problems(text);
    expect(found.at).toEqual([`${at} `]);
    expect(found.said).toContain(said);
  });
});

describe("a file that cannot be read", () => {
  test("is not there", () => {
    expect(() => loadConfig(join(dir, "none.toml"))).toThrow(
      expect.objectContaining({ code: "CONFIG_UNREADABLE", hint: expect.stringContaining("capsa init") }),
    );
  });
  test("is a directory", () => {
    expect(() => loadConfig(dir)).toThrow(/is a directory/);
  });
  describe("is a link in a directory that a guest may write", () => {
    const bent = ownBent();
    const links = () => {
      symlinkSync(join(bent.outside, "secret"), join(bent.shared, "capsa.toml"));
      return ["capsa.toml", "way/secret"].map((name) => join(bent.shared, name));
    };
    test("nothing is read, and it is told what to do", () => {
      for (const path of links()) {
        const refused = expect.objectContaining({ ...REFUSED, hint: expect.stringContaining("remove it") });
        expect(() => loadConfig(path)).toThrow(refused);
        expect(() => loadConfig(path)).toThrow(ConfigError);
      }
    });
    test("as is a pipe, which nobody waits for", () => {
      Bun.spawnSync(["mkfifo", join(bent.shared, "fifo")]);
      expect(() => loadConfig(join(bent.shared, "fifo"))).toThrow(/not a regular file/);
    });
  });
  test("is not text", async () => {
    await writeFile(join(dir, "binary.toml"), new Uint8Array([0x61, 0xff, 0xfe]));
    expect(() => loadConfig(join(dir, "binary.toml"))).toThrow(/is not UTF-8/);
  });
});

describe("a file that is none of a disk", () => {
  test("a pipe of the user's is opened once, by a writer who waits for that", async () => {
    const fifo = join(dir, "capsa.fifo");
    Bun.spawnSync(["mkfifo", fifo]);
    for (let round = 0; round < 20; round++) {
      // one that is left behind by its reader has said the first in vain
      const write = `trap "" PIPE; echo '[sandbox.first]' >"$0" 2>/dev/null; echo '[sandbox.second]' >"$0"`;
      const writer = Bun.spawn(["sh", "-c", write, fifo], { stderr: "ignore" });
      while (!readFileSync(`/proc/${writer.pid}/stat`, "utf8").includes(") S ")) await Bun.sleep(1);
      try {
        expect(loadConfig(fifo).sandboxes[0]!.name).toBe("first");
      } finally {
        writer.kill("SIGKILL");
        await writer.exited;
      }
    }
  });
  test.each([
    ["/dev/stdin", 'cat "$0" | "$@" /dev/stdin'],
    ["a substitution", '"$@" <(cat "$0")'],
    ["a link", 'ln -s "$0" "$0.link"; "$@" "$0.link"'],
  ])("%s", async (_name, script) => {
    await writeFile(file, "[sandbox.box]\n");
    const { stdout, exitCode } = Bun.spawnSync(["bash", "-c", script, file, process.execPath, MAIN, "check"]);
    expect([exitCode, stdout.toString()]).toEqual([0, expect.stringContaining("box")]);
  });
});

describe("secrets", () => {
  const box = (secrets: string, network = "network = { allow = [] }") =>
    `[sandbox.box]\n${network}\n[sandbox.box.secrets.TOKEN]\n${secrets}`;
  const hosts = 'hosts = ["api.example.org"]';

  test("are read as references, a file from the directory of capsa.toml", () => {
    process.env.CAPSA_TEST_SECRET = "long enough";
    const { sandboxes } = parse(`${box(`from = "env:CAPSA_TEST_SECRET"\n${hosts}\nheader = "X-Key"`)}
      [sandbox.box.secrets.KEY]
      from = "file:secret"
      hosts = ["api.example.org:8443"]
    `);
    delete process.env.CAPSA_TEST_SECRET;
    expect(sandboxes[0]?.secrets).toEqual({
      TOKEN: { from: "env:CAPSA_TEST_SECRET", hosts: ["api.example.org"], header: "X-Key" },
      KEY: { from: `file:${join(dir, "secret")}`, hosts: ["api.example.org:8443"] },
    });
  });

  test("need not be there for those who start nothing", () => {
    const text = box(`from = "env:CAPSA_NONESUCH"\n${hosts}`);
    expect(parseConfig(text, file, { values: "unread" }).sandboxes).toHaveLength(1);
  });

  test("that cannot be had are told, all of them, with their places", () => {
    const { at, said } = problems(`${box(`from = "env:CAPSA_NONESUCH"\n${hosts}`)}
[sandbox.box.secrets.KEY]
from = "file:nonesuch"
${hosts}
[sandbox.box.secrets.TWO]
from = "file:two-lines"
${hosts}`);
    expect(at).toEqual([
      "4:8 sandbox.box.secrets.TOKEN.from",
      "7:8 sandbox.box.secrets.KEY.from",
      "10:8 sandbox.box.secrets.TWO.from",
    ]);
    expect(said).toContain("there is no CAPSA_NONESUCH in the environment");
    expect(said).toContain("export CAPSA_NONESUCH=");
    expect(said).toContain("nonesuch is not there");
    expect(said).toContain("contains a line break");
    expect(said).not.toContain("Injected");
  });

  test("are not waited for, nor read where they have no end", () => {
    Bun.spawnSync(["mkfifo", join(dir, "fifo")]);
    Bun.spawnSync(["truncate", "-s", "1T", join(dir, "large")]);
    const { at, said } = problems(`${box(`from = "file:fifo"\n${hosts}`)}
[sandbox.box.secrets.ZERO]
from = "file:/dev/zero"
${hosts}
[sandbox.box.secrets.LARGE]
from = "file:large"
${hosts}`);
    expect(at).toHaveLength(3);
    for (const words of [
      "fifo is not a regular file",
      "/dev/zero is not a regular file",
      "longer than 8192 bytes",
    ])
      expect(said).toContain(words);
  });

  const cases: [what: string, text: string, at: string, said: string][] = [
    [
      "an unknown place",
      box(`from = "vault:x"\n${hosts}`),
      "4:8 sandbox.box.secrets.TOKEN.from",
      '"env:NAME"',
    ],
    [
      "no host",
      box('from = "env:HOME"\nhosts = []'),
      "5:9 sandbox.box.secrets.TOKEN.hosts",
      "a list of hosts",
    ],
    [
      "an address",
      box('from = "env:HOME"\nhosts = ["a.example", "192.0.2.1:443"]'),
      "5:23 sandbox.box.secrets.TOKEN.hosts[2]",
      "is an IP address",
    ],
    [
      "a whole domain",
      box('from = "env:HOME"\nhosts = ["*.example:443"]'),
      "5:10 sandbox.box.secrets.TOKEN.hosts[1]",
      "more than one host",
    ],
    [
      "a header that is none",
      box(`from = "env:HOME"\n${hosts}\nheader = "a b"`),
      "6:10 sandbox.box.secrets.TOKEN.header",
      "not the name of a header",
    ],
    [
      "a header of the connection",
      box(`from = "env:HOME"\n${hosts}\nheader = "Host"`),
      "6:10 sandbox.box.secrets.TOKEN.header",
      "cannot hold a secret",
    ],
    ["no network", box(`from = "env:HOME"\n${hosts}`, ""), "3:14 sandbox.box.secrets", "has no network"],
    [
      "a variable of the same name",
      box(`from = "env:HOME"\n${hosts}`, 'network = "user"\nenv = { TOKEN = "x" }'),
      "4:22 sandbox.box.secrets.TOKEN",
      "a variable of that name",
    ],
  ];
  test.each(cases)("with %s are refused", (_what, text, at, said) => {
    const found = problems(text);
    expect(found.at).toEqual([at]);
    expect(found.said).toContain(said);
  });
});
