/** A project that a hostile guest may write, and a user who goes on using `capsa` in it: what each trap comes to. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { initramfsPath } from "../../src/host/installation.ts";
import { cpio } from "../../src/image/cpio.ts";
import { type Agent, attach, type RunningSandbox, sandbox } from "../../src/index.ts";
import { capableDirectory } from "../unit/changes/staged.ts";
import { type Ended, ownRuntimeDirectory } from "../unit/cli/capsa.ts";
import { gone } from "../unit/guest/processes.ts";

const LAUNCHER = resolve(import.meta.dirname, "../../src/cli/capsa");
const SECRET = "the victim's own words";
/** OSC 52 and a title, C1, a turn of the direction of writing, a line of its own. */
const STEERING = "\x1b]52;c;aGk=\x07\x1b]0;t\x07\u009b31m\u202e\nforged";
// biome-ignore lint/suspicious/noControlCharactersInRegex: that none is there is what is looked for
const STEERS = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]/;

const before = process.env.XDG_STATE_HOME;
let top: string;
let state: string;
let project: string;
let victim: string;
let vm: RunningSandbox;
let agent: Agent;

/** The user's `capsa`, in the project unless said otherwise; killed where it hangs, which is exit code 137. */
async function capsa(args: string[], where = project, env: Record<string, string> = {}): Promise<Ended> {
  const child = Bun.spawn([LAUNCHER, ...args], {
    cwd: where,
    env: { ...process.env, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: 60_000,
    killSignal: "SIGKILL",
  });
  const [exitCode, stdout, stderr] = await Promise.all([
    child.exited,
    child.stdout.text(),
    child.stderr.text(),
  ]);
  return { exitCode, stdout, stderr };
}

/** The guest's root, in the project; it must get its way. */
async function guest(command: string): Promise<string> {
  const { exitCode, stdout, stderr } = await agent.exec(command, { cwd: "/project", timeoutMs: 60_000 });
  if (exitCode !== 0) throw new Error(`${command}: ${stderr}`);
  return stdout;
}

/** A program of the guest's, as a file. */
async function python(source: string, ...args: string[]) {
  return await agent.exec(["python3", "-", ...args], { stdin: source, cwd: "/project", timeoutMs: 60_000 });
}

/** Nothing of the victim's has changed, and no planted program has run. */
function unharmed(): void {
  expect(readdirSync(victim).sort()).toEqual(["private", "secret"]);
  expect(readFileSync(join(victim, "secret"), "utf8")).toBe(SECRET);
  expect(readdirSync(join(victim, "private"))).toEqual([]);
  expect(existsSync(join(top, "ran"))).toBe(false);
}

/** A file of sandboxes beside the project, which is the user's alone. */
function described(name: string, text: string): string {
  const path = join(top, name);
  writeFileSync(path, text);
  return path;
}

beforeAll(async () => {
  top = realpathSync(mkdtempSync(join(tmpdir(), "capsa-hostile-")));
  [project, victim] = [join(top, "project"), join(top, "victim")];
  state = capableDirectory();
  process.env.XDG_STATE_HOME = state;
  for (const path of ["project/.git/hooks", "project/node_modules", "project/sub", "victim/private", "kept"])
    mkdirSync(join(top, path), { recursive: true });
  writeFileSync(join(victim, "secret"), SECRET);
  writeFileSync(join(top, "kept/file"), "as it was\n");
  writeFileSync(
    join(project, "capsa.toml"),
    `[sandbox.box]
memory = "256M"
rootfs = "host"
network = { allow = ["allowed.example.org:443"] }
run = "exec sleep 1000000"
[[sandbox.box.shares]]
host = "."
guest = "/project"
mode = "rw"
protect = [".git/hooks", ".git/config", ".git/commondir"]
[[sandbox.box.shares]]
host = "../kept"
guest = "/kept"
mode = "transaction"
`,
  );
  expect(await capsa(["up", "-d"])).toMatchObject({ exitCode: 0 });
  vm = await attach("box");
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
}, 90_000);

afterAll(async () => {
  await agent?.close();
  await capsa(["down", "--all", "--grace", "1ms"]);
  if (before === undefined) delete process.env.XDG_STATE_HOME;
  else process.env.XDG_STATE_HOME = before;
  for (const path of [top, state]) rmSync(path, { recursive: true, force: true });
});

ownRuntimeDirectory(); // looked at after that

/** Verbs that a user types without thinking. */
const DAILY = [["ps"], ["ps", "box"], ["check"], ["metrics"], ["doctor"], ["logs", "box"], ["diff", "box"]];

test("settings, variables and paths for Bun that call a planted program: no verb obeys them", async () => {
  writeFileSync(join(project, "evil.ts"), `require("fs").writeFileSync("${top}/ran", "");`);
  await guest(`
    echo 'preload = ["${project}/evil.ts"]' >bunfig.toml
    printf '%s\\n' BUN_OPTIONS=--preload=${project}/evil.ts CAPSA_LIB_DIR=${project} CAPSA_QEMU=${project}/q \
      CAPSA_RUNTIME_DIR=${project}/run XDG_STATE_HOME=${project}/state >.env
    cp .env .env.local
    echo '{"compilerOptions":{"baseUrl":".","paths":{"*":["./evil.ts"]}}}' >tsconfig.json
    cp tsconfig.json jsconfig.json
    echo '{"imports":{"#x":"./evil.ts"},"workspaces":["sub"]}' >package.json
    for name in commander toml cbor-x diff picocolors; do
      mkdir -p node_modules/$name; cp evil.ts node_modules/$name/index.ts
      echo '{"main":"index.ts"}' >node_modules/$name/package.json
    done`);
  for (const verb of DAILY) expect([verb, (await capsa(verb)).exitCode]).toEqual([verb, 0]);
  unharmed();
});

test("the same as pipes that nobody writes to: no verb waits for them", async () => {
  await guest(`
    rm -f bunfig.toml .env .env.local tsconfig.json jsconfig.json package.json
    mkfifo bunfig.toml .env .env.local tsconfig.json jsconfig.json package.json .npmrc`);
  for (const verb of DAILY) expect([verb, (await capsa(verb)).exitCode]).toEqual([verb, 0]);
  await guest("rm -f bunfig.toml .env .env.local tsconfig.json jsconfig.json package.json .npmrc");
});

test("what describes its sandbox, and hooks of git, by nine ways: a read-only file system", async () => {
  for (const way of [
    "echo x >>capsa.toml",
    "rm capsa.toml",
    "echo >new && mv new capsa.toml",
    "mv capsa.toml aside",
    "ln capsa.toml alias",
    "ln -s /etc/passwd capsa.lock",
    "ln -s /bin/sh .git/hooks/pre-commit",
    "mv .git aside",
    "mkfifo .git/config",
  ]) {
    const { exitCode, stderr } = await agent.exec(way, { cwd: "/project" });
    expect([way, exitCode === 0, stderr]).toEqual([way, false, expect.stringContaining("Read-only")]);
  }
});

test("a capsa.toml beside the file that `--file` named, for the next `up`: cannot be made or changed", async () => {
  for (const name of ["bare", "both"]) {
    mkdirSync(join(top, name));
    if (name === "both") writeFileSync(join(top, name, "capsa.toml"), "the user's\n");
    const file = described(
      `${name}/ci.toml`,
      `[sandbox.ci]
memory = "128M"
shares = [{ host = ".", guest = "/p", mode = "rw" }]
[[steps]]
exec = "cd /p; echo x >capsa.toml; echo x >n; mv n capsa.toml; ln -s n capsa.toml; echo x >ci.toml; echo x >free"
`,
    );
    expect(await capsa(["up", "-f", file])).toMatchObject({ exitCode: 0 });
    expect(readFileSync(join(top, name, "free"), "utf8")).toBe("x\n");
    expect(existsSync(join(top, name, "capsa.toml"))).toBe(name === "both");
    if (name === "both") expect(readFileSync(join(top, name, "capsa.toml"), "utf8")).toBe("the user's\n");
  }
});

test("reports to a pipe, a link and a linked directory: replaced, replaced, refused", async () => {
  const file = described("ok.toml", `[sandbox.ok]\nmemory = "128M"\n[[steps]]\nexec = "true"\n`);
  await guest(`
    mkfifo pipe.xml; ln -s ${victim}/secret link.xml; ln -s ${victim}/new dangling.xml
    ln -s ${victim} linked`);
  const reports = ["pipe.xml", "link.xml", "dangling.xml"].flatMap((name) => ["--report", `junit=${name}`]);
  expect(await capsa(["up", "-f", file, ...reports])).toMatchObject({ exitCode: 0 });
  for (const name of ["pipe.xml", "link.xml", "dangling.xml"])
    expect(lstatSync(join(project, name)).isFile()).toBe(true);
  const refused = await capsa(["up", "-f", file, "--report", "junit=linked/x.xml"]);
  expect(refused).toMatchObject({ exitCode: 2, stderr: expect.stringContaining("is a link") });
  unharmed();
});

test("`capsa init` into a directory that has become a link: refused", async () => {
  expect(await capsa(["init", "hello", "linked"])).toMatchObject({
    exitCode: 125,
    stderr: expect.stringContaining("is a link"),
  });
  unharmed();
});

test("a step's file and a secret that are links or pipes: not read, and nobody waits", async () => {
  await guest("mkfifo waiting");
  for (const [from, ofStep, ofSecret] of [
    ["project/linked/secret", /is a link/, /is a link/],
    ["project/waiting", /there is no file/, /not a regular file/],
  ] as const) {
    const write = described(
      "write.toml",
      `[sandbox.w]\nmemory = "128M"\n[[steps]]\nwrite = { file = "/x", from = "${from}" }\n`,
    );
    const written = await capsa(["up", "-f", write]);
    expect([written.exitCode, written.stdout]).toEqual([1, expect.stringMatching(ofStep)]);
    const secret = described(
      "secret.toml",
      `[sandbox.s]\nnetwork = { allow = [] }\nsecrets.T = { from = "file:${from}", hosts = ["a.example.org"] }\n`,
    );
    const { exitCode, stderr } = await capsa(["check", secret]);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(ofSecret)]);
  }
});

