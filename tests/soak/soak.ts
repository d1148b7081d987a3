/**
 * Many sandboxes in one process, each under random work for a while: what programs print and files hold is checked byte
 * for byte, and at the end this process must have let go of all it took.
 */
import { createHash, randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { type Agent, Capsa, list, sandbox } from "../../src/index.ts";

export interface SoakOptions {
  readonly sandboxes: number;
  readonly seconds: number;
  /** Calls that each sandbox has under way at a time. */
  readonly workers: number;
  /** Largest file and longest output, bytes. */
  readonly most: number;
}

/** What this process holds. */
export interface Held {
  /** Resident memory, bytes. */
  readonly memory: number;
  readonly descriptors: number;
  readonly children: number;
}

export interface SoakReport {
  /** Calls made, by kind. */
  readonly calls: Readonly<Record<string, number>>;
  readonly bytes: number;
  /** Before anything was booted; with all under work, the most; after all are gone. */
  readonly before: Held;
  readonly peak: Held;
  readonly after: Held;
  /** Sandboxes of this process that are still there at the end. */
  readonly left: number;
}

type Count = (kind: string, bytes: number) => void;

/** Random calls in a row until `over`, with files below `directory` and what they must hold. */
async function work(
  agent: Agent,
  directory: string,
  most: number,
  over: () => boolean,
  count: Count,
): Promise<void> {
  const files = new Map<string, string>();
  let made = 0;
  const some = () => randomBytes(Math.floor(Math.random() ** 3 * most));
  const kinds = [
    async function write() {
      const path = `${directory}/${made++ % 8}`;
      const bytes = some();
      await agent.writeFile(path, bytes);
      files.set(path, hash(bytes));
      count("write", bytes.length);
    },
    async function read() {
      const [path, want] = [...files][0] ?? [];
      if (path === undefined) return;
      const bytes = await agent.readFile(path);
      if (hash(bytes) !== want) throw new Error(`${path} reads as something else than was written`);
      count("read", bytes.length);
    },
    async function sum() {
      const [path, want] = [...files].at(-1) ?? [];
      if (path === undefined) return;
      const { stdout } = await agent.exec(["sha256sum", path]);
      if (stdout !== `${want}  ${path}\n`)
        throw new Error(`the guest's sum of ${path} is another: ${stdout}`);
      count("exec that reads", 0);
    },
    async function echo() {
      const bytes = some();
      const { stdoutBytes, stderr, exitCode } = await agent.exec(["cat"], { stdin: bytes });
      if (exitCode !== 0 || stderr !== "" || !bytes.equals(stdoutBytes))
        throw new Error(`cat of ${bytes.length} bytes printed ${stdoutBytes.length} others`);
      count("exec with input", 2 * bytes.length);
    },
    async function exit() {
      const code = Math.floor(Math.random() * 100);
      const { exitCode, stderr } = await agent.exec(`echo ${directory} >&2; exit ${code}`);
      if (exitCode !== code || stderr !== `${directory}\n`)
        throw new Error(`exit ${code} came back as ${exitCode}, with "${stderr}"`);
      count("exec that fails", 0);
    },
  ];
  await agent.mkdir(directory, { recursive: true });
  while (!over()) await kinds[Math.floor(Math.random() * kinds.length)]!();
}

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** What this process holds now; with `settle` after its garbage was collected. */
function held(settle = false): Held {
  if (settle) Bun.gc(true);
  const status = readFileSync("/proc/self/status", "latin1");
  return {
    memory: Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) * 1024,
    descriptors: readdirSync("/proc/self/fd").length,
    children: readFileSync(`/proc/self/task/${process.pid}/children`, "latin1").split(" ").length - 1,
  };
}

/** Boot, work, end. Throws what the first call that went wrong says; sandboxes are gone then too. */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  await round({ sandboxes: 1, seconds: 0, workers: 1, most: 1 << 16 }, new Map(), new Set()); // what is kept for good once is no leak
  const before = held(true);
  const ids = new Set<string>();
  const calls = new Map<string, number>();
  let peak = before;
  const watch = setInterval(() => {
    const now = held();
    if (now.memory > peak.memory) peak = now;
  }, 500);
  let bytes = 0;
  try {
    bytes = await round(options, calls, ids);
  } finally {
    clearInterval(watch);
  }
  await Bun.sleep(500); // child processes are collected by the event loop
  const after = held(true);
  const left = (await list()).filter(({ id }) => ids.has(id)).length;
  return { calls: Object.fromEntries(calls), bytes, before, peak, after, left };
}

async function round(
  { sandboxes, seconds, workers, most }: SoakOptions,
  calls: Map<string, number>,
  ids: Set<string>,
): Promise<number> {
  let bytes = 0;
  let failed = false;
  const count: Count = (kind, moved) => {
    calls.set(kind, (calls.get(kind) ?? 0) + 1);
    bytes += moved;
  };
  await using stack = new AsyncDisposableStack();
  const vms = [];
  for (let n = 0; n < sandboxes; n++) {
    const vm = await Capsa.sandbox().memoryMb(128).run("/bin/sleep", ["infinity"]).build();
    stack.use(vm);
    ids.add(vm.id);
    vms.push(vm);
  }
  const agents = await Promise.all(
    vms.map((vm) => sandbox.waitReadyTimeout(vm.vsockSocket(sandbox.agentPort()), 300_000)),
  );
  for (const agent of agents) stack.use(agent);
  const end = performance.now() + seconds * 1000;
  const over = () => failed || performance.now() >= end;
  const all = agents.flatMap((agent, n) =>
    Array.from({ length: workers }, (_, w) =>
      work(agent, `/tmp/${n}-${w}`, most, over, count).catch((error) => {
        failed = true;
        throw error;
      }),
    ),
  );
  const broken = (await Promise.allSettled(all)).find((settled) => settled.status === "rejected");
  if (broken) throw broken.reason;
  return bytes;
}
