/**
 * In QEMU's place, an intruder (tests/intruder/qemu.c): whatever it tries is refused. And again where this machine lacks
 * layers of confinement: what the others still refuse, and what it opens that these are missing.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { libraryDirectory } from "../../../src/host/installation.ts";
import { FATAL } from "../../intruder/attempts.ts";
import {
  type Conditions,
  DONE,
  NOBODY,
  NOT_UNDERSTOOD,
  resultsOf,
  runUnder,
  Scene,
} from "../../intruder/scene.ts";
import { type Ran, tool } from "../../lab/bare.ts";
import { Machine, type Processes, scratch, untilGone } from "./machine.ts";

const root = join(import.meta.dir, "../../..");
const built = join(root, "build/compromised");
const asRoot = process.getuid?.() === 0;
/** Whether another user can be become, and reaches this checkout. */
const nobodyCan =
  asRoot &&
  Bun.spawnSync([...NOBODY, process.execPath, "--eval", `await Bun.file("${import.meta.path}").text()`])
    .success;

const scene = new Scene();
const { files, sockets, signals, processes, calls } = scene.attempts;
/** What TCG does all day. */
const CODE = [processes["code in new memory"], processes["code in old memory"]];
const TRIED = [files, sockets, signals, processes, calls]
  .flatMap((group): string[] => Object.values(group))
  .filter((attempt) => !CODE.includes(attempt));
/** Where system calls are not filtered, fewer are tried: some end whoever makes them. */
const UNFILTERED = [...Object.values(sockets), ...Object.values(signals), processes.fork].filter(
  (attempt) => !/^(kill|tgkill|sigqueue|pidfd|sigio|peer-pidfd|pass-pidfd) /.test(attempt),
);
/** Of files those that leave nothing behind. */
const LOOKS = Object.values(files).filter(
  (attempt) => !/^write \/(planted|tmp)|^follow|^device/.test(attempt),
);

beforeAll(() => {
  tool("make", "-s", "-C", join(root, "ffi"), "compromised");
  mkdirSync(join(scene.top, "bin")); // in a prefix of its own, as QEMU is
  copyFileSync(join(built, "qemu"), join(scene.top, "bin/qemu"));
  for (const path of [scene.top, scene.outside, scene.neighbour]) chmodSync(path, 0o777);
}, 300_000);
afterAll(() => scene[Symbol.dispose]());

/** Orders in, `order -> errno` out. */
function intrude(
  orders: readonly string[],
  conditions: Conditions & {
    readonly confine?: "require" | "none";
    readonly ttl?: number;
    readonly qemu?: string;
  },
): Promise<Ran> {
  const { confine = "auto", ttl, qemu = join(scene.top, "bin/qemu"), ...others } = conditions;
  const config = {
    engine: "qemu",
    qemu: { path: qemu },
    kernel: qemu, // an ELF file, which is all that is looked at
    initrd: scene.orders(orders),
    console: true,
    confine,
    ...(ttl === undefined ? {} : { ttl }),
  };
  const program = join(libraryDirectory(), others.network ? "capsa-vmm-net" : "capsa-vmm");
  return runUnder(others, program, config);
}

/** Of these attempts those that were let through. */
async function letThrough(
  attempts: readonly string[],
  conditions: Parameters<typeof intrude>[1],
): Promise<string[]> {
  const ran = await intrude(
    attempts.map((attempt) => scene.order(attempt)),
    conditions,
  );
  expect(ran).toMatchObject({ reason: "shutdown", exitCode: 0 });
  const results = resultsOf(ran);
  const outcomes = attempts.map((attempt) => [attempt, results.get(scene.order(attempt))] as const);
  expect(outcomes.filter(([, errno]) => errno === undefined || errno === NOT_UNDERSTOOD)).toEqual([]);
  return outcomes.filter(([, errno]) => errno === DONE).map(([attempt]) => attempt);
}

