/**
 * What the command line makes of a runtime directory in which a VMM that was taken over has put anything, and of what it
 * says on its sockets. Usage: runtime_dir.ts SECONDS SEED; a line for each thing that is tried, so that whoever watches
 * knows where it stopped. Ends with exit code 1 and the seed of the round at the first thing that is not as it should be.
 */

import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import type { Cli } from "../../src/cli/cli.ts";
import { describeFailure } from "../../src/cli/failure.ts";
import { down } from "../../src/cli/verbs/down.ts";
import { exec } from "../../src/cli/verbs/exec.ts";
import { logs } from "../../src/cli/verbs/logs.ts";
import { metrics } from "../../src/cli/verbs/metrics.ts";
import { ps } from "../../src/cli/verbs/ps.ts";
import { CapsaError } from "../../src/errors/errors.ts";
import { claim, type Place } from "../../src/machine/claim.ts";
import { ended } from "../../src/sandbox/registry.ts";
import { encodeFrame, FrameDecoder, type Message } from "../../src/wire/framing.ts";
import { Shown } from "../unit/cli/shown.ts";
import { SPEC } from "../unit/sandbox/spec.ts";

const SECRET = "a-word-of-the-host-alone";
const LIMIT_MS = 4000; // of one command
const TICK_MS = 100;
const TALK_MS = 100; // at most, before a hostile server hangs up
const until = performance.now() + Number(process.argv[2] ?? 5) * 1000;
let seed = Number(process.argv[3] ?? 1) >>> 0;

// ---- what is left to chance ----

/** mulberry32 */
function random(below: number): number {
  seed = (seed + 0x6d2b79f5) >>> 0;
  let t = Math.imul(seed ^ (seed >>> 15), seed | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) % below;
}

const pick = <T>(of: readonly T[]): T => of[random(of.length)]!;
const chance = (percent: number) => random(100) < percent;
const noise = (length: number) => Uint8Array.from({ length }, () => random(256));

const ODD_TEXTS = [
  "",
  "box",
  "running",
  "\u001b[2J\u009b31m",
  "\u202e",
  "../../..",
  "x".repeat(5000),
  SECRET.slice(1),
];

function oddValue(depth = 0): unknown {
  const kind = random(depth > 2 ? 6 : 8);
  if (kind === 0) return random(2) === 1;
  if (kind === 1) return pick([0, 1, 52, 255, -1, 2 ** 31, 2 ** 53 - 1, 0.5, random(1000)]);
  if (kind === 2) return pick(ODD_TEXTS);
  if (kind === 3) return noise(random(40));
  if (kind === 4) return null;
  if (kind === 5) return undefined;
  if (kind === 6) return Array.from({ length: random(4) }, () => oddValue(depth + 1));
  return oddMap(depth + 1);
}

const KEYS = [
  "id",
  "reply",
  "result",
  "error",
  "code",
  "message",
  "event",
  "ev",
  "data",
  "ok",
  "version",
  "agent",
  "state",
];

function oddMap(depth = 0): Message {
  return Object.fromEntries(Array.from({ length: random(5) }, () => [pick(KEYS), oddValue(depth)]));
}

/** As what is expected, but for a field or two. */
function mutated(message: Message): Message {
  if (chance(40)) return message;
  return { ...message, [pick([...Object.keys(message), ...KEYS])]: oddValue() };
}

// ---- the host, which stays as it is ----

const top = mkdtempSync(join(tmpdir(), "cfr-"));
const victims = join(top, "victims");
const file = join(victims, "file");
const directory = join(victims, "directory");
const socket = join(victims, "socket");
let connections = 0;

mkdirSync(directory, { recursive: true });
writeFileSync(file, `${SECRET}\n`.repeat(1000), { mode: 0o640 });
writeFileSync(join(directory, "52.sock"), SECRET);
writeFileSync(join(directory, "events.log"), encodeFrame({ ev: "main-stdout", data: Buffer.from(SECRET) }));
Bun.spawnSync(["mkfifo", join(top, "fifo")]);
const listener = createServer((stream) => {
  connections++;
  stream.on("error", () => {});
  stream.end(encodeFrame({ id: 1, ok: true, version: 1, agent: SECRET }));
});
await new Promise<void>((resolve) => listener.listen(socket, resolve));

function hostState(): string {
  const { size, mode, mtimeMs } = statSync(file);
  const names = [victims, directory].map((path) => readdirSync(path).sort());
  const texts = ["52.sock", "events.log"].map((name) => readFileSync(join(directory, name), "latin1"));
  return JSON.stringify([size, mode, mtimeMs, names, texts, statSync(directory).mode, connections]);
}

