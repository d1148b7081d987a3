/** The table once more, with a capsa that an ordinary user of this machine runs: what is different by the user, at least. */
import { expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { kernelPath } from "../../../src/host/installation.ts";
import { NOBODY, soaking } from "./column.ts";
import { TOOLS } from "./table.ts";

const CHECKOUT = resolve(import.meta.dirname, "../../..");
/** Whether root may give that user another view of this machine, with the checkout in a place that all reach. */
const can =
  process.getuid!() === 0 && Bun.spawnSync(["unshare", "--mount", "true"], { stderr: "ignore" }).success;

test.skipIf(!can)(
  can ? "tools do as on a disk" : "tools do as on a disk: this needs root, and a mount namespace",
  async () => {
    const top = mkdtempSync(join(tmpdir(), "capsa-user-"));
    try {
      chmodSync(top, 0o755);
      for (const place of ["checkout", "home", "tmp"]) mkdirSync(join(top, place));
      for (const place of ["home", "tmp"]) chownSync(join(top, place), NOBODY, NOBODY);
      writeFileSync(join(top, "kernel"), "");
      const script = [
        'mount --bind "$1" checkout; mount --bind "$2" kernel; cd checkout; shift 2',
        `exec setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups -- "$@"`,
      ];
      const rows = TOOLS.filter(({ users }) => users || soaking).map(({ name }) => name);
      const bun = process.execPath.replace(CHECKOUT, join(top, "checkout"));
      const child = Bun.spawn(
        [
          ...["unshare", "--mount", "sh", "-euc", script.join("; "), "sh", CHECKOUT, await kernelPath()],
          ...[
            bun,
            "test",
            "--timeout",
            "120000",
            "./tests/sandbox/files/tools.test.ts",
            "-t",
            rows.join("|"),
          ],
        ],
        {
          cwd: top,
          env: {
            PATH: process.env.PATH,
            HOME: join(top, "home"),
            TMPDIR: join(top, "tmp"),
            CAPSA_KERNEL: join(top, "kernel"),
            CAPSA_SOAK: process.env.CAPSA_SOAK,
          },
          stdin: "ignore",
          stdout: "pipe",
          stderr: "pipe",
        },
      );
      const [exitCode, stdout, stderr] = await Promise.all([
        child.exited,
        child.stdout.text(),
        child.stderr.text(),
      ]);
      expect([exitCode, exitCode === 0 ? "" : stdout + stderr]).toEqual([0, ""]);
    } finally {
      rmSync(top, { recursive: true, force: true });
    }
  },
  soaking ? 7_200_000 : 1_200_000,
);
