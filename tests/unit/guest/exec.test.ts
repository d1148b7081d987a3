/** exec: streams, environment, ends, limits, and what goes when a connection does. */

import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { gone } from "./processes.ts";
import { agent, host, serve } from "./served.ts";

serve();

const pidOf = async (id: number): Promise<number> =>
  (await host.find((frame) => frame.id === id && frame.ev === "started")).pid;

describe("streams", () => {
  test("stdout, stderr and the exit code", async () => {
    const { response, stdout, stderr } = await host.exec(["sh", "-c", "echo out; echo err >&2; exit 3"]);
    expect(response).toMatchObject({ ok: true, exitCode: 3, timedOut: false });
    expect(response).not.toHaveProperty("signal");
    expect(stdout.toString()).toBe("out\n");
    expect(stderr.toString()).toBe("err\n");
  });

  test("every byte value survives both ways", async () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    const id = host.request("exec", { argv: ["cat"], stdin: true });
    host.send({ id, ev: "stdin", data: new Uint8Array(bytes) });
    host.send({ id, ev: "stdin-end" });
    expect(await host.drain(id)).toMatchObject({ ok: true, exitCode: 0 });
    expect(host.payload(id, "stdout")).toEqual(bytes);
  });

  test("output comes before the program ends", async () => {
    const id = host.request("exec", { argv: ["sh", "-c", "echo first; read line; echo $line"], stdin: true });
    await host.find((frame) => frame.id === id && frame.ev === "stdout");
    expect(host.payload(id, "stdout").toString()).toBe("first\n");
    host.send({ id, ev: "stdin", data: new Uint8Array(Buffer.from("second\n")) });
    await host.drain(id);
    expect(host.payload(id, "stdout").toString()).toBe("first\nsecond\n");
  });

  test("64 MiB come whole and in order", async () => {
    const script = "import sys\nfor i in range(1024): sys.stdout.buffer.write(i.to_bytes(4,'little')*16384)";
    const { response, stdout } = await host.exec(["python3", "-c", script], { window: 4194304 });
    expect(response.exitCode).toBe(0);
    expect(stdout.length).toBe(1024 * 65536);
    for (let i = 0; i < 1024; i++) expect(stdout.readUInt32LE(i * 65536 + 65532)).toBe(i);
  }, 60_000);

  test("without stdin it is /dev/null", async () => {
    expect((await host.exec(["cat"])).response).toMatchObject({ exitCode: 0 });
  });

  test("a program that closes its stdin does not hold the host up", async () => {
    const id = host.request("exec", { argv: ["sh", "-c", "exec <&-; sleep 0.3"], stdin: true });
    await host.find((frame) => frame.id === id && frame.ev === "started");
    await Bun.sleep(100);
    host.send({ id, ev: "stdin", data: new Uint8Array(100_000) });
    expect(await host.find((frame) => frame.id === id && frame.credit > 0)).toMatchObject({
      credit: 100_000,
    });
    expect(await host.drain(id)).toMatchObject({ exitCode: 0 });
  });
});

