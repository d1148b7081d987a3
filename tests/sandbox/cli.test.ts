/** The command line against real sandboxes. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Capsa } from "../../src/index.ts";
import { capsa, MAIN, ownRuntimeDirectory, sandboxesIn, scratch, start } from "../unit/cli/capsa.ts";

/** One table, 128 MiB: what is quick to boot. */
const box = (more = "") => `[sandbox.box]\nmemory = "128M"\n${more}\n`;

const home = ownRuntimeDirectory();

/** A stream's text as it comes. */
function reading(stream: ReadableStream<Uint8Array>) {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let seen = "";
  /** Reads until `text` has been seen, or to the end; gives all that was read so far. */
  return async (text?: string): Promise<string> => {
    while (text === undefined || !seen.includes(text)) {
      const { done, value } = await reader.read();
      if (done && text !== undefined) throw new Error(`ended before "${text}" was seen: ${seen}`);
      if (done) break;
      seen += decoder.decode(value, { stream: true });
    }
    return seen;
  };
}

async function write(text: string): Promise<{ path: string } & AsyncDisposable> {
  const dir = await scratch();
  await writeFile(join(dir.path, "capsa.toml"), text);
  return dir;
}

describe("up", () => {
  test("runs the steps, tells them and leaves nothing", async () => {
    await using dir = await scratch();
    await capsa(["init", "hello"], { cwd: dir.path });
    const { exitCode, stdout, stderr } = await capsa(["up", "--timings"], { cwd: dir.path });
    expect(stdout.match(/^✓ /gm)).toHaveLength(4);
    expect(stdout).toMatch(/^4 passed in /m);
    expect(stderr).toMatch(/^hello is up \((qemu|kvm)\) in /m);
    expect(stderr).toMatch(/start \d.*, kernel \d.*, init \d.*, mounts \d.*, agent \d/);
    expect(exitCode).toBe(0);
    expect(await sandboxesIn(home)).toEqual([]);
  });

  test("sandboxes of one file are on its networks, started one after the other; another run of it is apart", async () => {
    const member = (name: string) => `[sandbox.${name}]\nmemory = "128M"\nnetworks = ["backend"]\n`;
    const step = '[[steps]]\nsandbox = "client"\nexec = "hostname; ping -c 1 -W 30 -4 web"\n';
    await using dir = await write(member("web") + member("client"));
    const file = join(dir.path, "capsa.toml");
    for (const name of ["web", "client"])
      expect(await capsa(["up", "-d", "--file", file, name])).toMatchObject({ exitCode: 0 });
    const ping = ["exec", "client", "--", "ping", "-c", "1", "-W", "30", "-4", "web"];
    expect(await capsa(ping)).toMatchObject({ exitCode: 0 });
    await writeFile(file, member("web") + member("client") + step);
    const { exitCode, stderr } = await capsa(["up", "-v", "--file", file]);
    // "web" is of no step, and is there all the same; its name is the file's, whatever else it is called
    expect(stderr).toContain("web-2 is up");
    expect(stderr).toMatch(/^client-2\nPING web /m);
    expect(exitCode).toBe(0);
    expect(await capsa(["down", "web", "client"])).toMatchObject({ exitCode: 0 });
    expect(await sandboxesIn(home)).toEqual([]);
  });

  test("ends with 1 at a failed step and shows why", async () => {
    await using dir = await write(
      `${box()}[[steps]]\nexec = "echo one; echo two >&2; exit 3"\n[[steps]]\nassert = { file = "/none" }\n`,
    );
    const first = await capsa(["up"], { cwd: dir.path });
    expect(first.exitCode).toBe(1);
    expect(first.stdout).toContain("✗ echo one; echo two >&2; exit 3");
    expect(first.stdout).toContain("exit code\n      expected  0\n      seen      3\n");
    expect(first.stdout).toContain("stdout:\n      one\n    stderr:\n      two\n");
    expect(first.stdout).toContain("- assert /none  skipped");

    const all = await capsa(["up", "--keep-going", "--json"], { cwd: dir.path });
    expect(all.exitCode).toBe(1);
    expect(JSON.parse(all.stdout)).toMatchObject({
      sandboxes: [{ name: "box", timings: { totalMs: expect.any(Number) } }],
      steps: {
        passed: 0,
        failed: 2,
        skipped: 0,
        steps: [{ exitCode: 3 }, { mismatches: [{ expected: "exists" }] }],
      },
      exitCode: 1,
    });
  });

  test("without steps passes on what the main process prints and its exit code", async () => {
    await using dir = await write(box('run = "echo out; echo err >&2; printf end; exit 7"'));
    const { exitCode, stdout, stderr } = await capsa(["up"], { cwd: dir.path });
    expect(stdout).toBe("out\nend");
    expect(stderr).toContain("err\n");
    expect(exitCode).toBe(7);
  });

  test("passes it on from a main process that is over at once, and the first failure of several", async () => {
    await using dir = await write(
      '[sandbox.a]\nmemory = "128M"\nrun = "exit 3"\n[sandbox.b]\nmemory = "128M"\nrun = "printf x; sleep 1; echo y"\n',
    );
    const { exitCode, stdout } = await capsa(["up"], { cwd: dir.path });
    expect(stdout).toBe("b | xy\n");
    expect(exitCode).toBe(3);
  });

  test("says that the main process cannot be started", async () => {
    await using dir = await write(box('run = ["/no/such/program"]'));
    for (const args of [["up"], ["up", "-d"]]) {
      const { exitCode, stderr } = await capsa(args, { cwd: dir.path });
      expect(stderr).toContain("/no/such/program: No such file or directory");
      expect(exitCode).toBe(125);
    }
  });

  test("boots several, each step in its own, and reports as TAP, and into files", async () => {
    await using dir = await write(
      '[sandbox.a]\nmemory = "128M"\n[sandbox.b]\nmemory = "128M"\n[sandbox.unused]\nrootfs = "./"\n' +
        '[[steps]]\nsandbox = "a"\nexec = "hostname"\nexpect = { stdout = { equals = "a\\n" } }\n' +
        '[[steps]]\nsandbox = "b"\nexec = "hostname"\nexpect = { stdout = { equals = "b\\n" } }\n',
    );
    const files = ["--report", "junit=steps.xml", "--report", "tap=steps.tap"];
    const { exitCode, stdout, stderr } = await capsa(["up", "--tap", ...files], { cwd: dir.path });
    expect(stdout).toBe("TAP version 14\n1..2\nok 1 - hostname\nok 2 - hostname\n");
    expect(await Bun.file(join(dir.path, "steps.tap")).text()).toBe(stdout);
    expect(await Bun.file(join(dir.path, "steps.xml")).text()).toContain(
      '<testcase name="hostname" classname="b" file="capsa.toml" line="11"',
    );
    expect((await readdir(dir.path)).sort()).toEqual(["capsa.toml", "steps.tap", "steps.xml"]);
    expect(stderr).not.toContain("unused");
    expect(exitCode).toBe(0);
  });

  test("a main process beside those with steps may end when it likes", async () => {
    await using dir = await write(
      '[sandbox.main]\nmemory = "128M"\nrun = "true"\n[sandbox.b]\nmemory = "128M"\n' +
        '[[steps]]\nsandbox = "b"\nexec = "sleep 1; hostname"\n',
    );
    const { exitCode, stdout, stderr } = await capsa(["up", "main", "b"], { cwd: dir.path });
    expect(stderr).not.toContain("before its steps");
    expect(stdout).toContain("✓ sleep 1; hostname");
    expect(exitCode).toBe(0);
  });

  test("a main process that ends under the steps is told", async () => {
    await using dir = await write(
      `${box('run = "sleep 1; exit 9"')}[[steps]]\nexec = "sleep 60"\n[[steps]]\nexec = "true"\n`,
    );
    const { exitCode, stdout, stderr } = await capsa(["up"], { cwd: dir.path });
    expect(exitCode).toBe(1);
    expect(stdout).toContain("✗ sleep 60");
    expect(stdout).toContain("- true  skipped");
    expect(stderr).toContain("box ended: its main process exited with 9");
  });

  test.each<[phase: string, toml: string, seen: string]>([
    ["a step", `${box()}[[steps]]\nexec = "sleep 60"\n`, "box is up"],
    ["waiting", box(), "Ctrl-C ends it"],
    ["a main process", box('run = "sleep 60"'), "box is up"],
  ])("Ctrl-C in %s ends with 130 and leaves nothing", async (_phase, toml, seen) => {
    await using dir = await write(toml);
    const child = start(dir.path, ["up"]);
    await reading(child.stderr)(seen);
    expect(await sandboxesIn(home)).toHaveLength(1);
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
    expect(await sandboxesIn(home)).toEqual([]);
  });

  test("Ctrl-C at any time of a boot ends with 130 and leaves nothing", async () => {
    await using dir = await write(box());
    for (const delay of [100, 200, 300, 400, 500]) {
      const child = start(dir.path, ["up"]);
      await Bun.sleep(delay);
      child.kill("SIGINT");
      expect(await child.exited).toBe(130);
    }
    expect(await sandboxesIn(home)).toEqual([]);
  });

  test("kill -9 leaves nothing either", async () => {
    await using dir = await write(box());
    const child = start(dir.path, ["up"]);
    await reading(child.stderr)("box is up");
    child.kill("SIGKILL");
    await child.exited;
    const deadline = performance.now() + 2000;
    while ((await sandboxesIn(home)).length > 0 && performance.now() < deadline) await Bun.sleep(50);
    expect(await sandboxesIn(home)).toEqual([]);
  });

  test("runs twice at once from one file", async () => {
    await using dir = await write(`${box()}[[steps]]\nexec = "sleep 1"\n`);
    const both = await Promise.all([capsa(["up"], { cwd: dir.path }), capsa(["up"], { cwd: dir.path })]);
    expect(both.map(({ exitCode, stderr }) => (exitCode === 0 ? 0 : stderr))).toEqual([0, 0]);
  });
});