test("`capsa cp` out of and into links: refused; a pipe: refused; the whole project: links stay links", async () => {
  await guest(`test -p waiting || mkfifo waiting; test -L linked || ln -s ${victim} linked`);
  for (const ends of [
    ["linked/secret", "box:/tmp/"],
    ["waiting", "box:/tmp/"],
    ["box:/etc/passwd", "linked/"],
    ["box:/etc/.", "linked/private"],
  ]) {
    const { exitCode, stderr } = await capsa(["cp", ...ends]);
    expect([ends, exitCode, stderr]).toEqual([ends, 1, expect.stringMatching(/is a link|a fifo/)]);
  }
  expect(await capsa(["cp", ".", "box:/tmp/whole"])).toMatchObject({ exitCode: 0 });
  expect(await guest("readlink /tmp/whole/linked; ! cat /tmp/whole/linked/secret 2>&1")).toContain(victim);
  unharmed();
});

test("a directory that turns into a link and back while it is copied: nothing crosses", async () => {
  await guest(
    "mkdir -p race out/payload; echo mine >race/secret; echo planted >out/payload/planted; rm -f stop",
  );
  const swapping = agent.exec(
    [
      "python3",
      "-c",
      `
import ctypes, os
EXCHANGE, HERE, turns, swap = 2, -100, 0, ctypes.CDLL(None).renameat2
os.symlink("${victim}/private", "there"); os.symlink("${victim}", "back")
while not os.path.exists("stop"):
    for a, b in ((b"race", b"back"), (b"out", b"there")):
        turns += swap(HERE, a, HERE, b, EXCHANGE) == 0
print(turns)
`,
    ],
    { cwd: "/project" },
  );
  for (let round = 0; round < 15; round++) {
    await Promise.all([
      capsa(["cp", "race/secret", `box:/tmp/got${round}`]),
      capsa(["cp", "race/.", `box:/tmp/all${round}`]),
      capsa(["cp", "box:/project/sub/.", "out"]),
      agent.exec("mkdir -p sub; echo planted >sub/planted", { cwd: "/project" }),
    ]);
  }
  await guest("touch stop");
  expect(Number((await swapping).stdout)).toBeGreaterThan(30); // twice for each round
  expect(await guest("cat /tmp/got* /tmp/all*/* | sort -u")).toBe("mine\n");
  unharmed();
}, 90_000);