describe("flow control", () => {
  test("no more than the window comes without credit, and the rest with it", async () => {
    const id = host.request("exec", { argv: ["head", "-c", "1000000", "/dev/zero"], window: 10_000 });
    await host.find(() => host.payload(id, "stdout").length > 7_500); // less than a quarter may be held back
    await Bun.sleep(200);
    expect(host.payload(id, "stdout").length).toBeLessThanOrEqual(10_000);
    expect(await host.drain(id)).toMatchObject({ exitCode: 0 });
    expect(host.payload(id, "stdout").length).toBe(1_000_000);
  });

  test("a program nobody reads from stands still", async () => {
    const counter = join(agent.directory, "counter");
    const script = `i=0; while :; do head -c 65536 /dev/zero; i=$((i+1)); echo $i > ${counter}; done`;
    const id = host.request("exec", { argv: ["sh", "-c", script], window: 65536 });
    await host.find((frame) => frame.id === id && frame.ev === "stdout");
    await Bun.sleep(500);
    const before = await Bun.file(counter).text();
    await Bun.sleep(300);
    expect(await Bun.file(counter).text()).toBe(before);
    expect(Number(before)).toBeLessThan(10); // a window and a full pipe
    host.send({ id, ev: "kill", signal: 9 });
    expect(await host.drain(id)).toMatchObject({ signal: 9 });
  });

  test("a stalled call does not hold up another on its connection", async () => {
    const stalled = host.request("exec", { argv: ["yes"] });
    await host.find((frame) => frame.id === stalled && frame.ev === "stdout");
    expect((await host.exec(["echo", "through"])).stdout.toString()).toBe("through\n");
  });

  test("stdin is credited as the program takes it", async () => {
    const id = host.request("exec", {
      argv: ["sh", "-c", "sleep 0.5; wc -c"],
      stdin: true,
      window: 1_000_000,
    });
    host.send({ id, ev: "stdin", data: new Uint8Array(500_000) });
    await Bun.sleep(200);
    const credited = () => host.frames.filter((f) => f.id === id).reduce((n, f) => n + (f.credit ?? 0), 0);
    expect(credited()).toBeLessThanOrEqual(262_144); // the pipe only
    host.send({ id, ev: "stdin-end" });
    await host.drain(id);
    expect(credited()).toBe(500_000);
    expect(host.payload(id, "stdout").toString().trim()).toBe("500000");
  });

  test("more stdin than the window ends the call", async () => {
    const id = host.request("exec", { argv: ["sleep", "60"], stdin: true, window: 1000 });
    const pid = await pidOf(id);
    host.send({ id, ev: "stdin", data: new Uint8Array(500_000) });
    expect(await host.response(id)).toMatchObject({ ok: false, error: { code: "EPROTO" } });
    expect(await gone(pid)).toBe(true);
  });

  test("a window of 0 is refused", async () => {
    const id = host.request("exec", { argv: ["true"], window: 0 });
    expect(await host.response(id)).toMatchObject({ ok: false, error: { code: "EPROTO" } });
  });
});

describe("what the program gets", () => {
  test("the sandbox's environment, with additions", async () => {
    const { stdout } = await host.exec(["sh", "-c", "echo $FROM_SANDBOX $ADDED $HOME"], {
      env: { ADDED: "too", HOME: "/elsewhere" },
    });
    expect(stdout.toString()).toBe("yes too /elsewhere\n");
  });

  test("or only what the request says", async () => {
    const { stdout } = await host.exec(["env"], { env: { ONLY: "this" }, clearEnv: true });
    expect(stdout.toString()).toBe("ONLY=this\n");
  });

  test("argv and env that are not UTF-8", async () => {
    const raw = Uint8Array.from([0xff, 0xfe]);
    const { stdout } = await host.exec(["sh", "-c", 'printf "%s%s" "$1" "$RAW"', "sh", raw], {
      env: { RAW: raw },
    });
    expect([...stdout]).toEqual([0xff, 0xfe, 0xff, 0xfe]);
  });

  test("a working directory", async () => {
    expect((await host.exec(["pwd"], { cwd: "/usr" })).stdout.toString()).toBe("/usr\n");
  });

  test("a user and a group", async () => {
    const { stdout } = await host.exec(["sh", "-c", "id -u; id -g; id -G"], { user: 1234, group: 5678 });
    expect(stdout.toString()).toBe("1234\n5678\n5678\n");
    expect((await host.exec(["id", "-g"], { user: 77 })).stdout.toString()).toBe("77\n");
  });

  test("a user by name, with its group, its groups and its home", async () => {
    const [, , uid, gid, , home] = (await host.exec(["getent", "passwd", "nobody"])).stdout
      .toString()
      .split(":");
    const script = "id -u; id -g; echo $HOME $USER $LOGNAME";
    const { stdout } = await host.exec(["sh", "-c", script], { user: "nobody" });
    expect(stdout.toString()).toBe(`${uid}\n${gid}\n${home} nobody nobody\n`);
    const theirs = (await host.exec(["id", "-G", "nobody"])).stdout.toString();
    expect((await host.exec(["id", "-G"], { user: "nobody" })).stdout.toString()).toBe(theirs);
    expect(
      (
        await host.exec(["sh", "-c", "echo $HOME"], { user: "nobody", env: { HOME: "/mine" } })
      ).stdout.toString(),
    ).toBe("/mine\n");
  });

  test.each([
    ["root:daemon", "0 1 1"],
    ["0:0", "0 0 0"],
    ["1:12345", "1 12345 12345"],
    ["4000000000", "4000000000 4000000000 4000000000"],
    [new Uint8Array(Buffer.from("daemon:bin")), "1 2 2"],
  ])("user %p is %p", async (user, wanted) => {
    const { stdout } = await host.exec(["sh", "-c", "echo $(id -u) $(id -g) $(id -G)"], { user });
    expect(stdout.toString()).toBe(`${wanted}\n`);
  });

  test("a group in place of the user's", async () => {
    const { stdout } = await host.exec(["sh", "-c", "id -G"], { user: "nobody", group: 77 });
    expect(stdout.toString()).toBe("77\n");
  });

  test("no descriptors but the three, no blocked or ignored signals, its own session", async () => {
    const { stdout } = await host.exec([
      "sh",
      "-c",
      "ls /proc/self/fd | wc -l; grep Sig /proc/self/status; ps -o sid= $$",
    ]);
    const text = stdout.toString();
    expect(text).toMatch(/^4\n/); // the fourth is ls's own
    expect(text).toMatch(/SigBlk:\s+0{16}\nSigIgn:\s+0{16}\n/);
    expect(Number(text.trim().split("\n").at(-1))).not.toBe(agent.process.pid);
  });
});