describe("in QEMU's place", () => {
  for (const nobody of asRoot ? [false, true] : [false]) {
    const who = nobody ? "an ordinary user, who has to reach this checkout" : "whoever runs this";
    for (const network of [false, true]) {
      const what = network ? "with a network card" : "without a network card";
      test.skipIf(nobody && !nobodyCan)(
        `as ${who}, ${what}: nothing is let through`,
        async () => {
          const conditions = { confine: "require", network, nobody } as const;
          expect(await letThrough([...TRIED], conditions)).toEqual([]);
          expect(await letThrough(CODE, conditions)).toEqual(CODE);
        },
        60_000,
      );

      test.skipIf(nobody && !nobodyCan)(
        `as ${who}, ${what}: nor without namespaces`,
        async () => {
          expect(await letThrough([...TRIED], { without: "namespaces", network, nobody })).toEqual([]);
        },
        60_000,
      );

      test.skipIf(nobody && !nobodyCan)(
        `as ${who}, ${what}: nor without Landlock, but its own /etc can be listed`,
        async () => {
          expect(await letThrough([...TRIED], { without: "files", network, nobody })).toEqual(["list /etc"]);
        },
        60_000,
      );
    }
  }

  test("those it aimed at are as they were", () => {
    expect(scene.victim.exitCode).toBeNull();
    expect(scene.victim.signalCode).toBeNull();
    expect(readdirSync(scene.outside).sort()).toEqual(["secret", "socket"]);
    expect(readFileSync(join(scene.outside, "secret"), "utf8")).toBe("only for the host\n");
    expect(readdirSync(scene.share)).toEqual(["file"]);
    for (const path of ["/tmp/capsa-intruder", "/planted"])
      expect([path, existsSync(path)]).toEqual([path, false]);
  });

  test("without a filter of system calls: sockets of an empty network, and processes of its own", async () => {
    const through = await letThrough([...UNFILTERED, ...LOOKS], { without: "syscalls" });
    const own = [
      "socket 2",
      "socket 10",
      "socket 16",
      "socket 40",
      "pair 2",
      "pair 5",
      "reach 1",
      "reach 0",
      "fork -",
      "watch /etc",
    ];
    expect(through.filter((attempt) => !own.includes(attempt))).toEqual([]);
  }, 60_000);

  test("without namespaces and the filter: sockets of this machine, but no files", async () => {
    const through = await letThrough([...UNFILTERED, ...LOOKS], { without: "namespaces,syscalls" });
    expect(through).toContain(sockets["a Unix socket outside"]);
    expect(through.filter((attempt) => /^(read|write|list|climb)/.test(attempt))).toEqual([]);
  }, 60_000);

  test("without namespaces and Landlock: this machine's files, but no sockets, processes or signals", async () => {
    const through = await letThrough(LOOKS, { without: "namespaces,files" });
    expect(through).toContain(files["a file outside"]);
    expect(await letThrough([...UNFILTERED], { without: "namespaces,files" })).toEqual([]);
  }, 60_000);

  test('with confine = "none" the same deeds succeed: it is the cage that refuses them', async () => {
    const deeds = [
      files["a file outside"],
      sockets["a Unix socket outside"],
      sockets.netlink,
      processes.fork,
    ];
    expect(await letThrough(deeds, { confine: "none" })).toEqual(deeds);
  }, 60_000);

  for (const [name, deed] of Object.entries(FATAL)) {
    test(`at once it ends when it tries to ${name}`, async () => {
      const ran = await intrude([scene.order(deed), "read /etc/shadow"], { confine: "require" });
      expect(resultsOf(ran).size).toBe(0);
      expect(ran.failure).toMatchObject({
        code: "ENGINE_FAILED",
        message: expect.stringContaining("signal 31"),
      });
    }, 60_000);
  }

  test("files of its prefix that lie elsewhere, by links, are its own as well", async () => {
    const prefix = join(scene.top, "linked, and so");
    for (const path of ["bin", "share"]) mkdirSync(join(prefix, path), { recursive: true });
    mkdirSync(join(scene.top, "data"));
    writeFileSync(join(scene.top, "data/rom"), "rom\n");
    copyFileSync(join(built, "qemu"), join(prefix, "bin/qemu"));
    symlinkSync("../../data", join(prefix, "share/qemu"));
    const order = `read ${join(prefix, "share/qemu/rom")}`;
    const ran = await intrude([order], { confine: "require", qemu: join(prefix, "bin/qemu") });
    expect(ran.failure).toBeUndefined();
    expect(resultsOf(ran)).toEqual(new Map([[order, DONE]]));
  }, 60_000);

  for (const what of ["replies", "line", "words"]) {
    test(`a flood of it (${what}) does not keep the VMM from what else it does`, async () => {
      const ran = await intrude([`flood ${what}`], { ttl: 1000 });
      expect(ran.reason).toBe("expired");
      expect(ran.ms).toBeLessThan(8000);
    }, 60_000);
  }

  for (const layer of ["namespaces", "files", "syscalls"]) {
    test(`confine = "require" does not start without ${layer}, and says so`, async () => {
      const ran = await intrude(["read /etc/shadow"], { confine: "require", without: layer });
      expect(ran).toMatchObject({ console: "", reason: "failed" });
      expect(ran.failure).toMatchObject({
        code: "CONFINE_FAILED",
        message: expect.stringMatching(new RegExp(`"${layer}" of QEMU cannot be applied here: `)),
      });
    }, 60_000);
  }
});