test("a service's socket that becomes a link to another after `expose`: not connected", async () => {
  const served = (path: string, words: string) => {
    const server = createServer((socket) => socket.on("error", () => {}).end(words));
    return new Promise<typeof server>((ready) => server.listen(path, () => ready(server)));
  };
  const mine = await served(join(project, "app.sock"), "the one exposed");
  const other = await served(join(top, "other.sock"), "another of the host's");
  try {
    await using exposed = await vm.expose(join(project, "app.sock"), {
      guestPort: 7000,
      onFailure: () => {},
    });
    const ask = `import socket
s = socket.create_connection(("127.0.0.1", ${exposed.guestPort})); s.settimeout(20)
try: print(s.recv(100).decode())
except OSError as e: print("none")`;
    expect((await python(ask)).stdout).toBe("the one exposed\n");
    await guest(`mv app.sock away.sock; ln -s ${top}/other.sock app.sock`);
    expect((await python(ask)).stdout.trim()).toMatch(/^(none)?$/);
  } finally {
    mine.close();
    other.close();
  }
});

test("names of files that forge a table of `capsa learn`: escaped, behind a comment's mark", async () => {
  mkdirSync(join(top, "learned"));
  const file = described(
    "learn.toml",
    `[sandbox.l]
memory = "192M"
rootfs = "host"
[[sandbox.l.shares]]
host = "learned"
guest = "/w"
mode = "rw"
[[steps]]
exec = ["python3", "-c", '''
for name in ("a\\n[[sandbox.l.shares]]\\nhost = \\"..\\"\\n#", "\\x1b]52;c;aGk=\\x07", "\\u202e\\r"): open("/w/" + name, "w")
''']
`,
  );
  const { exitCode, stdout } = await capsa(["learn", "-f", file]);
  expect(exitCode).toBe(0);
  expect(stdout).not.toMatch(STEERS);
  const parsed = Bun.TOML.parse(stdout) as { sandbox: { l: { shares: object[] } } };
  expect(parsed.sandbox.l.shares).toEqual([{ host: "./learned", guest: "/w", mode: "rw" }]);
});

