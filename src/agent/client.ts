/** The agent's client: every call of the API over one connection. */

import { AgentError } from "../errors.ts";
import type * as api from "./api.ts";
import { attach, detach, processes } from "./background.ts";
import { MAX_WINDOW } from "./call.ts";
import { Collector } from "./collector.ts";
import { Connection, type ConnectOptions } from "./connection.ts";
import { readEntry } from "./entry.ts";
import { bytes, flag, list, map, oneOf, printable, text, uint } from "./fields.ts";
import { pieces } from "./input.ts";
import { Outlet } from "./outlet.ts";
import { exec, execOptions, spawn } from "./process.ts";
import { ProtocolError } from "./profile.ts";

const SHORT_MS = 30_000;
const FILE_MS = 60_000;
const MAX_WHOLE_FILE = 2 ** 31;
const MAX_LISTING = 256 << 20;

/** Connect to the agent behind a Unix socket, see {@link Connection.open} for what it throws. */
export async function connectAgent(path: string, options: ConnectOptions): Promise<api.Agent> {
  return new AgentClient(await Connection.open(path, options));
}

class AgentClient implements api.Agent {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  get version(): string {
    return this.#connection.version;
  }

  async exec(
    command: string | readonly string[],
    envOrOptions?: api.Environment | api.ExecOptions,
  ): Promise<api.ExecResult> {
    return exec(this.#connection, command, execOptions(envOrOptions));
  }

  spawn(command: string | readonly string[], options: api.DetachOptions): Promise<api.BackgroundProcess>;
  spawn(command: string | readonly string[], options?: api.SpawnOptions): Promise<api.AgentProcess>;
  async spawn(
    command: string | readonly string[],
    options: api.SpawnOptions | api.DetachOptions = {},
  ): Promise<api.BackgroundProcess | api.AgentProcess> {
    return "detach" in options && options.detach
      ? detach(this.#connection, command, options)
      : spawn(this.#connection, command, options);
  }

  async attachProcess(id: number, options: api.AttachOptions = {}): Promise<api.AttachedProcess> {
    return attach(this.#connection, id, options);
  }

  async processes(options: api.CallOptions = {}): Promise<api.ProcessEntry[]> {
    return processes(this.#connection, options);
  }

  async readFile(path: string, options: api.ReadOptions = {}): Promise<Uint8Array> {
    const collector = new Collector();
    for await (const chunk of this.#read("readFile", path, options)) {
      if (collector.length + chunk.length > MAX_WHOLE_FILE) {
        throw new AgentError("OUTPUT_TOO_LARGE", `readFile ${path}: it is over ${MAX_WHOLE_FILE} bytes`, {
          op: "readFile",
          path,
          hint: "use readFileStream",
        });
      }
      collector.add(chunk);
    }
    return collector.bytes();
  }

  async readTextFile(path: string, options: api.ReadOptions = {}): Promise<string> {
    return new TextDecoder().decode(await this.readFile(path, options));
  }

  readFileStream(path: string, options: api.ReadOptions = {}): ReadableStream<Uint8Array> {
    return this.#read("readFileStream", path, options);
  }

  #read(op: string, path: string, options: api.ReadOptions): ReadableStream<Uint8Array> {
    checkPath(path);
    checkWhole({ offset: options.offset, length: options.length });
    const limit = options.length ?? Number.MAX_SAFE_INTEGER;
    let received = 0;
    const outlet = new Outlet(
      (count) => call.taken(count),
      () => call.abandon(new AgentError("ECANCELED", `${op} ${path}: cancelled`, { op, path })),
    );
    const call = this.#connection.call({
      op,
      path,
      request: { op: "read_file", path, offset: options.offset, length: options.length },
      window: MAX_WINDOW,
      cancel: { ev: "abort" },
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? FILE_MS,
      onEvent: (event) => {
        oneOf(event, "ev", ["data"]);
        const data = bytes(event, "data");
        received += data.length;
        if (received > limit) throw new ProtocolError("it sent more of a file than was asked for");
        outlet.push(data);
      },
    });
    call.response
      .then((response) =>
        this.#connection.trust(() => {
          if (uint(response, "size") !== received)
            throw new ProtocolError("a file's size is not what was sent of it");
        }),
      )
      .then(
        () => outlet.end(),
        (error) => outlet.fail(error),
      );
    return outlet.stream;
  }