describe("ends", () => {
  test("by a signal", async () => {
    expect((await host.exec(["sh", "-c", "kill -SEGV $$"])).response).toMatchObject({ ok: true, signal: 11 });
  });

  test("killed by the host, with all its group", async () => {
    const id = host.request("exec", { argv: ["sh", "-c", "sleep 60 & echo $!; wait"] });
    await host.find((frame) => frame.id === id && frame.ev === "stdout");
    const child = Number(host.payload(id, "stdout").toString());
    host.send({ id, ev: "kill", signal: 15 });
    expect(await host.drain(id)).toMatchObject({ ok: true, signal: 15, timedOut: false });
    expect(await gone(child)).toBe(true);
  });

  test("by its timeout", async () => {
    const start = performance.now();
    const { response, stdout } = await host.exec(["sh", "-c", "echo before; sleep 60"], { timeoutMs: 200 });
    expect(response).toMatchObject({ ok: true, signal: 9, timedOut: true });
    expect(stdout.toString()).toBe("before\n");
    expect(performance.now() - start).toBeLessThan(5000);
  });

  test("with what it left behind still holding its output", async () => {
    const start = performance.now();
    const { response, stdout } = await host.exec(["sh", "-c", "echo said; sleep 3 & exit 5"]);
    expect(response).toMatchObject({ exitCode: 5 });
    expect(stdout.toString()).toBe("said\n");
    expect(performance.now() - start).toBeLessThan(2000);
  });

  test("with all it wrote, however late the host takes it", async () => {
    const script = "head -c 200000 /dev/zero; sleep 2 & exit 0";
    const id = host.request("exec", { argv: ["sh", "-c", script], window: 1000 });
    await host.find((frame) => frame.id === id && frame.ev === "stdout");
    await Bun.sleep(400); // past the grace
    expect(host.frames.some((frame) => frame.id === id && "ok" in frame)).toBe(false);
    expect(await host.drain(id)).toMatchObject({ exitCode: 0 });
    expect(host.payload(id, "stdout").length).toBe(200_000);
  });

  test("with the connection", async () => {
    const id = host.request("exec", { argv: ["sh", "-c", "sleep 60 & echo $!; wait"] });
    const pid = await pidOf(id);
    await host.find((frame) => frame.id === id && frame.ev === "stdout");
    const child = Number(host.payload(id, "stdout").toString());
    host.close();
    expect(await gone(pid)).toBe(true);
    expect(await gone(child)).toBe(true);
  });
});