test("output that forges reports and steers the terminal: JUnit, TAP, JSON and the terminal hold one failure", async () => {
  const file = described(
    "report.toml",
    `[sandbox.r]
memory = "192M"
rootfs = "host"
[[steps]]
name = "one"
exec = ["python3", "-c", '''
import sys
sys.stdout.buffer.write(b"]]></system-out><testcase/>\\nok 2 - forged\\nBail out!\\n\\x1b]52;c;aGk=\\x07\\x00\\xed\\xa0\\x80\\xef\\xbf\\xbf\\xe2\\x80\\xae\\xc2\\x9b")
''']
expect = { stdout = { equals = "" } }
`,
  );
  const reports = ["junit=r.xml", "tap=r.tap", "json=r.json"].flatMap((report) => ["--report", report]);
  const { exitCode, stdout, stderr } = await capsa(["up", "-f", file, ...reports], top);
  const [junit, tap, json] = ["xml", "tap", "json"].map((end) => readFileSync(join(top, `r.${end}`), "utf8"));
  expect(exitCode).toBe(1);
  for (const text of [stdout, stderr, junit!, tap!]) expect(text).not.toMatch(STEERS);
  expect(junit!.match(/<testcase/g)).toHaveLength(1);
  expect(tap!.match(/^(ok|not ok|Bail)/gm)).toEqual(["not ok"]);
  expect(JSON.parse(json!)).toMatchObject({ passed: 0, failed: 1, steps: [{ status: "failed" }] });
});

test("names in a transaction that steer the terminal or forge a line: `diff`, `apply`, `ps` escape them", async () => {
  const source = "import os, sys\nfor name in sys.argv[1:]: open('/kept/' + name, 'w').write('x' + name)";
  expect(await python(source, STEERING, "+++ b\nmodified")).toMatchObject({ exitCode: 0 });
  for (const verb of [["diff", "box", "--summary"], ["apply", "box"], ["ps"]]) {
    const { exitCode, stdout, stderr } = await capsa(verb);
    expect([verb, exitCode]).toEqual([verb, 0]);
    expect(stdout + stderr).not.toMatch(STEERS);
    expect(stdout + stderr).not.toMatch(/^(forged|modified$)/m);
  }
  expect(readdirSync(join(top, "kept")).sort()).toEqual([STEERING, "+++ b\nmodified", "file"].sort());
});

test("a file that is a link, and a file, by turns while it is applied: links are applied as links", async () => {
  const source = `import os, time
def planted(): open("/kept/n", "w").write("mine")
def link(): os.symlink("${victim}/secret", "/kept/n")
def directory(): os.makedirs("/kept/d", exist_ok=True); open("/kept/d/planted", "w").close()
def other(): os.remove("/kept/d/planted"); os.rmdir("/kept/d"); os.symlink("${victim}/private", "/kept/d")
def neither(): os.remove("/kept/d")
turns, end = 0, time.time() + 5
while time.time() < end:
    for make in (planted, link, directory, other, neither):
        try:
            make()
            if make in (planted, link): os.rename("/kept/n", "/kept/turn")
            turns += 1
        except OSError: pass
print(turns)`;
  const turning = python(source);
  let applied = 0;
  for (let over = false; !over; ) {
    over = await Promise.race([
      turning.then(() => true),
      capsa(["apply", "box", "--force"]).then(({ exitCode }) => {
        applied += Number(exitCode === 0);
        return false;
      }),
    ]);
    const turn = lstatSync(join(top, "kept/turn"), { throwIfNoEntry: false });
    if (turn?.isFile()) expect(readFileSync(join(top, "kept/turn"), "utf8")).not.toContain(SECRET);
  }
  expect(Number((await turning).stdout)).toBeGreaterThan(50);
  expect(applied).toBeGreaterThan(0);
  unharmed();
}, 60_000);