// ---- what a hostile VMM leaves and says ----

/** Something at the path, or nothing. */
function plant(path: string, depth = 0): void {
  rmSync(path, { recursive: true, force: true });
  const things: (() => void)[] = [
    () => {},
    () => symlinkSync(file, path),
    () => symlinkSync(directory, path),
    () => symlinkSync(socket, path),
    () => symlinkSync(join(victims, "new"), path),
    () => symlinkSync(path, path),
    () => symlinkSync("/dev/zero", path),
    () => linkSync(file, path),
    () => linkSync(socket, path),
    () => linkSync(join(top, "fifo"), path),
    () => writeFileSync(path, noise(random(2000))),
    () => writeFileSync(path, JSON.stringify({ version: 1, name: "box", ...oddMap() })),
    () => writeFileSync(path, Buffer.concat(Array.from({ length: random(9) }, guestFrame))),
    () => writeFileSync(path, Array.from({ length: random(9) }, logLine).join("")),
    () => {
      writeFileSync(path, chance(50) ? guestFrame() : logLine());
      truncateSync(path, 2 ** pick([20, 32, 42]));
    },
    () => {
      mkdirSync(path);
      if (depth < 3) for (let i = random(4); i > 0; i--) plant(join(path, oddName()), depth + 1);
      if (chance(30)) chmodSync(path, 0);
    },
  ];
  try {
    pick(things)();
  } catch (error) {
    if (!["EEXIST", "ENAMETOOLONG", "EINVAL"].includes((error as NodeJS.ErrnoException).code ?? ""))
      throw error;
  }
}

const oddName = () =>
  pick([
    "52.sock",
    "53.sock",
    "host-1.sock",
    "a",
    "\u001b[2J",
    "\n",
    " ",
    "-rf",
    "n".repeat(255),
    `${random(9)}.sock`,
  ]);

function guestFrame(): Uint8Array {
  return encodeFrame(
    mutated(
      pick<Message>([
        { ev: "ready", t: { kernel: 1, init: 2, mounts: 3, agent: 4 } },
        { ev: "main-stdout", data: noise(20) },
        { ev: "main-exit", exitCode: 3 },
        { ev: "boot-failed", code: "ENOENT", message: pick(ODD_TEXTS) },
        { ev: "expired", why: "ttl" },
      ]),
    ),
  );
}

const logLine = () =>
  pick([`2026-01-01T00:00:0${random(9)}Z tcp ${pick(ODD_TEXTS)}\n`, `${pick(ODD_TEXTS)}\n`, "\n"]);

function answer(request: Message): Message {
  if (request.op === "hello") return { id: request.id, ok: true, version: 1, agent: "agent" };
  if (typeof request.op === "string" && !["status", "stop"].includes(request.op))
    return pick<Message>([
      { id: request.id, ok: true, processes: [], pid: 1 },
      { id: request.id, ok: false, error: { code: "ENOENT", message: pick(ODD_TEXTS) } },
      { id: request.id, ev: "exit", exitCode: 0 },
    ]);
  const traffic = { fs: { fromGuest: 1, toGuest: 2 } };
  const result = { state: "running", uptimeNs: 1, memory: 1 << 28, eventsLog: random(4000), traffic };
  return { reply: request.id, result };
}

function serve(stream: Socket): void {
  const decoder = new FrameDecoder();
  const hangUp = setTimeout(() => stream.destroy(), random(TALK_MS));
  stream.on("error", () => {});
  stream.on("close", () => clearTimeout(hangUp));
  const kind = random(4);
  if (kind === 0) stream.end();
  if (kind === 1) stream.write(noise(random(300)));
  if (kind === 2) for (let i = random(5); i > 0; i--) stream.write(encodeFrame(oddMap()));
  stream.on("data", (data: Buffer) => {
    try {
      for (const [request] of decoder.push(data)) stream.write(encodeFrame(mutated(answer(request))));
    } catch {
      stream.destroy();
    }
  });
}

/** A server of the VMM's there. */
async function talk(path: string, servers: Server[]): Promise<void> {
  rmSync(path, { recursive: true, force: true });
  const server = createServer(serve);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(path, resolve));
}

// ---- what the user types ----

const vmms: Bun.Subprocess[] = [];

/** A process that stands for a VMM; one that was ended is replaced. */
function vmm(): number {
  const last = vmms.at(-1);
  if (last !== undefined && last.exitCode === null && last.signalCode === null) return last.pid;
  const next = Bun.spawn(["sleep", "1000"]);
  vmms.push(next);
  return next.pid;
}

const VERBS = { ps, logs, down, exec, metrics };
/** Those that show nothing but what capsa has made of it. */
const CLEAN = new Set(["ps", "logs --network box", "metrics", "metrics box"]);

