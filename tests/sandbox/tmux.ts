/** A terminal that a test looks at and types into: a shell in a tmux of its own. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PATIENCE_MS = 60_000;

export class Tmux implements Disposable {
  /** Where the shell is; goes with it. */
  readonly directory = mkdtempSync(join(tmpdir(), "capsa-tmux-"));
  readonly #socket = join(this.directory, "tmux.sock");

  constructor(columns = 100, rows = 30) {
    const shell = `cd ${this.directory}; PS1='ready$ ' exec bash --norc --noprofile`;
    this.#run("-f", "/dev/null", "new-session", "-d", "-x", `${columns}`, "-y", `${rows}`, "sh", "-c", shell);
  }

  /** Type text, as it is. */
  type(text: string): void {
    this.#run("send-keys", "-l", text);
  }

  /** Press a key by tmux's name of it: `Enter`, `C-c`, `Escape`. */
  press(...keys: string[]): void {
    this.#run("send-keys", ...keys);
  }

  line(text: string): void {
    this.type(text);
    this.press("Enter");
  }

  resize(columns: number, rows: number): void {
    this.#run("resize-window", "-x", `${columns}`, "-y", `${rows}`);
  }

  screen(): string {
    return this.#run("capture-pane", "-p", "-J").trimEnd();
  }

  /** The screen once `wanted` is on it. */
  async until(wanted: string | RegExp): Promise<string> {
    for (const end = performance.now() + PATIENCE_MS; ; ) {
      const seen = this.screen();
      if (typeof wanted === "string" ? seen.includes(wanted) : wanted.test(seen)) return seen;
      if (performance.now() > end) throw new Error(`never on the screen: ${wanted}\n${seen}`);
      await Bun.sleep(20);
    }
  }

  [Symbol.dispose](): void {
    this.#run("kill-server");
    rmSync(this.directory, { recursive: true, force: true });
  }

  #run(...args: string[]): string {
    const { exitCode, stdout, stderr } = Bun.spawnSync(["tmux", "-S", this.#socket, ...args], {
      env: { ...process.env, TMUX: "" },
    });
    if (exitCode !== 0) throw new Error(`tmux ${args.join(" ")}: ${stderr}`);
    return stdout.toString();
  }
}