test("files of 100 GiB without a byte: copied in and out, compared and checked at once", async () => {
  await guest("truncate -s 100G sparse.toml; truncate -s 100G /kept/sparse");
  const began = performance.now();
  expect(await capsa(["cp", "sparse.toml", "box:/tmp/sparse"])).toMatchObject({ exitCode: 0 });
  expect(await capsa(["cp", "box:/tmp/sparse", join(top, "sparse")])).toMatchObject({ exitCode: 0 });
  expect(await capsa(["diff", "box"])).toMatchObject({ exitCode: 0 });
  expect(await capsa(["check", "sparse.toml"])).toMatchObject({ exitCode: 2 });
  expect(performance.now() - began).toBeLessThan(20_000);
  await guest("rm sparse.toml /kept/sparse");
});

test("a description that is a pipe: an error of the file, for each verb that reads one", async () => {
  await guest("mkfifo sub/capsa.toml");
  for (const verb of [
    ["check"],
    ["up"],
    ["up", "-d"],
    ["down"],
    ["learn"],
    ["network", "--explain", "a.example.org:443"],
  ])
    expect([verb, await capsa(verb, join(project, "sub"))]).toMatchObject([
      verb,
      { exitCode: 2, stderr: expect.stringContaining("not a regular file") },
    ]);
  await guest("rm sub/capsa.toml");
});

test("a QEMU and tools in the project's node_modules/.bin, which npm and npx put into PATH: not run", async () => {
  const names = [
    "qemu-system-x86_64",
    "qemu-system-aarch64",
    "readlink",
    "dirname",
    "sh",
    "bun",
    "node",
    "make",
    "git",
  ];
  await guest(`mkdir -p node_modules/.bin; for name in ${names.join(" ")}; do
    printf '#!/bin/sh\\ntouch ${top}/ran\\n' >node_modules/.bin/$name; chmod +x node_modules/.bin/$name; done`);
  const file = described("plain.toml", `[sandbox.plain]\nmemory = "128M"\n[[steps]]\nexec = "true"\n`);
  const PATH = `${project}/node_modules/.bin:${project}/linked:.:${process.env.PATH}`;
  for (const verb of [...DAILY, ["up", "-f", file]])
    expect([verb, (await capsa(verb, project, { PATH, CAPSA_ENGINE: "qemu" })).exitCode]).toEqual([verb, 0]);
  unharmed();
});

test("times before the epoch and beyond all calendars: copied, the latest as 2262", async () => {
  await guest("mkdir -p /tmp/times; cd /tmp/times; touch -d @-99999999999 early; touch -d @9999999999 late");
  const { exitCode, stderr } = await capsa(["cp", "box:/tmp/times", join(top, "times")]);
  expect([exitCode, stderr]).toEqual([0, expect.stringContaining("3 entries")]);
  expect(lstatSync(join(top, "times/late")).mtimeMs).toBeCloseTo(2 ** 63 / 1e6, -1);
});

test("commands whose words steer the terminal: `capsa ps NAME` escapes them, its JSON has them", async () => {
  await agent.spawn(["sh", "-c", "sleep 1000", STEERING], { detach: true });
  const { stdout } = await capsa(["ps", "box"]);
  expect(stdout).toContain("sleep 1000");
  expect(stdout).not.toMatch(STEERS);
  expect(stdout.trim().split("\n")).toHaveLength(2);
  const listed = JSON.parse((await capsa(["ps", "box", "--json"])).stdout);
  expect(listed).toMatchObject([{ argv: ["sh", "-c", "sleep 1000", STEERING] }]);
  await guest("pkill -f 'sleep 1000$'");
});

test("a program of a name that steers the terminal, killed for memory: told, escaped", async () => {
  const named = `import ctypes
ctypes.CDLL(None).prctl(15, b"\\x1b]0;t\\x07\\xe2\\x80\\xae\\nfor", 0, 0, 0)
hold = []
while True: hold.append(bytearray(b"x" * 4000000))`;
  const { exitCode, stdout, stderr } = await capsa([
    "exec",
    "--memory",
    "48M",
    "box",
    "--",
    "python3",
    "-c",
    named,
  ]);
  expect([exitCode, stdout + stderr]).toEqual([137, expect.stringContaining("memory")]);
  expect(stdout + stderr).not.toMatch(STEERS);
  expect(stdout + stderr).not.toMatch(/^for\b/m);
});