const COMMANDS = [
  "ps",
  "ps --json",
  "ps box",
  "logs box",
  "logs --json box",
  "logs --network box",
  "exec box -- true",
  "metrics",
  "metrics box",
  "down --grace 10ms box",
];

async function command(line: string): Promise<void> {
  console.log(line);
  const terminal = new Shown();
  const cli: Cli = { terminal, signal: AbortSignal.timeout(300), exitCode: 0 };
  const program = new Command("capsa").exitOverride();
  const words = line.split(" ");
  VERBS[words[0] as keyof typeof VERBS](program, cli);
  let failure = "";
  try {
    await orLate(program.parseAsync(words, { from: "user" }));
  } catch (error) {
    const isOurs = error === cli.signal.reason;
    if (!(error instanceof CapsaError) && !isOurs) throw error;
    failure = isOurs ? "" : describeFailure(error).text;
  }
  const { text } = terminal;
  if (`${text}${failure}`.includes(SECRET)) throw new Error(`it shows what is the host's: ${text}${failure}`);
  const shown = CLEAN.has(line) ? `${text}${failure}` : failure;
  if (/[^\P{Cc}\n]/u.test(shown)) throw new Error(`it shows what a terminal obeys: ${JSON.stringify(shown)}`);
}

/** By ticks: a machine that stood still has not had the time. */
function orLate<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  let left = LIMIT_MS / TICK_MS;
  const ticks = setInterval(() => {
    if (--left === 0) reject(new Error(`it did not end within ${LIMIT_MS} ms`));
  }, TICK_MS);
  return Promise.race([work, promise]).finally(() => clearInterval(ticks));
}

// ---- a round ----

let rounds = 0;

async function round(): Promise<void> {
  const before = hostState();
  const place = await claim({ name: "box", spec: { ...SPEC, name: "box" } }, "qemu", chance(20));
  const servers: Server[] = [];
  try {
    place.started(vmm());
    for (let i = random(8); i > 0; i--) plant(join(place.runtimeDir, "vmm", oddName()));
    if (chance(50)) await talk(join(place.runtimeDir, "vmm", "52.sock"), servers);
    if (chance(50)) await talk(join(place.runtimeDir, "control.sock"), servers);
    for (const name of ["events.log", "network.log", "console.log", "secrets.log"]) fill(place, name);
    if (chance(5)) plant(join(place.runtimeDir, "control.sock"));
    if (chance(5)) plant(join(place.runtimeDir, "sandbox.json"));
    for (let i = 1 + random(4); i > 0; i--) await command(pick(COMMANDS));
    if (chance(30)) await leave(place);
    if (chance(20)) await ended();
  } finally {
    for (const server of servers) server.close();
    place.release();
  }
  const after = hostState();
  if (after !== before) throw new Error(`the host is not as it was:\n${before}\n${after}`);
}

/** A log: what a confined VMM writes into it or, as a second wall, anything in its place. */
function fill(place: Place, name: string): void {
  const path = join(place.runtimeDir, name);
  if (chance(50)) {
    plant(path);
    return;
  }
  const fd = openSync(path, "w", 0o600);
  writeSync(fd, name === "events.log" ? guestFrame() : Buffer.from(logLine()));
  closeSync(fd);
}

/** The VMM is dead, and its keeper, too: the next command finds what they left. */
async function leave(place: Place): Promise<void> {
  const who = { pid: process.pid, start: "1" }; // whose number somebody else has now
  const record = { version: 1, id: place.id, name: "box", created: "", owner: who, vmm: who };
  rmSync(join(place.runtimeDir, "sandbox.json"), { recursive: true, force: true });
  writeFileSync(join(place.runtimeDir, "sandbox.json"), JSON.stringify(record));
  await command("ps");
  if (readdirSync(join(top, "run")).includes(place.id))
    throw new Error("what a dead VMM left is still there");
}

process.on("unhandledRejection", (error) => fail(error));
process.on("uncaughtException", (error) => fail(error));
process.env.CAPSA_RUNTIME_DIR = join(top, "run");
process.env.XDG_STATE_HOME = join(top, "state");
let first = seed;

function tidy(): void {
  for (const one of vmms) one.kill("SIGKILL");
  rmSync(top, { recursive: true, force: true });
}

function fail(error: unknown): never {
  console.error(`seed ${first}:`, error);
  tidy();
  process.exit(1);
}

while (performance.now() < until) {
  first = seed;
  console.log(`round ${rounds} seed ${first}`);
  await round().catch(fail);
  rounds++;
}
console.log(`rounds: ${rounds}`);
tidy();
process.exit(0);
