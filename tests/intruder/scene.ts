/** Where an intruder is at work: what it may have, what it is after, and what became of its orders. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Ran } from "../lab/bare.ts";
import { attempts } from "./attempts.ts";

export const DONE = 0;
export const NOT_UNDERSTOOD = 9999;

export const sleeper = () => Bun.spawn(["sleep", "1000"]);

export class Scene implements Disposable {
  readonly top = mkdtempSync(join(tmpdir(), "capsa-intruder-"));
  readonly share = join(this.top, "share");
  readonly outside = join(this.top, "outside");
  /** As another sandbox has it. */
  readonly neighbour = join(this.top, "neighbour");
  readonly attempts = attempts(this);
  readonly victim = sleeper();
  readonly #port: number;
  readonly #listeners: { stop(force?: boolean): void }[];

  constructor() {
    for (const directory of [this.share, this.outside, this.neighbour]) mkdirSync(directory);
    writeFileSync(join(this.share, "file"), "shared\n");
    writeFileSync(join(this.outside, "secret"), "only for the host\n");
    writeFileSync(join(this.neighbour, "initrd.cpio"), "another's\n");
    const socket = { data: () => {} };
    const tcp = Bun.listen({ hostname: "127.0.0.1", port: 0, socket });
    this.#port = tcp.port;
    this.#listeners = [
      tcp,
      Bun.listen({ unix: join(this.outside, "socket"), socket }),
      Bun.listen({ unix: join(this.neighbour, "control.sock"), socket }),
      Bun.listen({ unix: `\0capsa-test-${process.pid}`, socket }),
    ];
  }

  order(attempt: string, pid = this.victim.pid): string {
    return attempt.replace("VICTIM", String(pid)).replace("PORT", String(this.#port));
  }

  /** A file with these orders, for an initrd. */
  orders(lines: readonly string[]): string {
    const path = join(this.top, "orders");
    writeFileSync(path, `${lines.join("\n")}\n`);
    return path;
  }

  [Symbol.dispose](): void {
    this.victim.kill();
    for (const listener of this.#listeners) listener.stop(true);
    rmSync(this.top, { recursive: true, force: true });
  }
}

/** From `order -> errno` on the console. */
export function resultsOf(ran: Ran): Map<string, number> {
  const lines = ran.console.split("\n").map((line) => line.trimEnd().split(" -> "));
  return new Map(lines.flatMap(([order, result]) => (result ? [[order!, Number(result)] as const] : [])));
}

/** What this machine seems to be to the VMM. */
export interface Conditions {
  /** Layers of confinement that it lacks: `namespaces,files`. */
  readonly without?: string | undefined;
  /** Started by an ordinary user. */
  readonly nobody?: boolean;
  /** With a network card. */
  readonly network?: boolean;
}

const built = join(import.meta.dir, "../../build/compromised");
export const NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];

/** Run a machine to its end, as ../lab/bare.ts does, under these conditions. */
export async function runUnder(
  conditions: Conditions,
  program: string,
  config: Record<string, unknown>,
): Promise<Ran> {
  const { without, nobody = false, network = false } = conditions;
  const child = Bun.spawn(
    [
      ...(without ? [join(built, "without"), without] : []),
      ...(nobody ? NOBODY : []),
      process.execPath,
      join(import.meta.dir, "ran.ts"),
    ],
    {
      stdin: new Blob([JSON.stringify({ program, config, network, limitMs: 100_000 })]),
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}
