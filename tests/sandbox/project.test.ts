/** The front door: a sandbox of an object's keys, and a file's sandboxes and steps from a program. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BootError, Capsa } from "../../src/index.ts";

const top = mkdtempSync(join(tmpdir(), "capsa-project-"));
const before = process.env.CAPSA_RUNTIME_DIR;
const runtime = join(top, "run");

beforeAll(() => {
  mkdirSync(runtime, { mode: 0o700 });
  mkdirSync(join(top, "src"));
  writeFileSync(join(top, "src/hello.txt"), "hello\n");
  process.env.CAPSA_RUNTIME_DIR = runtime;
});

afterAll(() => {
  if (before === undefined) delete process.env.CAPSA_RUNTIME_DIR;
  else process.env.CAPSA_RUNTIME_DIR = before;
  rmSync(top, { recursive: true });
});

/** Names in the runtime directory that are sandboxes'. */
const left = () => readdirSync(runtime).filter((name) => !name.startsWith("."));

describe("opening", () => {
  test("what it is given are the keys of capsa.toml, and what it gives is ready", async () => {
    const backend = Capsa.network();
    {
      await using box = await Capsa.open({
        name: "box",
        memory: "128M",
        rootfs: "host",
        shares: [{ host: join(top, "src"), guest: "/src" }],
        network: { allow: [] },
        networks: [backend, { ...Capsa.network("db"), as: "files" }],
        env: { GREETING: "good day" },
        ttl: "10m",
      });
      expect(box.name).toBe("box");
      expect(box.timings?.totalMs).toBeGreaterThan(0);
      expect((await box.exec("cat /src/hello.txt; echo $GREETING")).stdout).toBe("hello\ngood day\n");
      expect((await box.exec("echo x >/src/new")).ok).toBe(false);
      expect((await box.network.state()).allow).toEqual([]);
    }
    expect(left()).toEqual([]);
  });

  test("a builder without a main process starts, lives until it is stopped, and is ready", async () => {
    const vm = await Capsa.sandbox().memoryMb(128).start();
    expect((await vm.exec("hostname")).stdout.trim()).toBe(vm.name);
    expect(await vm.stop()).toMatchObject({ reason: "shutdown" });
  });

  test("one whose main process is not there, and one that is aborted, leave nothing", async () => {
    const start = Capsa.open({ memory: "128M", run: ["/bin/nosuch"] });
    await expect(start).rejects.toThrow(BootError);
    const reason = new Error("enough");
    const controller = new AbortController();
    const aborted = Capsa.sandbox().memoryMb(128).start({ signal: controller.signal });
    setTimeout(() => controller.abort(reason), 100);
    await expect(aborted).rejects.toBe(reason);
    expect(left()).toEqual([]);
  });
});

describe("a file from a program", () => {
  const toml = `
    [sandbox.box]
    memory = "128M"
    networks = ["lan"]
    [[sandbox.box.shares]]
    host = "src"
    guest = "/src"
    [sandbox.peer]
    memory = "128M"
    networks = ["lan"]
    run = "echo begun; exec sleep 1000"
    [[steps]]
    name = "greets"
    sandbox = "box"
    exec = "cat /src/hello.txt"
    expect = { stdout = { equals = "hello\\n" } }
    [[steps]]
    name = "fails"
    sandbox = "box"
    exec = "echo no >&2; exit 3"
    [[steps]]
    name = "is left out"
    sandbox = "peer"
    exec = "true"`;

  test("up boots, runs the steps, gives what became of each, and ends", async () => {
    writeFileSync(join(top, "capsa.toml"), toml);
    const project = await Capsa.load(join(top, "capsa.toml"));
    const [told, printed]: [string[], Promise<string>[]] = [[], []];
    const report = await project.up({
      onSandbox: (vm, name) => {
        told.push(name);
        if (name === "peer") printed.push(new Response(vm.stdout).text());
      },
      onStepStart: ({ name }) => told.push(`begin ${name}`),
      onOutput: ({ name }, stream, chunk) =>
        told.push(`${name} ${stream} ${new TextDecoder().decode(chunk)}`),
      onStep: ({ step, status }, index) => told.push(`end ${index} ${step.name} ${status}`),
    });
    expect(told.slice(0, 2).sort()).toEqual(["box", "peer"]);
    expect(told.slice(2).filter((line) => !line.endsWith(" "))).toEqual([
      "begin greets",
      "greets stdout hello\n",
      "end 0 greets passed",
      "begin fails",
      "fails stderr no\n",
      "end 1 fails failed",
      "end 2 is left out skipped",
    ]);
    expect(report).toMatchObject({ passed: 1, failed: 1, skipped: 1 });
    expect(report.steps[1]).toMatchObject({ exitCode: 3, mismatches: [{ subject: "exit code", seen: "3" }] });
    expect(await printed[0]).toBe("begun\n");
    expect(left()).toEqual([]);
  });

  test("started, its sandboxes are there until they are stopped, or left; steps run as often as one wants", async () => {
    const project = await Capsa.load(join(top, "capsa.toml"));
    const reason = new Error("enough");
    {
      await using started = await project.start();
      await using again = await project.start({ sandboxes: ["box"] });
      const [box, second] = [started.sandboxes.get("box")!, again.sandboxes.get("box")!];
      expect([box.name, second.name]).toEqual(["box", "box-2"]);
      expect((await box.exec("ping -c 1 -W 20 peer")).ok).toBe(true);
      expect(await again.run({ keepGoing: true })).toMatchObject({ passed: 1, failed: 1, skipped: 0 });
      const controller = new AbortController();
      const stepped = started.run({ signal: controller.signal, onStep: () => controller.abort(reason) });
      await expect(stepped).rejects.toBe(reason);
      await again.stop();
      expect((await second.exited).reason).toBe("shutdown");
      await expect(again.run()).rejects.toMatchObject({ code: "SANDBOX_ENDED" });
      expect(left()).toHaveLength(2);
    }
    expect(left()).toEqual([]);
  });
});
