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