test("a console that ends a boot with words that steer the terminal: the error of the boot escapes them", async () => {
  const words = "\\033]52;c;aGk=\\007\\033]0;t\\007\\302\\233\\342\\200\\256 forged";
  const init = `#!/bin/sh\nprintf '${words}\\n' >/dev/console\nsleep 0.2\npoweroff -f\n`;
  const planted = cpio([{ path: "init", mode: 0o100755, data: Buffer.from(init) }]);
  writeFileSync(join(top, "initrd.cpio"), Buffer.concat([readFileSync(initramfsPath()), planted]));
  const file = described("boot.toml", `[sandbox.b]\nmemory = "128M"\ninitrd = "initrd.cpio"\n`);
  const { exitCode, stdout, stderr } = await capsa(["up", "-d", "-f", file]);
  expect([exitCode, stderr]).toEqual([125, expect.stringContaining("ended before it was ready")]);
  expect(stderr).toMatch(/^ {2}.*forged$/m);
  expect(stdout + stderr).not.toMatch(STEERS);
  expect((await capsa(["ps"])).stdout).not.toMatch(/^b /m);
});

test("connections to this machine's vsock ports: none is taken, and 500 at once leave the sandbox as it was", async () => {
  const source = `import socket
taken, held = [], []
for port in [*range(1, 60), 1024, 5000, 2375, 6000, 3631866867]:
    for cid in (0, 1, 2):
        s = socket.socket(socket.AF_VSOCK); s.settimeout(0.1)
        try: s.connect((cid, port)); taken.append((cid, port))
        except OSError: pass
        s.close()
for i in range(500):
    s = socket.socket(socket.AF_VSOCK); s.setblocking(False)
    try: s.connect((2, 40000 + i))
    except OSError: pass
    held.append(s)
print(taken)`;
  const { stdout, stderr } = await agent.exec(["sh", "-c", "ulimit -n 5000; exec python3 -"], {
    stdin: source,
  });
  expect([stdout, stderr]).toEqual(["[]\n", ""]);
  expect(await capsa(["exec", "box", "--", "echo", "well"])).toMatchObject({
    exitCode: 0,
    stdout: "well" + "\n",
  });
}, 90_000);

test("this machine by its loopback, its gateway and eight forms of IPv6: nothing is reached", async () => {
  using server = Bun.serve({ port: 0, hostname: "0.0.0.0", fetch: () => new Response("reached") });
  const source = `import socket, sys
for place in ("127.0.0.2", "10.0.2.2", "10.0.2.3", "0.0.0.0", "169.254.169.254", "fd63:6170:7361::2", "::ffff:127.0.0.1",
              "64:ff9b::7f00:1", "64:ff9b:1::7f00:1", "2002:7f00:1::", "::127.0.0.1", "::ffff:0:7f00:1", "fe80::5efe:7f00:1"):
    try:
        s = socket.create_connection((place, ${server.port}), 3); s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        print(place, s.recv(1000))
    except OSError: pass`;
  expect(await python(source)).toMatchObject({ stdout: "", exitCode: 0 });
}, 90_000);

