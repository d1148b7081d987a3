/**
 * What people do with capsa of an afternoon, from the command line, with files as they would write them. Whatever a command
 * prints is held to the letter: nothing surprising is among it.
 */
import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { ownState } from "../../unit/changes/staged.ts";
import { ownRuntimeDirectory, scratch } from "../../unit/cli/capsa.ts";
import { peer, tag, usePeers } from "../network_machines.ts";

const CAPSA = resolve(import.meta.dirname, "../../../build/capsa");
ownRuntimeDirectory();
ownState();

/** A directory with these files, and copies of programs of ./afternoons. */
async function place(files: Record<string, string>, ...programs: string[]) {
  const directory = await scratch();
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(directory.path, path, ".."), { recursive: true });
    writeFileSync(join(directory.path, path), text);
  }
  for (const program of programs)
    copyFileSync(join(import.meta.dirname, "afternoons", program), join(directory.path, program));
  return directory;
}

/** As it is each time and on each machine, with words for times, counts and the guards that all networks have. */
function plain(text: string): string {
  return text
    .replace(/^capsa: engine qemu: .*\n/m, "")
    .replace(/\b\d+(\.\d+)? (ms|s|min)\b/g, "TIME")
    .replace(/ \((qemu|kvm)\) in TIME/g, " in TIME")
    .replace(/^\d{4}-\d\d-\d\dT[\d:]+Z/gm, "DATE")
    .replace(
      /^(deny {3}.*, which only a rule for it opens\)\n|deny {3}this machine's own .*\n)+/m,
      "GUARDED\n",
    )
    .replace(/^received \d.*/m, (line) => line.replace(/\d+/g, "COUNT"));
}

interface Said {
  readonly exitCode?: number;
  readonly stdout?: string;
  readonly stderr?: string;
}