describe("what cannot be started", () => {
  const cases: [string, Record<string, unknown>, string, RegExp][] = [
    [
      "not in PATH",
      { argv: ["no-such-program"] },
      "ENOENT",
      /no-such-program: not found in PATH \(\/usr\/bin:\/bin\)/,
    ],
    ["no such file", { argv: ["/no/such"] }, "ENOENT", /\/no\/such/],
    ["a directory", { argv: ["/usr"] }, "EACCES", /\/usr/],
    ["not executable", { argv: ["/etc/passwd"] }, "EACCES", /passwd/],
    ["below a file", { argv: ["/etc/passwd/x"] }, "ENOTDIR", /passwd/],
    ["no such cwd", { argv: ["true"], cwd: "/no/such" }, "ENOENT", /working directory \/no\/such/],
    ["cwd is a file", { argv: ["true"], cwd: "/etc/passwd" }, "ENOTDIR", /working directory/],
    ["empty argv", { argv: [] }, "EPROTO", /argv/],
    ["empty name", { argv: [""] }, "ENOENT", /./],
    ["argv of numbers", { argv: [1] }, "EPROTO", /argv/],
    ["a NUL in argv", { argv: ["a\0b"] }, "EINVAL", /NUL/],
    ["an unknown user", { argv: ["true"], user: "no-such" }, "EINVAL", /user "no-such": not in .*passwd/],
    [
      "an unknown group",
      { argv: ["true"], user: "root:no-such" },
      "EINVAL",
      /group "no-such": not in .*group/,
    ],
    ["no user", { argv: ["true"], user: ":root" }, "EINVAL", /wanted/],
    ["no group", { argv: ["true"], user: "root:" }, "EINVAL", /wanted/],
    ["a user past all ids", { argv: ["true"], user: "4294967295" }, "EINVAL", /not in/],
    ["a NUL in user", { argv: ["true"], user: "a\0b" }, "EINVAL", /NUL/],
    ["a user that is a list", { argv: ["true"], user: [] }, "EPROTO", /user/],
    ["limits of nothing", { argv: ["true"], limits: { memory: 0 } }, "EPROTO", /limits/],
    ["limits that are text", { argv: ["true"], limits: { pids: "1" } }, "EPROTO", /limits/],
    ["limits where there are none", { argv: ["true"], limits: { pids: 1 } }, "EOPNOTSUPP", /limits/],
    ["a bad name in env", { argv: ["true"], env: { "A=B": "c" } }, "EINVAL", /env/],
  ];
  for (const [name, fields, code, words] of cases) {
    test(name, async () => {
      const response = await host.response(host.request("exec", fields));
      expect(response).toMatchObject({ ok: false, error: { code } });
      expect(response.error.message).toMatch(words);
    });
  }

  test("an interpreter that is missing is told", async () => {
    const path = join(agent.directory, "script");
    await Bun.write(path, "#!/no/interpreter\n");
    Bun.spawnSync(["chmod", "755", path]);
    const response = await host.response(host.request("exec", { argv: [path] }));
    expect(response.error.code).toBe("ENOENT");
    expect(response.error.message).toContain("interpreter");
  });
});

test("64 at once, each with its own output", async () => {
  const runs = Array.from({ length: 64 }, (_, i) =>
    host.exec(["sh", "-c", `sleep 0.2; echo ${i}; exit ${i}`]),
  );
  const results = await Promise.all(runs);
  results.forEach(({ response, stdout }, i) => {
    expect(response.exitCode).toBe(i);
    expect(stdout.toString()).toBe(`${i}\n`);
  });
}, 60_000);

test("descriptors and processes come back to where they were", async () => {
  const before = await agent.descriptors();
  for (let i = 0; i < 50; i++) await host.exec(["true"]);
  await Promise.all(
    Array.from({ length: 20 }, () => host.response(host.request("exec", { argv: ["nope"] }))),
  );
  expect(await agent.comesDownTo(before)).toBe(true);
  const children = () => Bun.file(`/proc/${agent.process.pid}/task/${agent.process.pid}/children`).text();
  for (let i = 0; i < 100 && (await children()).trim(); i++) await Bun.sleep(10);
  expect((await children()).trim()).toBe("");
});