test("names asked for that steer the terminal: `logs --network` escapes them, and is one line each", async () => {
  const source = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for label in (b"plain", b"\\x1b]52;c;aGk=\\x07", b"a\\nforged", b"\\xe2\\x80\\xae", b"\\xc2\\x9b31m"):
    s.sendto(b"\\x12\\x34\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0" + bytes([len(label)]) + label + b"\\x07example\\x03net\\0\\0\\x01\\0\\x01", ("10.0.2.3", 53))`;
  expect(await python(source)).toMatchObject({ exitCode: 0 });
  let log = "";
  for (let tries = 0; tries < 50 && !log.includes("plain.example.net"); tries++) {
    log = (await capsa(["logs", "--network", "box"])).stdout;
    await Bun.sleep(100);
  }
  expect(log).toContain("plain.example.net");
  expect(log).not.toMatch(STEERS);
  expect(log).not.toMatch(/^forged/m);
});

test("50 MB into the console and the kernel's log: this machine keeps a part, and `logs -f` rests after it", async () => {
  const said = await agent.exec(
    "for i in 1 2 3 4 5; do head -c 10000000 /dev/zero | tr '\\0' y >/dev/console; done; for i in $(seq 3000); do echo \"<0>$i $i\"; done >/dev/kmsg",
    { timeoutMs: 60_000 },
  );
  expect(said).toMatchObject({ exitCode: 0, stderr: "" });
  const run = process.env.CAPSA_RUNTIME_DIR!;
  const held = Number((await Bun.$`du -sk ${run}`.text()).split("\t")[0]);
  expect(held).toBeLessThan(64 * 1024);
  const child = Bun.spawn([LAUNCHER, "logs", "-f", "box"], {
    env: process.env,
    stdout: "ignore",
    stderr: "ignore",
  });
  await Bun.sleep(4_000);
  expect([child.exitCode, child.signalCode]).toEqual([null, null]);
  child.kill("SIGKILL");
  await child.exited;
  expect(Number(child.resourceUsage()!.cpuTime.total) / 1e6).toBeLessThan(2);
}, 90_000);

test("a model's `read` of a pipe, of /dev/zero and of /proc/kmsg, a `download` onto a link: answered in time, refused", async () => {
  const [results, transport] = [
    join(project, "results"),
    new StdioClientTransport({
      command: LAUNCHER,
      args: [
        "mcp",
        "--share",
        `${project}:/p:rw`,
        "--downloads",
        join(project, "results"),
        "--exec-timeout",
        "5s",
      ],
      env: process.env as Record<string, string>,
      cwd: project,
      stderr: "ignore",
    }),
  ];
  mkdirSync(results);
  const client = new Client({ name: "test", version: "1" });
  await client.connect(transport);
  try {
    const use = (name: string, given: Record<string, unknown>) => client.callTool({ name, arguments: given });
    const { structuredContent } = await use("create", {});
    const { sandbox: name } = structuredContent as { sandbox: string };
    await use("exec", {
      sandbox: name,
      command: `set -e; cd /p; mkfifo pipe; ln -s ${victim}/private results/taken; echo planted >/tmp/taken`,
    });
    expect(lstatSync(join(results, "taken")).isSymbolicLink()).toBe(true);
    const began = performance.now();
    for (const path of ["/p/pipe", "/proc/kmsg", "/dev/zero"]) {
      const answer = JSON.stringify(await use("read", { sandbox: name, path, encoding: "base64" }));
      expect(answer.length).toBeLessThan(1 << 20);
    }
    const waited = await use("exec", { sandbox: name, command: "cat /p/pipe" });
    expect(waited.structuredContent).toMatchObject({ timedOut: expect.stringContaining("5 s") });
    for (const [as, refused] of [
      ["taken", true],
      ["../taken", true],
      ["new", undefined],
    ] as const)
      expect([as, (await use("download", { sandbox: name, path: "/tmp/taken", name: as })).isError]).toEqual([
        as,
        refused,
      ]);
    expect(lstatSync(join(results, "taken")).isSymbolicLink()).toBe(true);
    expect(readdirSync(results).sort()).toEqual(["new", "taken"]);
    expect(performance.now() - began).toBeLessThan(30_000);
    unharmed();
  } finally {
    await client.close();
  }
}, 90_000);

/** Has the agent of "puppet", which is the guest's own by now, answer so from the next connection on. */
function answering(mode: string): void {
  writeFileSync(join(top, "strings/new"), mode);
  renameSync(join(top, "strings/new"), join(top, "strings/mode"));
}

test("a guest that puts a program in its agent's place: the sandbox is listed as before", async () => {
  mkdirSync(join(top, "strings"));
  copyFileSync(join(import.meta.dirname, "hostile_agent.py"), join(top, "strings/agent.py"));
  const file = described(
    "puppet.toml",
    `[sandbox.puppet]
memory = "192M"
rootfs = "host"
run = "exec sleep 1000000"
shares = [{ host = "strings", guest = "/strings", mode = "rw", cache = "never" }]
`,
  );
  expect(await capsa(["up", "-d", "-f", file])).toMatchObject({ exitCode: 0 });
  await capsa(["exec", "puppet", "--", "python3", "/strings/agent.py", "/strings/mode"]);
  for (let tries = 0; tries < 100 && !existsSync(join(top, "strings/mode.taken")); tries++)
    await Bun.sleep(100);
  expect(existsSync(join(top, "strings/mode.taken"))).toBe(true);
  answering("words");
  expect((await capsa(["ps"])).stdout).toMatch(/^puppet .* 192 MiB/m);
});

/** What the user types of such a sandbox. */
const ASKING = [
  ["ps", "puppet"],
  ["ps", "--json", "puppet"],
  ["exec", "puppet", "--", "true"],
  ["exec", "puppet", "--attach", "1"],
  ["cp", "puppet:/etc/passwd", "taken"],
  ["cp", "capsa.toml", "puppet:/tmp/"],
];

test.each([
  ["errors whose words steer the terminal", "words"],
  ["errors whose codes do", "code"],
  ["a million lists within one another", "deep"],
  ["a tag for a regular expression", "tags"],
  ["numbers that are none, exit codes of 41 bits, signals of any name", "numbers"],
  ["members named __proto__ and constructor", "prototype"],
  ["more processes than there may be", "many"],
])("its agent answers with %s: an error, one line, no file", async (_what, mode) => {
  answering(mode);
  for (const asked of await Promise.all(ASKING.map((words) => capsa(words)))) {
    expect([1, 125, 126, 127]).toContain(asked.exitCode);
    expect(asked.stdout + asked.stderr).not.toMatch(STEERS);
    expect(asked.stdout + asked.stderr).not.toMatch(/^forged/m);
  }
  const { stdout } = await capsa(["ps", "--json", "puppet"]);
  expect(JSON.parse(stdout)).toMatchObject({ error: { code: expect.stringMatching(/^[A-Z_]+$/) } });
  expect(existsSync(join(project, "taken"))).toBe(false);
});

test("its agent numbers what it left running as it likes: `exec -d` prints a number or an error", async () => {
  for (const mode of ["numbers", "prototype", "words"]) {
    answering(mode);
    const { stdout } = await capsa(["exec", "-d", "puppet", "--", "true"]);
    expect(stdout).toMatch(/^(\d+\n)?$/);
  }
});

test("its agent is silent, drips, floods, or sends garbage: `ps NAME` ends within 40 seconds, `metrics` soon", async () => {
  const asked: Promise<[string, Ended, number]>[] = [];
  for (const mode of ["silent", "mute", "drip", "flood", "garbage", "giant"]) {
    answering(mode);
    const began = performance.now();
    asked.push(capsa(["ps", "puppet"]).then((ended) => [mode, ended, performance.now() - began]));
    const { exitCode, stdout } = await capsa(["metrics", "puppet"]);
    expect([mode, exitCode, stdout]).toEqual([mode, 0, expect.stringMatching(/^puppet +running .* - {2}/m)]);
    expect(performance.now() - began).toBeLessThan(10_000);
  }
  for (const [mode, { exitCode, stderr }, took] of await Promise.all(asked)) {
    expect([mode, exitCode, stderr]).toEqual([
      mode,
      125,
      expect.stringMatching(/silent|no agent answered|lost/),
    ]);
    expect(took).toBeLessThan(40_000);
  }
}, 90_000);

test("its init stands still and its agent says nothing: `capsa down` ends it, and leaves no process", async () => {
  answering("silent");
  const [{ pid }] = JSON.parse((await capsa(["ps", "--json"])).stdout).filter(
    ({ name }: { name: string }) => name === "puppet",
  );
  const began = performance.now();
  expect(await capsa(["down", "puppet", "--grace", "1s"])).toMatchObject({ exitCode: 0 });
  expect(performance.now() - began).toBeLessThan(15_000);
  expect(await gone(pid)).toBe(true);
});

test("its kernel has panicked: `ps` and `down` know, and nothing waits", async () => {
  // no instruction, where init goes on at its next signal
  const source = `import os
open("/proc/sys/kernel/panic", "w").write("0")
memory = open("/proc/1/mem", "r+b", buffering=0)
memory.seek(int(open("/proc/1/syscall").read().split()[-1], 16))
memory.write(b"\\x0f\\x0b")
os.kill(1, 15)`;
  void python(source).catch(() => {}); // no answer comes
  const console = join(vm.runtimeDir, "console.log");
  for (let tries = 0; tries < 100 && !readFileSync(console, "utf8").includes("Kernel panic"); tries++)
    await Bun.sleep(100);
  expect(readFileSync(console, "utf8")).toContain("Kernel panic");
  const began = performance.now();
  const asked = capsa(["exec", "box", "--timeout", "3s", "--", "true"]);
  for (const verb of [["ps"], ["metrics"], ["logs", "box"]]) expect((await capsa(verb)).exitCode).toBe(0);
  expect(performance.now() - began).toBeLessThan(20_000);
  expect(await asked).toMatchObject({ exitCode: 125, stderr: expect.stringContaining("silent") });
  const asking = performance.now();
  await capsa(["down", "--all", "--grace", "1s"]);
  expect(performance.now() - asking).toBeLessThan(15_000);
  expect(JSON.parse((await capsa(["ps", "--json"])).stdout)).toEqual([]);
  unharmed();
}, 90_000);