describe("a sandbox that stays", () => {
  let dir: string;
  const name = `cli-${process.pid}`;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "capsa-cli-"));
    await writeFile(
      join(dir, "capsa.toml"),
      `[sandbox.${name}]\nmemory = "128M"\nenv = { A = "of the sandbox" }\nlabels = { team = "x", note = 'a "b"' }\nrun = "echo begun; echo oops >&2; exec sleep 1000"\n` +
        `[[steps]]\nexec = "echo made >/tmp/made"\n`,
    );
    const { exitCode, stderr } = await capsa(["up", "-d"], { cwd: dir });
    if (exitCode !== 0) throw new Error(stderr);
    expect(stderr).toContain(`${name} runs on: capsa exec ${name} -- COMMAND`);
  });
  afterAll(async () => {
    await capsa(["down", name]);
    await rm(dir, { recursive: true, force: true });
  });

  const exec = (command: string[], options: string[] = [], stdin?: string) =>
    capsa(["exec", ...options, name, "--", ...command], stdin === undefined ? {} : { stdin });

  test("is listed", async () => {
    const { stdout } = await capsa(["ps"]);
    expect(stdout).toMatch(
      new RegExp(`^${name} +[0-9a-f]{8} +(qemu|kvm) +1 +128 MiB +\\d+ +\\d+ s +team=x,note=a "b"$`, "m"),
    );
    const entries = JSON.parse((await capsa(["ps", "--json"])).stdout) as { name: string }[];
    expect(entries.find((entry) => entry.name === name)).toMatchObject({
      detached: true,
      cpus: 1,
      memoryMb: 128,
    });
  });

  test("keeps what the steps did", async () => {
    expect(await exec(["cat", "/tmp/made"])).toEqual({ exitCode: 0, stdout: "made\n", stderr: "" });
  });

  test("tells how full it is, and what a tree takes", async () => {
    await exec(["sh", "-c", "mkdir -p /tmp/tree && head -c 300000 /dev/zero >/tmp/tree/data"]);
    const table = await capsa(["df", name, "--tree", "/tmp/tree", "/"]);
    expect(table.stdout).toMatch(/^NAME +PATH +SIZE +USED +FREE +USE +INODES +TREE\n/);
    const row = new RegExp(`^${name} +/tmp/tree +([\\d.]+ MiB +){3}\\d+ % +(\\d+ %|-) +0.3 MiB$`, "m");
    expect(table.stdout).toMatch(row);
    const json = JSON.parse((await capsa(["df", "--json"])).stdout) as { name: string; path: string }[];
    expect(json.find((one) => one.name === name)).toMatchObject({
      path: "/",
      total: expect.any(Number),
      inodes: { total: expect.any(Number) },
    });
    expect(await capsa(["df", name, "/none"])).toMatchObject({
      exitCode: 125,
      stderr: expect.stringContaining("diskUsage /none: "),
    });
  });

  test("cannot be started twice", async () => {
    const { exitCode, stderr } = await capsa(["up", "-d"], { cwd: dir });
    expect(exitCode).toBe(2);
    expect(stderr).toContain(name);
  });

  test.each<[what: string, command: string[], exitCode: number]>([
    ["an exit code", ["sh", "-c", "exit 42"], 42],
    ["a signal as 128 and its number", ["sh", "-c", "kill -TERM $$"], 143],
    ["a program that is not there as 127", ["no-such-program"], 127],
    ["what cannot be executed as 126", ["/etc"], 126],
  ])("passes on %s", async (_what, command, exitCode) => {
    expect((await exec(command)).exitCode).toBe(exitCode);
  });

  test("says that a working directory is not there, with 126", async () => {
    const { exitCode, stderr } = await exec(["ls"], ["-w", "/none"]);
    expect(stderr).toContain("working directory /none");
    expect(exitCode).toBe(126);
  });

  test("keeps stdout and stderr apart, and both to the byte", async () => {
    const ended = Bun.spawnSync(
      [process.execPath, MAIN, "exec", name, "--", "sh", "-c", "printf '\\377\\000\\n'; printf '\\200' >&2"],
      { env: process.env, stdin: "ignore" },
    );
    expect([...ended.stdout]).toEqual([255, 0, 10]);
    expect([...ended.stderr]).toEqual([128]);
  });

  test("reads what is piped in", async () => {
    const text = "line\n".repeat(200_000);
    expect((await exec(["wc", "-c"], [], text)).stdout.trim()).toBe(String(text.length));
  });

  test("takes environment and directory", async () => {
    const script = ["sh", "-c", 'echo "$A|$B|$HOME_OF_TEST"; pwd'];
    const { stdout } = await capsa(
      ["exec", "-e", "B=b=c", name, "-e", "HOME_OF_TEST", "-w", "/tmp", "--", ...script],
      {
        env: { HOME_OF_TEST: "here" },
      },
    );
    expect(stdout).toBe("of the sandbox|b=c|here\n/tmp\n");
  });

  test("kills what runs too long, with 124", async () => {
    const began = performance.now();
    expect((await exec(["sleep", "60"], ["--timeout", "300ms"])).exitCode).toBe(124);
    expect(performance.now() - began).toBeLessThan(10_000);
  });

  test("gives a Ctrl-C to the command, which may answer it", async () => {
    const child = start(dir, [
      "exec",
      name,
      "--",
      "sh",
      "-c",
      "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.1; done",
    ]);
    const stdout = reading(child.stdout);
    await stdout("ready");
    child.kill("SIGINT");
    expect(await stdout()).toContain("caught");
    expect(await child.exited).toBe(5);
  });

  test("ends a command whose reader has gone", async () => {
    const pipeline = `"$0" "$1" exec ${name} -- sh -c 'echo $$ >/tmp/yes.pid; exec yes' | head -n 1`;
    const child = Bun.spawn(["bash", "-c", pipeline, process.execPath, MAIN], {
      env: process.env,
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    expect(await child.stdout.text()).toBe("y\n");
    expect(await child.exited).toBe(0);
    expect(
      await exec(["sh", "-c", "sleep 0.5; kill -0 $(cat /tmp/yes.pid) 2>/dev/null || echo gone"]),
    ).toMatchObject({
      stdout: "gone\n",
    });
  });

  test("streams much output without keeping it", async () => {
    const child = start(dir, ["exec", name, "--", "dd", "if=/dev/zero", "bs=64k", "count=4096"]);
    let bytes = 0;
    let peak = 0;
    for await (const chunk of child.stdout) {
      bytes += chunk.length;
      const status = await readFile(`/proc/${child.pid}/status`, "utf8").catch(() => "");
      peak = Math.max(peak, Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0));
    }
    expect(bytes).toBe(4096 * 65536);
    expect(peak).toBeLessThan(200 * 1024);
    expect(await child.exited).toBe(0);
  });

  test("has labels, by which it is told and chosen", async () => {
    await using other = await write(`[sandbox.other]\nmemory = "40M"\nlabels = { team = "y" }\n`);
    expect(await capsa(["up", "-d"], { cwd: other.path })).toMatchObject({ exitCode: 0 });
    const named = async (...labels: string[]) => {
      const { stdout } = await capsa(["ps", "--json", ...labels.flatMap((label) => ["--label", label])]);
      return (JSON.parse(stdout) as { name: string; labels: object }[]).map((entry) => entry.name).sort();
    };
    expect(await named("team=x")).toEqual([name]);
    expect(await named("team")).toEqual([name, "other"]);
    expect(await named("team", 'note=a "b"')).toEqual([name]);
    expect(await named("team=z")).toEqual([]);
    const { stdout } = await capsa(["metrics", "--prometheus"]);
    expect(stdout).toMatch(/^capsa_sandbox_up\{name="other",id="[0-9a-f]{8}",label_team="y"\} 1$/m);
    expect(stdout).toContain(',label_team="x",label_note="a \\"b\\""} 1');
    expect(await capsa(["down", "--label", "team=z"])).toMatchObject({ exitCode: 0 });
    expect(await capsa(["down", "--label", "team=y", "--grace", "100ms"])).toMatchObject({ exitCode: 0 });
    expect(await named()).toEqual([name]);
    expect(await capsa(["down", "--label", "a-b"])).toMatchObject({ exitCode: 2 });
    expect(await capsa(["down", "--label", "a", name])).toMatchObject({ exitCode: 2 });
  });

  test("has a log, which may be followed", async () => {
    expect(await capsa(["logs", name])).toEqual({ exitCode: 0, stdout: "begun\n", stderr: "oops\n" });
    const lines = (await capsa(["logs", "--json", name])).stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toContainEqual({ stream: "stderr", text: "oops\n" });
    const child = start(dir, ["logs", "-f", name]);
    await reading(child.stdout)("begun");
    child.kill("SIGINT");
    expect(await child.exited).toBe(130);
  });

  test("ends by `down` in its directory, and is gone", async () => {
    const { exitCode, stdout } = await capsa(["down", "--json", "--grace", "200ms"], { cwd: dir });
    expect(exitCode).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject([{ name, exit: { reason: expect.any(String) } }]);
    const entries = JSON.parse((await capsa(["ps", "--json"])).stdout) as { name: string }[];
    expect(entries.map((entry) => entry.name)).not.toContain(name);
    expect((await exec(["true"])).exitCode).toBe(125);
    // the log outlives it
    expect((await capsa(["logs", name])).stdout).toBe("begun\n");
  });
});