test.each([
  ["namespaces", /capsa-vmm lacks namespaces \(.+\), QEMU lacks namespaces \(.+\).*which files there are/],
  ["files", /capsa-vmm lacks files \(this kernel has no Landlock\), QEMU lacks files/],
  ["namespaces,files", /read and write this user's files/],
  ["syscalls", /processes and sockets/],
])(
  'with confine = "auto" it is told, once, that this machine lacks %s, and what that opens',
  async (without, words) => {
    const { events } = await intrude(["list /"], { without });
    expect(events).toEqual([
      { event: "notice", code: "CONFINE_PARTIAL", message: expect.stringMatching(words) } as never,
    ]);
    expect((await intrude(["list /"], {})).events).toEqual([]);
    expect((await intrude(["list /"], { without, confine: "none" })).events).toEqual([]);
  },
  60_000,
);

describe("the true QEMU", () => {
  let machine: Machine;
  let proc: string;
  const status = () =>
    Object.fromEntries(
      readFileSync(`${proc}/status`, "utf8")
        .split("\n")
        .map((line) => line.split(/:\s*/, 2)),
    );

  beforeAll(async () => {
    machine = await Machine.start({ confine: "require" });
    await machine.ready();
    proc = `/proc/${(await machine.processes()).qemu}`;
  }, 60_000);
  afterAll(() => machine.stop());

  test("each layer is applied to it and to the VMM, and told", async () => {
    const { confinement, pids } = (await machine.status()) as never as {
      confinement: Record<string, Record<string, { applied: boolean }>>;
      pids: { engine: number };
    };
    expect(Object.keys(confinement)).toEqual(["capsa-vmm", "qemu"]);
    for (const layers of Object.values(confinement)) {
      expect(Object.keys(layers)).toEqual([
        "privileges",
        "namespaces",
        "limits",
        "capabilities",
        "files",
        "syscalls",
      ]);
      expect(Object.entries(layers).filter(([, { applied }]) => !applied)).toEqual([]);
    }
    expect(`/proc/${pids.engine}`).toBe(proc);
  });

  test("it has no capabilities, two filters, no core file, and is the only process of its own", () => {
    const none = "0000000000000000";
    expect(status()).toMatchObject({
      ...{ CapInh: none, CapPrm: none, CapEff: none, CapBnd: none, CapAmb: none },
      ...{ NoNewPrivs: "1", Seccomp: "2", Seccomp_filters: "2" },
    });
    expect(status().NSpid).toMatch(/\t1$/);
    expect(readFileSync(`${proc}/limits`, "utf8")).toMatch(/^Max core file size +[01] +[01] /m);
    for (const space of ["mnt", "net", "ipc", "uts", "pid", "cgroup"]) {
      expect(readlinkSync(`${proc}/ns/${space}`)).not.toBe(readlinkSync(`/proc/self/ns/${space}`));
    }
  });

  test.skipIf(!asRoot)("it sees its own files and nothing else, and can write none", () => {
    const seen = readdirSync(`${proc}/root`).sort();
    expect(seen.filter((name) => !["etc", "lib", "lib64", "proc", "usr"].includes(name))).toEqual([]);
    expect(readdirSync(`${proc}/root/etc`)).toEqual(["ld.so.cache"]);
    expect(readdirSync(`${proc}/root/usr/bin`)).toEqual(["qemu-system-x86_64"]);
    const mounts = readFileSync(`${proc}/mounts`, "utf8").trimEnd().split("\n");
    expect(mounts.filter((line) => !/^\S+ \S+ \S+ ro,nosuid,nodev/.test(line))).toEqual([]);
  });

  test("no descriptor of it is a directory, by which a path might lead outside", () => {
    const descriptors = readdirSync(`${proc}/fd`).map((fd) => `${proc}/fd/${fd}`);
    const targets = descriptors.filter((fd) => !statSync(fd).isFile()).map((fd) => readlinkSync(fd));
    const plain = /^(socket|pipe|anon_inode):|^\/dev\/null$/;
    expect(targets.filter((target) => !plain.test(target))).toEqual([]);
  });
});

test("no process of a machine has the terminal of who started it", async () => {
  const line = `${process.execPath} ${join(import.meta.dir, "starter.ts")} attached`;
  const starter = Bun.spawn(["script", "-qec", line, "/dev/null"], { stdin: "pipe" });
  let said = "";
  for await (const bytes of starter.stdout) {
    said += new TextDecoder().decode(bytes);
    if (said.includes("\n")) break;
  }
  const { runtimeDir, processes } = JSON.parse(said) as { runtimeDir: string; processes: Processes };
  const pids = Object.values(processes);
  const open = pids.flatMap((pid) => readdirSync(`/proc/${pid}/fd`).map((fd) => `/proc/${pid}/fd/${fd}`));
  const targets = open.map((fd) => readlinkSync(fd));
  starter.kill("SIGKILL");
  expect(targets.filter((target) => /tty|pts|ptmx/.test(target))).toEqual([]);
  await untilGone(pids, runtimeDir, 5000);
}, 60_000);

test("a script in QEMU's place is refused in words", async () => {
  using dir = scratch();
  const path = join(dir.path, "qemu");
  writeFileSync(path, '#!/bin/sh\nexec qemu-system-x86_64 "$@"\n', { mode: 0o755 });
  const machine = await Machine.start({ qemu: { path } });
  expect(await machine.event("failed")).toMatchObject({
    code: "ENGINE_MISSING",
    message: expect.stringMatching(/is a script.*CAPSA_QEMU/),
  });
  await machine.gone();
});
