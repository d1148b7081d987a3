/** A guest without an operating system that does all it can to break the devices: the VMM lives, and the host is as it
 * was. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chooseEngine } from "../../src/engine/choose.ts";
import { qemuPath, vmmPath } from "../../src/host/installation.ts";
import { buildGuest, type Ran, runMachine } from "../lab/bare.ts";

const { engine } = chooseEngine("auto");
const top = mkdtempSync(join(tmpdir(), "capsa-hostile-"));
let kernel: string;

beforeAll(() => {
  kernel = buildGuest("hostile", top);
});

afterAll(() => rmSync(top, { recursive: true }));

/** Directories of one run: share/ and read-only/ for the guest, outside/ for nobody. */
function makeFiles(seed: number): string {
  const base = mkdtempSync(join(top, `${seed}-`));
  for (const name of ["share", "read-only", "outside"]) mkdirSync(join(base, name));
  writeFileSync(join(base, "outside/secret"), "only for the host\n");
  writeFileSync(join(base, "read-only/file"), "as it was\n");
  symlinkSync("../outside/secret", join(base, "share/link"));
  return base;
}

async function hostile(seed: number, rounds: number, more = ""): Promise<Ran> {
  const base = makeFiles(seed);
  const ran = await runMachine(
    vmmPath(),
    {
      engine,
      kernel,
      cmdline: `seed=${seed} rounds=${rounds} ${more}`,
      fs: [
        {
          tag: "files",
          roots: [
            { name: "0", path: join(base, "share"), readOnly: false },
            { name: "1", path: join(base, "read-only"), readOnly: true },
          ],
        },
      ],
      vsock: { cid: 3, ports: [52] },
      rng: true,
      console: true,
      eventsPort: 53,
      qemu: engine === "qemu" ? { path: qemuPath() } : undefined,
    },
    240_000,
  );
  expect(readdirSync(base).sort()).toEqual(["outside", "read-only", "share"]);
  expect(readdirSync(join(base, "outside"))).toEqual(["secret"]);
  expect(readFileSync(join(base, "outside/secret"), "utf8")).toBe("only for the host\n");
  expect(readdirSync(join(base, "read-only"))).toEqual(["file"]);
  expect(readFileSync(join(base, "read-only/file"), "utf8")).toBe("as it was\n");
  return ran;
}

/** It went through all its rounds, and every device it then drove as one should did what it should. */
function survived(ran: Ran, rounds: number): void {
  expect(ran.console.slice(-80)).toEndWith(`\nhostile: survived rounds=${rounds} rng=1 fs=1 kicked=1\n`);
  expect(ran).toMatchObject({ reason: "shutdown", failure: undefined, exitCode: 0 });
}

test("10,000 rounds of hostile rings are survived", async () => {
  for (const seed of [1, 2, 3]) survived(await hostile(seed, 10_000, "absurd=0"), 10_000);
}, 300_000);

// QEMU passes on what no driver may ask for, and the VMM then ends a machine that cannot go on
if (engine === "kvm") {
  test("10,000 rounds that are absurd besides are survived", async () => {
    survived(await hostile(4, 10_000), 10_000);
  }, 300_000);
} else {
  test("a guest that asks QEMU for the absurd is shown out with the reason", async () => {
    let failed = 0;
    for (let seed = 1; seed <= 8; seed++) {
      const ran = await hostile(seed, 10_000);
      if (ran.reason === "shutdown") {
        survived(ran, 10_000);
        continue;
      }
      failed++;
      expect({ seed, ...ran.failure }).toMatchObject({ seed, code: "EPROTO" });
      expect(ran.failure!.message).toMatch(/^vhost-user \w+, message \d+: /);
      expect(ran).toMatchObject({ reason: "failed", exitCode: 1 });
    }
    expect(failed).toBeGreaterThan(0);
  }, 120_000);
}