test("exec waits for the agent of a sandbox that is starting", async () => {
  await using vm = await Capsa.sandbox().memoryMb(128).run("/bin/sleep", ["1000"]).build();
  const ended = await capsa(["exec", vm.name, "--", "echo", "here"]);
  expect(ended).toEqual({ exitCode: 0, stdout: "here\n", stderr: "" });
});

test("capsa learn prints the shares with which steps and main process pass again, without what they need not", async () => {
  const share = (host: string, guest: string) =>
    `[[sandbox.box.shares]]\nhost = "${host}"\nguest = "${guest}"\nmode = "rw"\n`;
  const file = (rest: string) => `[sandbox.main]
memory = "128M"
run = "cp /in/file /out/main"
${box()}
${rest}
[[steps]]
sandbox = "box"
exec = "test -d /seen && test -f /etc/file && cp /in/file /out/box && cmp /out/box /etc/file"
`;
  const given = [share("in", "/in"), share("seen", "/seen"), share("out", "/out"), share("spare", "/spare")];
  const files = [share("in/file", "/etc/file"), share("in/file", "/etc/other")];
  const inMain = [...given, ...files].map((table) => table.replace(".box.", ".main."));
  await using dir = await write(file([...inMain, ...given, ...files].join("")));
  for (const name of ["in", "seen", "out", "spare"]) await mkdir(join(dir.path, name));
  await writeFile(join(dir.path, "in/file"), "text");
  const learned = await capsa(["learn", "main", "box"], { cwd: dir.path });
  const needed = (sandbox: string, shares: [how: string, host: string, guest: string, mode: string][]) =>
    shares.map(([how, host, guest, mode]) => {
      return `[[sandbox.${sandbox}.shares]] # ${how}\nhost = "./${host}"\nguest = "${guest}"\nmode = "${mode}"\n\n`;
    });
  const read = 'only read: "ro" is enough';
  expect(learned).toMatchObject({
    exitCode: 0,
    stdout: [
      ...needed("main", [
        [read, "in", "/in", "ro"],
        ["written: main", "out", "/out", "rw"],
      ]),
      '# not used, so left out: "./seen" at "/seen"\n',
      '# not used, so left out: "./spare" at "/spare"\n',
      '# not used, so left out: "./in/file" at "/etc/file"\n',
      '# not used, so left out: "./in/file" at "/etc/other"\n',
      "\n[sandbox.main.network]\nallow = []\n",
      ...needed("box", [
        [read, "in", "/in", "ro"],
        [read, "seen", "/seen", "ro"],
        ["written: box", "out", "/out", "rw"],
        [read, "in/file", "/etc/file", "ro"],
      ]),
      '# not used, so left out: "./spare" at "/spare"\n',
      '# not used, so left out: "./in/file" at "/etc/other"\n',
      "\n[sandbox.box.network]\nallow = []\n",
    ].join(""),
  });

  await writeFile(join(dir.path, "capsa.toml"), file(learned.stdout));
  for (const name of ["main", "box"]) await rm(join(dir.path, "out", name));
  const runs = ["main", "box"].map((name) => capsa(["up", name], { cwd: dir.path }));
  for (const run of await Promise.all(runs)) expect(run).toMatchObject({ exitCode: 0 });
  for (const name of ["main", "box"])
    expect(await readFile(join(dir.path, "out", name), "utf8")).toBe("text");
  const again = await capsa(["learn", "box", "--json"], { cwd: dir.path });
  const [{ shares }] = JSON.parse(again.stdout);
  expect(
    shares.map(({ guest, use, mode, needs }: Record<string, string>) => [guest, use, mode, needs]),
  ).toEqual([
    ["/in", "read", "ro", "ro"],
    ["/seen", "read", "ro", "ro"],
    ["/out", "written", "rw", "rw"],
    ["/etc/file", "read", "ro", "ro"],
  ]);
});

