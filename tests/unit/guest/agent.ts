/** The agent, built with ASan and UBSan, on a Unix socket of this machine, and raw frames to and from it. */

import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Encoder } from "cbor-x";

export const root = join(import.meta.dir, "../../..");
const cbor = new Encoder({ useRecords: false, tagUint8Array: true, int64AsNumber: true } as never);

/** What a frame holds; its fields are looked at one by one. */
// biome-ignore lint/suspicious/noExplicitAny: frames are whatever the agent sends
export type Frame = Record<string, any>;

/** Build the test programs of the guest once for a test file. */
export function build(): void {
  const make = Bun.spawnSync(["make", "-s", "-j2", "-C", "guest", "check"], {
    cwd: root,
    stdout: "pipe",
    stderr: "pipe",
  });
  if (make.exitCode !== 0) throw new Error(`make -C guest check:\n${make.stdout}${make.stderr}`);
}

export function encode(message: Frame): Buffer {
  const body = cbor.encode(message);
  const frame = Buffer.alloc(4 + body.length);
  frame.writeUInt32BE(body.length);
  frame.set(body, 4);
  return frame;
}

/** A connection to an agent; frames are kept until someone asks for them. */
export class Connection {
  readonly socket: Socket;
  readonly frames: Frame[] = [];
  /** CBOR bytes of the frames, as long as `frames`. */
  readonly sizes: number[] = [];
  closed = false;
  private received: Buffer = Buffer.alloc(0);
  private waiting: (() => void)[] = [];
  private nextId = 1;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (bytes: Buffer) => this.take(bytes));
    socket.on("error", () => {});
    socket.on("close", () => {
      this.closed = true;
      this.wake();
    });
  }

  static async open(path: string): Promise<Connection> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return new Connection(socket);
  }

  private take(bytes: Buffer): void {
    this.received = this.received.length ? Buffer.concat([this.received, bytes]) : bytes;
    for (;;) {
      if (this.received.length < 4) break;
      const length = this.received.readUInt32BE(0);
      if (this.received.length < 4 + length) break;
      this.frames.push(cbor.decode(this.received.subarray(4, 4 + length)));
      this.sizes.push(length);
      this.received = this.received.subarray(4 + length);
    }
    this.wake();
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  /** Something arrived, or the connection closed. */
  change(): Promise<void> {
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  send(message: Frame): void {
    this.socket.write(encode(message));
  }

  /** Send a request under a fresh id, which is returned. */
  request(op: string, fields: Frame = {}): number {
    const id = this.nextId++;
    this.send({ id, op, ...fields });
    return id;
  }

  /** The first frame that fits; an error when the connection closes before. */
  async find(fits: (frame: Frame) => boolean): Promise<Frame> {
    for (let at = 0; ; ) {
      for (; at < this.frames.length; at++) {
        const frame = this.frames[at];
        if (frame && fits(frame)) return frame;
      }
      if (this.closed) throw new Error("the agent closed the connection");
      await this.change();
    }
  }

  response(id: number): Promise<Frame> {
    return this.find((frame) => frame.id === id && "ok" in frame);
  }

  /** The payload so far of one event of a call. */
  payload(id: number, ev: string): Buffer {
    return Buffer.concat(this.frames.filter((f) => f.id === id && f.ev === ev).map((f) => f.data));
  }

  /** Wait for the end of a call, crediting what arrives. Returns the response. */
  async drain(id: number): Promise<Frame> {
    for (let at = 0; ; ) {
      for (; at < this.frames.length; at++) {
        const frame = this.frames[at];
        if (!frame || frame.id !== id) continue;
        if ("ok" in frame) return frame;
        if (frame.data) this.send({ id, credit: frame.data.length });
        if (frame.entries) this.send({ id, credit: this.sizes[at] });
      }
      if (this.closed) throw new Error("the agent closed the connection");
      await this.change();
    }
  }

  /** Run a program to its end. */
  async exec(argv: (string | Uint8Array)[], fields: Frame = {}) {
    const id = this.request("exec", { argv, ...fields });
    const response = await this.drain(id);
    return { response, stdout: this.payload(id, "stdout"), stderr: this.payload(id, "stderr") };
  }

  close(): void {
    this.socket.destroy();
  }
}

/** An agent process in a directory of its own. */
export class Agent {
  readonly process: Bun.Subprocess<"ignore", "pipe", "pipe">;
  readonly directory: string;
  private readonly connections: Connection[] = [];

  private constructor(directory: string) {
    this.directory = directory;
    this.process = Bun.spawn([join(root, "build/check/agent"), "--socket", join(directory, "agent.sock")], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      env: { PATH: "/usr/bin:/bin", HOME: directory, FROM_SANDBOX: "yes" },
    });
  }

  static async start(): Promise<Agent> {
    const agent = new Agent(await mkdtemp(join(tmpdir(), "capsa-agent-")));
    for (let i = 0; i < 500; i++) {
      try {
        (await Connection.open(join(agent.directory, "agent.sock"))).close();
        return agent;
      } catch {
        await Bun.sleep(10);
      }
    }
    throw new Error(`the agent does not listen: ${await agent.stop().catch(String)}`);
  }

  async connect(): Promise<Connection> {
    const connection = await Connection.open(join(this.directory, "agent.sock"));
    this.connections.push(connection);
    return connection;
  }

  /** Open descriptors of the agent. */
  async descriptors(): Promise<number> {
    const { readdir } = await import("node:fs/promises");
    return (await readdir(`/proc/${this.process.pid}/fd`)).length;
  }

  /** Whether it soon has no more descriptors open than that: connections that have ended take a moment to go. */
  async comesDownTo(descriptors: number): Promise<boolean> {
    for (let i = 0; i < 1000 && (await this.descriptors()) > descriptors; i++) await Bun.sleep(10);
    return (await this.descriptors()) <= descriptors;
  }

  /** End it as init does; throws what a sanitizer or the agent has to say. */
  async stop(): Promise<void> {
    for (const connection of this.connections) connection.close();
    this.process.kill("SIGTERM");
    const timer = setTimeout(() => this.process.kill("SIGKILL"), 10_000);
    const [code, stderr] = await Promise.all([this.process.exited, this.process.stderr.text()]);
    clearTimeout(timer);
    await rm(this.directory, { recursive: true, force: true });
    if (code !== 0 || stderr) throw new Error(`agent: exit code ${code}\n${stderr}`);
  }
}
