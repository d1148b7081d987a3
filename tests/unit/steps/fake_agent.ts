/** An agent without a guest: programs are functions, files are a map. */
import type { Agent, ExecOptions, ExecResult, Input } from "../../../src/agent/api.ts";
import { AgentError } from "../../../src/errors/errors.ts";

export interface Program {
  readonly stdout?: string | Uint8Array[];
  readonly stderr?: string;
  readonly exitCode?: number;
  readonly signal?: string;
  readonly timedOut?: boolean;
  /** Instead of a result. */
  readonly error?: Error;
  /** Runs until it is aborted. */
  readonly hangs?: true;
}

export interface FakeAgent extends Agent {
  readonly execs: { argv: readonly string[]; options: ExecOptions }[];
  readonly files: Map<string, { contents: Uint8Array; mode: number | undefined }>;
}

/** `programs` by the last word of the command. */
export function fakeAgent(programs: Readonly<Record<string, Program>> = {}): FakeAgent {
  const execs: FakeAgent["execs"] = [];
  const files: FakeAgent["files"] = new Map();
  const aborted = (signal: AbortSignal | undefined) =>
    new Promise<never>((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
  const agent = {
    execs,
    files,
    async exec(argv: readonly string[], options: ExecOptions): Promise<ExecResult> {
      execs.push({ argv, options });
      const program = programs[argv.at(-1)!] ?? {};
      if (program.error) throw program.error;
      if (program.hangs) return aborted(options.signal);
      const { stdout = "", stderr = "", signal = null, timedOut = false } = program;
      const encode = (text: string) => new TextEncoder().encode(text);
      for (const chunk of typeof stdout === "string" ? [encode(stdout)] : stdout) options.onStdout?.(chunk);
      options.onStderr?.(encode(stderr));
      const exitCode = signal === null ? (program.exitCode ?? 0) : null;
      const empty = new Uint8Array();
      return {
        exitCode,
        signal,
        timedOut,
        oomKilled: false,
        ok: exitCode === 0,
        truncated: false,
        stdout: "",
        stderr: "",
        stdoutBytes: empty,
        stderrBytes: empty,
        durationMs: 1,
      };
    },
    async exists(path: string, options: { signal?: AbortSignal }) {
      if (path === "/hangs") return aborted(options.signal);
      return files.has(path);
    },
    async readFile(path: string, options: { length?: number }) {
      const file = files.get(path);
      if (!file) throw new AgentError("ENOENT", `${path}: no such file`, { op: "readFile", path });
      return file.contents.slice(0, options.length);
    },
    async writeFile(path: string, contents: Input, options: { mode?: number }) {
      const bytes = new Uint8Array(await new Response(contents as string | Blob).arrayBuffer());
      files.set(path, { contents: bytes, mode: options.mode });
      return bytes.length;
    },
  };
  return agent as unknown as FakeAgent;
}
