/** From inside a VMM that an intruder has taken over: whatever is tried, on whichever thread, is refused. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import { FATAL } from "../intruder/attempts.ts";
import { DONE, NOT_UNDERSTOOD, resultsOf, runUnder, Scene, sleeper } from "../intruder/scene.ts";
import { buildGuest, type Ran, tool } from "./bare.ts";

const root = join(import.meta.dir, "../..");
const inLab = process.env.CAPSA_LAB !== undefined;
const { EPERM, EACCES } = constants.errno;

const THREADS = ["vcpu", "main", "fs", "vsock", "rng", "console"] as const;

const scene = new Scene();
const { attempts: ATTEMPTS, victim } = scene;
const order = scene.order.bind(scene);

let kernel: string;

afterAll(() => scene[Symbol.dispose]());

/** Orders in, `order -> errno` out. */
function intrude(
  orders: readonly string[],
  confine: "require" | "auto" | "none",
  without?: string,
): Promise<Ran> {
  return runUnder({ without }, join(root, "build/compromised/capsa-vmm"), {
    engine: "kvm",
    kernel,
    initrd: scene.orders(orders),
    fs: [{ tag: "files", roots: [{ name: "0", path: scene.share, readOnly: false }] }],
    vsock: { cid: 3, ports: [52] },
    rng: true,
    console: true,
    confine,
  });
}

describe.skipIf(!inLab)("a VMM taken over", () => {
  let results: Map<string, number>;

  beforeAll(async () => {
    tool("make", "-s", "-C", join(root, "ffi"), "compromised");
    kernel = buildGuest("intruder", scene.top);
    const attempts = Object.values(ATTEMPTS).flatMap((group) => Object.values(group));
    const orders = THREADS.flatMap((thread) => attempts.map((attempt) => `${thread} ${order(attempt)}`));
    const ran = await intrude(orders, "require");
    expect(ran).toMatchObject({ reason: "shutdown", exitCode: 0 });
    expect(ran.failure).toBeUndefined();
    results = resultsOf(ran);
  }, 600_000);

  for (const [group, attempts] of Object.entries(ATTEMPTS)) {
    // a call that is not on the list is EPERM whatever its arguments; of the others any failure will do
    const isRefused = (errno: number | undefined) =>
      group === "calls" ? errno === EPERM : errno !== undefined && errno !== DONE && errno !== NOT_UNDERSTOOD;
    describe(group, () => {
      for (const [name, attempt] of Object.entries(attempts)) {
        test(name, () => {
          const outcomes = THREADS.map((thread) => ({
            thread,
            errno: results.get(`${thread} ${order(attempt)}`),
          }));
          expect(outcomes.filter(({ errno }) => !isRefused(errno))).toEqual([]);
        });
      }
    });
  }

  test("those it aimed at are as they were", async () => {
    await Bun.sleep(200);
    expect(victim.exitCode).toBeNull();
    expect(victim.signalCode).toBeNull();
    expect(readdirSync(scene.outside).sort()).toEqual(["secret", "socket"]);
    expect(readFileSync(join(scene.outside, "secret"), "utf8")).toBe("only for the host\n");
    expect(readdirSync(scene.share)).toEqual(["file"]);
    expect(existsSync("/tmp/capsa-intruder")).toBe(false);
  });

  test("vCPUs and devices without files have none, not even those of the sandbox", async () => {
    const own = (threads: readonly string[]) =>
      threads.flatMap((thread) => [
        `${thread} list .`,
        `${thread} call socket 1 1 0`,
        `${thread} call memfd_create`,
      ]);
    const ran = await intrude(own(["vcpu", "rng", "console", "main"]), "require");
    const found = resultsOf(ran);
    for (const order of own(["vcpu", "rng", "console"])) {
      expect({ order, errno: found.get(order) }).toEqual({ order, errno: EPERM });
    }
    expect(found.get("main list .")).toBe(EACCES); // by the rules of files: the call itself is let through
    expect(found.get("main call socket 1 1 0")).toBe(EPERM); // others open its sockets
  });

  for (const without of ["namespaces", "files"]) {
    test(`nothing more is let through on a machine without ${without}`, async () => {
      const attempts = Object.values(ATTEMPTS)
        .flatMap((group): string[] => Object.values(group))
        .filter((attempt) => attempt !== ATTEMPTS.files["the share by its name"]); // which is its own
      const orders = ["main", "fs", "vsock"].flatMap((thread) =>
        attempts.map((attempt) => `${thread} ${order(attempt)}`),
      );
      const ran = await intrude(orders, "auto", without);
      expect(ran).toMatchObject({ reason: "shutdown", exitCode: 0 });
      expect(ran.failure).toBeUndefined();
      const found = resultsOf(ran);
      const through = orders.filter((text) => [undefined, DONE, NOT_UNDERSTOOD].includes(found.get(text)));
      expect(through).toEqual([]);
    }, 300_000);
  }

  test('confine = "require" does not start without one, and says which', async () => {
    for (const without of ["namespaces", "files", "syscalls"]) {
      const { failure } = await intrude(["main list /"], "require", without);
      const message = expect.stringContaining(`the layer "${without}" of capsa-vmm cannot be applied`);
      expect(failure).toMatchObject({ code: "CONFINE_FAILED", message });
    }
  }, 60_000);

  describe("at once the process ends that tries to", () => {
    for (const [name, attempt] of Object.entries(FATAL)) {
      test(name, async () => {
        const ran = await intrude(["main end -", `main ${attempt}`, "main read /etc/shadow"], "require");
        expect([...resultsOf(ran).keys()]).toEqual(["main end -"]);
        expect(ran.failure).toMatchObject({ code: "VMM_DIED", message: expect.stringContaining("SIGSYS") });
        expect(ran.reason).toBe("failed");
      }, 60_000);
    }

    test("on any thread", async () => {
      for (const thread of THREADS) {
        const ran = await intrude(["main end -", `${thread} exec /bin/sh`], "require");
        const message = expect.stringContaining("(execve), which it never makes");
        expect({ thread, ...ran.failure }).toMatchObject({ thread, code: "VMM_DIED", message });
      }
    }, 120_000);
  });

  test("without confinement the same deeds succeed: it is confinement that refuses them", async () => {
    const another = sleeper();
    const { files, sockets, signals, processes } = ATTEMPTS;
    const orders = [
      files["the passwords"],
      files["a file outside"],
      files["a new file outside"],
      files["another sandbox's directory"],
      files["the passwords by a symbolic link"],
      sockets["a Unix socket outside"],
      sockets["another sandbox's control socket"],
      sockets["an abstract socket"],
      sockets["TCP on this machine"],
      sockets.netlink,
      processes.fork,
      processes["code in new memory"],
      processes["code in old memory"],
      "call setpriority 0 VICTIM 19",
      "call pidfd_open VICTIM",
      files["what happens outside"],
      signals["kill this process"],
      signals["a signal on input"],
    ].map((attempt) => `main ${order(attempt, another.pid)}`);
    const found = resultsOf(await intrude(orders, "none"));
    expect(orders.map((text) => [text, found.get(text)])).toEqual(orders.map((text) => [text, DONE]));
    expect(existsSync(join(scene.outside, "planted"))).toBe(true);
    expect(await another.exited).toBe(128 + 9);
  }, 60_000);
});