test("ps --json tells how the processes of a sandbox are confined", async () => {
  await using vm = await Capsa.sandbox().name("caged").memoryMb(128).run("/bin/sleep", ["1000"]).build();
  const told = await vm.confinement();
  const listed = JSON.parse((await capsa(["ps", "--json"])).stdout);
  expect(listed.find(({ name }: { name: string }) => name === "caged").confinement).toEqual(told);
  expect(Object.keys(told)).toEqual(vm.engine === "qemu" ? ["capsa-vmm", "qemu"] : ["capsa-vmm"]);
  for (const layers of Object.values(told)) {
    expect(layers.map(({ layer }) => layer)).toContain("namespaces");
    expect(layers.every(({ detail }) => detail !== "")).toBe(true);
  }
});

test("doctor says how a sandbox's processes would be confined here", async () => {
  const { findings } = JSON.parse((await capsa(["doctor", "--json"])).stdout);
  const cages = findings.filter(({ name }: { name: string }) => name.startsWith("cage of "));
  const qemu = findings.some(({ name }: { name: string }) => name === "QEMU");
  expect(cages.map(({ name }: { name: string }) => name)).toEqual([
    "cage of capsa-vmm",
    ...(qemu ? ["cage of QEMU"] : []),
  ]);
  for (const { state, found } of cages) expect(found).toMatch(state === "ok" ? /^every layer: / : /^lacks /);
});

test("doctor says which engine runs here and why, and that a sandbox can start", async () => {
  const { exitCode, stdout } = await capsa(["doctor"]);
  expect(stdout).toMatch(/^[✓!] \/dev\/kvm +\S/m);
  expect(stdout).toMatch(/^[✓!] engine +(kvm|qemu, because .*\/dev\/kvm)/m);
  expect(stdout).toContain("A sandbox can start here.");
  expect(exitCode).toBe(0);
  const { able, findings } = JSON.parse((await capsa(["doctor", "--json"])).stdout);
  expect(able).toBe(true);
  expect(findings.map(({ name }: { name: string }) => name)).toContain("kernel");
});

test("doctor says what is missing, and how to mend it", async () => {
  const { exitCode, stdout } = await capsa(["doctor"], {
    env: { CAPSA_LIB_DIR: "/nonexistent", CAPSA_QEMU: "/nonexistent" },
  });
  expect(exitCode).toBe(1);
  expect(stdout).toMatch(/^✗ library +libcapsa cannot be loaded.*\n +mend: run `make setup`/m);
  expect(stdout).toContain("No sandbox can start here");
});