  async writeFile(path: string, contents: api.Input, options: api.WriteOptions = {}): Promise<number> {
    checkPath(path);
    checkWhole({ mode: options.mode });
    const source = pieces(contents);
    const call = this.#connection.call({
      op: "writeFile",
      path,
      request: { op: "write_file", path, mode: options.mode, parents: options.parents },
      window: MAX_WINDOW,
      cancel: { ev: "abort" },
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? FILE_MS,
    });
    // An answer before the end is a refusal: the source is not waited for any more
    const sending = async () => {
      for await (const piece of source) if (!(await call.data("data", piece))) return;
      call.finish("end");
    };
    sending().catch((error) => call.abandon(error));
    const response = await call.response.finally(() => {
      source.return(undefined).catch(() => {}); // settles with the source's next piece, if one comes
    });
    return this.#connection.trust(() => uint(response, "size"));
  }

  async exists(path: string, options: api.CallOptions = {}): Promise<boolean> {
    checkPath(path);
    return this.#connection.ask(short("exists", { op: "exists", path }, options, path), (response) =>
      flag(response, "exists"),
    );
  }

  async listDir(path: string, options: api.CallOptions = {}): Promise<api.DirEntry[]> {
    checkPath(path);
    const entries: api.DirEntry[] = [];
    let total = 0;
    const call = this.#connection.call({
      op: "listDir",
      path,
      request: { op: "list_dir", path },
      cancel: { ev: "abort" },
      signal: options.signal,
      timeoutMs: options.timeoutMs ?? FILE_MS,
      onEvent: (event, length) => {
        oneOf(event, "ev", ["entries"]);
        for (const entry of list(event, "entries")) entries.push(readEntry(map(entry, "an entry")));
        call.taken(length);
        total += length;
        if (total > MAX_LISTING) call.abandon(endless(path));
      },
    });
    await call.response;
    return entries;
  }

  async info(options: api.CallOptions = {}): Promise<api.GuestInfo> {
    return this.#connection.ask(short("info", { op: "info" }, options), (response) => ({
      kernel: printable(text(response, "kernel")),
      hostname: printable(text(response, "hostname")),
      arch: printable(text(response, "arch")),
      cpus: uint(response, "cpus"),
      memoryTotal: uint(response, "memoryTotal"),
      memoryFree: uint(response, "memoryFree"),
      uptimeMs: uint(response, "uptimeMs"),
    }));
  }

  async ping(options: api.CallOptions = {}): Promise<number> {
    const sent = performance.now();
    await this.#connection.ask(short("ping", { op: "ping" }, options), () => {});
    return performance.now() - sent;
  }

  async shutdown(options: api.CallOptions & { readonly graceMs?: number } = {}): Promise<void> {
    const request = { op: "shutdown", graceMs: options.graceMs };
    await this.#connection.ask(short("shutdown", request, options), () => {});
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function short(
  op: string,
  request: { op: string; [key: string]: unknown },
  options: api.CallOptions,
  path?: string,
) {
  return { op, path, request, signal: options.signal, timeoutMs: options.timeoutMs ?? SHORT_MS };
}

function checkPath(path: string): void {
  if (typeof path !== "string" || !path.startsWith("/") || path.includes("\0")) {
    throw new TypeError(`a path in the guest should be absolute, not ${JSON.stringify(path)}`);
  }
}

function checkWhole(values: Readonly<Record<string, number | undefined>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= 0)) {
      throw new TypeError(`${name} should be a whole number from 0 on, not ${value}`);
    }
  }
}

function endless(path: string): AgentError {
  return new AgentError("OUTPUT_TOO_LARGE", `listDir ${path}: the listing is over ${MAX_LISTING} bytes`, {
    op: "listDir",
    path,
  });
}