/** Run it in `cwd`, to its end: it says just that. */
async function says(cwd: string, args: readonly string[], { exitCode = 0, stdout = "", stderr = "" }: Said) {
  const child = Bun.spawn([CAPSA, ...args], {
    cwd,
    env: process.env,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [code, out, err] = await Promise.all([child.exited, child.stdout.text(), child.stderr.text()]);
  const seen = { exitCode: code, stdout: plain(out), stderr: plain(err) };
  expect({ args, ...seen }).toEqual({ args, exitCode, stdout, stderr });
}

/** It says that, at the latest when what the guest has cached is old. */
async function seen(cwd: string, args: readonly string[], stdout: string): Promise<void> {
  const look = async () => {
    const child = Bun.spawn([CAPSA, ...args], {
      cwd,
      env: process.env,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    return `${await child.stdout.text()}${await child.stderr.text()}`;
  };
  let text = await look();
  for (const end = performance.now() + 20_000; text !== stdout && performance.now() < end; )
    text = await look();
  expect(text).toBe(stdout);
}

/** One that goes on; what it prints is read line by line. */
function goesOn(cwd: string, args: readonly string[]) {
  const child = Bun.spawn([CAPSA, ...args], {
    cwd,
    env: process.env,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const stderr = child.stderr.text();
  const lines = linesOf(child.stdout);
  return {
    lines,
    async line(): Promise<string> {
      const { value, done } = await lines.next();
      if (done) throw new Error(`${args.join(" ")} has ended: ${await stderr}`);
      return value;
    },
    /** Ctrl-C, as a terminal sends it; what was not read by then, and what it said on stderr. */
    async interrupt() {
      child.kill("SIGINT");
      const rest = await Array.fromAsync(lines);
      return { exitCode: await child.exited, rest, stderr: plain(await stderr) };
    },
    async end() {
      const rest = await Array.fromAsync(lines);
      return { exitCode: await child.exited, rest, stderr: plain(await stderr) };
    },
  };
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest) yield rest;
}

const NOBODY_RUNS = "NAME  ID  ENGINE  CPUS  MEMORY  PID  UP\n";
const runsOn = (name: string) =>
  `${name} is up in TIME\n` +
  `${name} runs on: capsa exec ${name} -- COMMAND, capsa logs ${name}, capsa down ${name}\n`;

test("an agent edits a repository: its owner looks, takes some, drops some, and edits meanwhile", async () => {
  await using dir = await place({
    "project/Makefile": "check:\n\t@./greet | grep -q '^hello$$' && echo fine\n",
    "project/greet": "#!/bin/sh\necho helo\n",
    "project/README": "It greets.\n",
    "project/LICENSE": "Do as you like.\n",
    "capsa.toml": `[sandbox.agent]
rootfs = "host"

[[sandbox.agent.shares]]
host = "./project"
guest = "/project"
mode = "transaction"
`,
  });
  const project = join(dir.path, "project");
  const git = (...args: string[]) => {
    const identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
    const { stdout, stderr } = Bun.spawnSync(["git", ...identity, ...args], { cwd: project });
    expect(stderr.toString()).toBe("");
    return stdout.toString();
  };
  chmodSync(join(project, "greet"), 0o755);
  git("init", "-q");
  git("add", ".");
  git("commit", "-q", "-m", "first");
  const inside = (script: string) => ["exec", "agent", "-w", "/project", "--", "sh", "-ec", script];
  await says(dir.path, ["up", "-d"], { stderr: runsOn("agent") });
  await says(dir.path, ["diff", "agent"], {});
  await says(
    dir.path,
    inside("sed -i s/helo/hello/ greet; mkdir build; make check >build/log; cat build/log"),
    {
      stdout: "fine\n",
    },
  );
  await says(dir.path, ["diff", "agent"], {
    stdout: `created /project/build/
created /project/build/log (5 bytes)
--- /dev/null
+++ b/project/build/log
@@ -0,0 +1,1 @@
+fine
modified /project/greet (20 to 21 bytes)
--- a/project/greet
+++ b/project/greet
@@ -1,2 +1,2 @@
 #!/bin/sh
-echo helo
+echo hello
`,
  });
  expect(git("status", "--porcelain")).toBe("");
  await says(dir.path, ["discard", "agent", "/project/build"], {
    stdout: "created /project/build/\ncreated /project/build/log\n",
  });
  await says(dir.path, ["apply", "agent"], {
    stdout: "modified /project/greet\n",
  });
  expect(git("status", "--porcelain")).toBe(" M greet\n");
  git("commit", "-q", "-a", "-m", "second");
  // the owner goes on with an editor, and the agent sees it
  writeFileSync(join(project, "README.new"), "It greets whoever asks.\n");
  renameSync(join(project, "README.new"), join(project, "README"));
  writeFileSync(join(project, "NEWS"), "spelling\n");
  await seen(dir.path, inside("cat README NEWS; ./greet"), "It greets whoever asks.\nspelling\nhello\n");
  // what was applied is the agent's to change again; what both change is told
  await says(
    dir.path,
    inside("echo 'echo bye' >>greet; mv LICENSE COPYING; echo And leaves. >>README; ./greet"),
    {
      stdout: "hello\nbye\n",
    },
  );
  writeFileSync(join(project, "README"), "It greets all.\n");
  await says(dir.path, ["diff", "--summary", "agent"], {
    stdout: `renamed /project/LICENSE to /project/COPYING
modified /project/README (15 to 36 bytes, CONFLICT: this machine has changed it since the sandbox started)
modified /project/greet (21 to 30 bytes)
`,
  });
  await says(dir.path, ["apply", "agent"], {
    exitCode: 1,
    stdout: "renamed /project/LICENSE to /project/COPYING\nmodified /project/greet\n",
    stderr:
      "capsa: /project/README is not applied: this machine has changed it since the sandbox started\n" +
      "  `capsa apply --force` takes the guest's side, `capsa discard` this machine's\n",
  });
  await says(dir.path, ["discard", "agent"], { stdout: "modified /project/README\n" });
  await says(dir.path, ["apply", "agent"], { stderr: "there is nothing to apply\n" });
  expect(readFileSync(join(project, "greet"), "utf8")).toBe("#!/bin/sh\necho hello\necho bye\n");
  expect(readFileSync(join(project, "README"), "utf8")).toBe("It greets all.\n");
  await says(dir.path, inside("ls; make check"), {
    stdout: "COPYING\nMakefile\nNEWS\nREADME\nbuild\ngreet\nfine\n",
  });
  await says(dir.path, ["down", "agent"], { stderr: "agent ended in TIME\n" });
  await says(dir.path, ["ps"], { stdout: NOBODY_RUNS });
}, 300_000);

test("a CI job: steps that pass, a change that breaks them, a report, and nothing left", async () => {
  await using dir = await place({
    "src/calc.py": "def add(a, b):\n    return a + b\n",
    "src/check.py":
      "import sys, calc\nseen = calc.add(1, 2)\nif seen != 3:\n    sys.exit(f'add(1, 2) is {seen}')\nprint('fine')\n",
    "capsa.toml": `[sandbox.ci]
rootfs = "host"

[[sandbox.ci.shares]]
host = "./src"
guest = "/src"
mode = "ro"

[[steps]]
name = "take the sources"
exec = "cp -r /src /tmp/work"

[[steps]]
name = "check them"
exec = ["python3", "check.py"]
cwd = "/tmp/work"
expect = { stdout = { equals = "fine\\n" } }

[[steps]]
name = "nothing else was written"
assert = { file = "/tmp/work/core", exists = false }
`,
  });
  await says(dir.path, ["check"], {
    stdout:
      "SANDBOX  CPUS   MEMORY   ROOTFS  SHARES\nci       1 CPU  512 MiB  host    /src (ro)\n3 steps; the file is right\n",
  });
  const job = ["up", "--keep-going", "--report", "junit=steps.xml"];
  await says(dir.path, job, {
    stdout:
      "✓ take the sources  TIME\n✓ check them  TIME\n✓ nothing else was written  TIME\n3 passed in TIME\n",
    stderr: "ci is up in TIME\n",
  });
  const report = () => readFileSync(join(dir.path, "steps.xml"), "utf8");
  expect(report()).toContain('<testsuites name="capsa" tests="3" failures="0" errors="0" skipped="0"');
  writeFileSync(join(dir.path, "src/calc.py"), "def add(a, b):\n    return a - b\n");
  await says(dir.path, job, {
    exitCode: 1,
    stdout: `✓ take the sources  TIME
✗ check them  TIME
    ${dir.path}/capsa.toml:13
    exit code
      expected  0
      seen      1
    stdout
      expected  equals "fine\\n"
      seen      ""
    stderr:
      add(1, 2) is -1
✓ nothing else was written  TIME
2 passed, 1 failed in TIME
`,
    stderr: "ci is up in TIME\n",
  });
  expect(report()).toContain('<testsuites name="capsa" tests="3" failures="1" errors="0" skipped="0"');
  expect(report()).toContain('<failure type="mismatch" message="exit code: expected 0, seen 1">');
  expect(readdirSync(dir.path).sort()).toEqual(["capsa.toml", "src", "steps.xml"]);
  await says(dir.path, ["ps"], { stdout: NOBODY_RUNS });
}, 300_000);

test("a developer: a server in the sandbox makes anew what an editor of this machine saves", async () => {
  await using dir = await place(
    {
      "site/pages/index.md": "# Home\n",
      "capsa.toml": `[sandbox.web]
rootfs = "host"
run = ["python3", "/serve.py"]

[[sandbox.web.shares]]
host = "./site"
guest = "/site"
mode = "rw"

[[sandbox.web.shares]]
host = "./serve.py"
guest = "/serve.py"
`,
    },
    "serve.py",
  );
  const up = goesOn(dir.path, ["up"]);
  expect(await up.line()).toBe("built index.md");
  expect(await up.line()).toBe("ready");
  const forward = goesOn(dir.path, ["forward", "web", "8000"]);
  const url = await forward.line();
  expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  const page = async (name: string) => (await fetch(`${url}/${name}`)).text();
  const pages = join(dir.path, "site/pages");
  /** An edit, what the server says of it, and what it then serves. */
  const edit = async (edit: () => void, told: string, name: string, text: string) => {
    edit();
    // one edit may be more than one event
    for (let line = await up.line(); ; line = await up.line()) {
      expect(["built", "gone"].map((what) => `${what} ${name}`)).toContain(line);
      if (line === told && (await page(name)) === text) return;
    }
  };
  expect(await page("index.md")).toBe("Title: Home\n");
  for (let turn = 0; turn < 3; turn++) {
    await edit(
      () => {
        writeFileSync(join(pages, ".index.md.new"), `# Saved ${turn}\n`);
        renameSync(join(pages, ".index.md.new"), join(pages, "index.md"));
      },
      "built index.md",
      "index.md",
      `Title: Saved ${turn}\n`,
    );
    await edit(
      () => writeFileSync(join(pages, "index.md"), `# In place ${turn}\n`),
      "built index.md",
      "index.md",
      `Title: In place ${turn}\n`,
    );
    await edit(
      () => writeFileSync(join(pages, "new.md"), "# New\n"),
      "built new.md",
      "new.md",
      "Title: New\n",
    );
    await edit(() => rmSync(join(pages, "new.md")), "gone new.md", "new.md", "no such page\n");
  }
  await says(dir.path, ["exec", "web", "--", "sh", "-c", "echo '# Of the sandbox' >/site/pages/own.md"], {});
  expect(await up.line()).toBe("built own.md");
  expect(readFileSync(join(pages, "own.md"), "utf8")).toBe("# Of the sandbox\n");
  expect(await forward.interrupt()).toEqual({ exitCode: 130, rest: [], stderr: "" });
  const ended = await up.interrupt();
  expect({ ...ended, rest: ended.rest.filter((line) => line !== "built own.md") }).toEqual({
    exitCode: 130,
    rest: [],
    stderr: "web is up in TIME\n",
  });
  await says(dir.path, ["ps"], { stdout: NOBODY_RUNS });
}, 300_000);

test("a database: its sandbox is killed, no order is lost, and the next one goes on", async () => {
  await using dir = await place(
    {
      "data/README": "orders\n",
      "capsa.toml": `[sandbox.shop]
rootfs = "host"
run = ["python3", "/writer.py"]

[[sandbox.shop.shares]]
host = "./data"
guest = "/data"
mode = "rw"

[[sandbox.shop.shares]]
host = "./writer.py"
guest = "/writer.py"
`,
    },
    "writer.py",
  );
  const check =
    "import sqlite3; database = sqlite3.connect('data/shop.db'); print(database.execute('pragma integrity_check')" +
    ".fetchall(), database.execute('select count(*), max(number) from orders').fetchone())";
  let last = 0;
  for (let turn = 0; turn < 2; turn++) {
    await says(dir.path, ["up", "-d"], { stderr: runsOn("shop") });
    const logs = goesOn(dir.path, ["logs", "-f", "shop"]);
    let line = await logs.line();
    expect(line).toBe(String(last + 1));
    while (Number(line) < last + 25) line = await logs.line();
    const ps = Bun.spawnSync([CAPSA, "ps", "--json"], { env: process.env });
    const [{ pid }] = JSON.parse(ps.stdout.toString());
    process.kill(pid, "SIGKILL");
    const { exitCode, rest, stderr } = await logs.end();
    expect([exitCode, stderr]).toEqual([0, ""]);
    const told = Number(rest.at(-1) ?? line);
    const looked = Bun.spawnSync(["/usr/bin/python3", "-c", check], { cwd: dir.path });
    expect(looked.stderr.toString()).toBe("");
    const [, count, most] = /^\[\('ok',\)\] \((\d+), (\d+)\)\n$/.exec(looked.stdout.toString())!.map(Number);
    expect(count).toBe(most!);
    expect(most).toBeGreaterThanOrEqual(told);
    last = most!;
    await says(dir.path, ["ps"], { stdout: NOBODY_RUNS });
  }
  await says(dir.path, ["up", "-d"], { stderr: runsOn("shop") });
  await says(dir.path, ["down", "shop"], { stderr: "shop ended in TIME\n" });
}, 300_000);

describe("with a server that is elsewhere", () => {
  const possible = usePeers();
  test.skipIf(!possible)(
    possible ? "a crawler: it gets what is allowed" : "a crawler, which needs root for network namespaces",
    async () => {
      await using dir = await place(
        {
          "www/index.html":
            '<a href="http://peer.test:8000/more.html"><a href="http://other.test:8000/ads.html">\n',
          "www/more.html":
            '<a href="http://198.51.100.3:8000/more.html"><a href="http://peer.test:8000/none">\n',
          "capsa.toml": `[sandbox.crawler]
rootfs = "host"

[[sandbox.crawler.shares]]
host = "./crawl.py"
guest = "/crawl.py"

[sandbox.crawler.network]
allow = ["peer.test:8000"]
nameServers = ["${peer}"]
`,
        },
        "crawl.py",
      );
      const server = Bun.spawn(
        [...["ip", "netns", "exec", `capsa-${tag}`], "/usr/bin/python3", "-um", "http.server", "8000"],
        { cwd: join(dir.path, "www"), stdout: "pipe", stderr: "ignore" },
      );
      try {
        const { value } = await linesOf(server.stdout).next();
        expect(value).toStartWith("Serving HTTP");
        await says(dir.path, ["up", "-d"], { stderr: runsOn("crawler") });
        const crawl = ["exec", "crawler", "--", "python3", "/crawl.py", "http://peer.test:8000/index.html"];
        const found = [
          "http://peer.test:8000/index.html: 85 bytes",
          "http://peer.test:8000/more.html: 83 bytes",
          "http://other.test:8000/ads.html: [Errno -3] Temporary failure in name resolution",
          "http://198.51.100.3:8000/more.html: [Errno 113] No route to host",
          "http://peer.test:8000/none: 404",
        ];
        await says(dir.path, crawl, { stdout: `${found.join("\n")}\n` });
        await says(dir.path, ["logs", "--network", "crawler"], {
          stdout:
            "DATE dns other.test refused: no rule allows the name; to allow it: other.test\n" +
            "DATE tcp 198.51.100.3:8000 refused: no rule allows it, and no allowed name has led there: the program has to look the name up in here; to allow it: 198.51.100.3:8000\n",
        });
        const explain = ["network", "crawler", "--explain"];
        await says(dir.path, [...explain, "other.test:8000"], {
          exitCode: 1,
          stdout:
            "other.test:8000 is refused: the name would not be resolved, so nothing is sent: no rule of allow is for it; " +
            'to allow it: allow = ["other.test:8000"]\n',
        });
        await says(dir.path, [...explain, "peer.test:8000"], {
          stdout: 'peer.test:8000 is allowed by the rule allow = ["peer.test:8000"]\n',
        });
        await says(dir.path, ["network", "crawler", "--allow", "other.test:8000"], {
          stdout: `GUARDED
allow  peer.test:8000
allow  other.test:8000
deny   everything else, names that no rule is for included
name servers: ${peer}
received COUNT packets (COUNT bytes), sent COUNT packets (COUNT bytes), of which COUNT were refused; COUNT of at most COUNT connections
`,
        });
        found[2] = "http://other.test:8000/ads.html: 404";
        found[3] = "http://198.51.100.3:8000/more.html: 83 bytes";
        await says(dir.path, crawl, { stdout: `${found.join("\n")}\n` });
        await says(dir.path, ["down", "crawler"], { stderr: "crawler ended in TIME\n" });
      } finally {
        server.kill();
        await server.exited;
      }
    },
    300_000,
  );
});
