/** The agent's client: every call of the API over one connection. */

import { checkMode, checkPath, checkWhole, named } from "../errors/check.ts";
import { guardMethods } from "../errors/edge.ts";
import { AgentError, ArgumentError } from "../errors/errors.ts";
import { FILE_MS, MAX_WINDOW } from "../wire/call.ts";
import { bytes, flag, oneOf, uint, words } from "../wire/fields.ts";
import { ProtocolError } from "../wire/framing.ts";
import { Collector, Outlet, pieces } from "../wire/streams.ts";
import type * as api from "./api.ts";
import { Connection, type ConnectOptions } from "./connect/connection.ts";
import { diskUsage } from "./files/disk_usage.ts";
import { listDir } from "./files/list.ts";
import * as paths from "./files/paths.ts";
import { watch } from "./files/watch.ts";
import { attach, detach, processes } from "./process/background.ts";
import { exec, execOptions, spawn } from "./process/process.ts";

const MAX_WHOLE_FILE = 2 ** 31;

/** Connect to the agent behind a Unix socket, see {@link Connection.open} for what it throws. */
export async function connectAgent(path: string, options: ConnectOptions): Promise<AgentClient> {
  return new AgentClient(await Connection.open(path, options));
}

export class AgentClient implements api.Agent {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  get isConnected(): boolean {
    return this.#connection.isOpen;
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
    checkWhole("offset", options.offset);
    checkWhole("length", options.length);
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
    checkMode(options.mode);
    checkWhole("offset", options.offset);
    const { mode, parents, append, offset } = options;
    if (append && offset !== undefined) throw new ArgumentError("append and offset cannot be combined");
    const source = pieces(contents);
    const call = this.#connection.call({
      op: "writeFile",
      path,
      request: { op: "write_file", path, mode, parents, append, offset },
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
    return this.#connection.ask(paths.short("exists", { op: "exists", path }, path, options), (response) =>
      flag(response, "exists"),
    );
  }

  async listDir(path: string, options: api.ListDirOptions = {}): Promise<api.DirEntry[]> {
    return listDir(this.#connection, path, options);
  }

  async stat(path: string, options: api.StatOptions = {}): Promise<api.FileStat> {
    return paths.stat(this.#connection, path, options);
  }

  async diskUsage(path: string, options: api.DiskUsageOptions = {}): Promise<api.DiskUsage> {
    return diskUsage(this.#connection, path, options);
  }

  async mkdir(path: string, options: api.MkdirOptions = {}): Promise<void> {
    return paths.mkdir(this.#connection, path, options);
  }

  async remove(path: string, options: api.RemoveOptions = {}): Promise<void> {
    return paths.remove(this.#connection, path, options);
  }

  async rename(from: string, to: string, options: api.CallOptions = {}): Promise<void> {
    return paths.rename(this.#connection, from, to, options);
  }

  async copy(from: string, to: string, options: api.CopyOptions = {}): Promise<void> {
    return paths.copy(this.#connection, from, to, options);
  }

  async chmod(path: string, mode: number, options: api.CallOptions = {}): Promise<void> {
    return paths.chmod(this.#connection, path, mode, options);
  }

  async chown(
    path: string,
    owner: { readonly user?: number; readonly group?: number },
    options: api.ChownOptions = {},
  ): Promise<void> {
    return paths.chown(this.#connection, path, owner, options);
  }

  async symlink(target: string, path: string, options: api.CallOptions = {}): Promise<void> {
    return paths.symlink(this.#connection, target, path, options);
  }

  async readLink(path: string, options: api.CallOptions = {}): Promise<string> {
    return paths.readLink(this.#connection, path, options);
  }

  async upload(
    hostPath: string,
    guestPath: string,
    options: api.UploadOptions = {},
  ): Promise<api.Transferred> {
    const transfer = await import("./files/transfer.ts"); // most clients move no trees
    return transfer.upload(this.#connection, hostPath, guestPath, options);
  }

  async download(
    guestPath: string,
    hostPath: string,
    options: api.DownloadOptions = {},
  ): Promise<api.Transferred> {
    const transfer = await import("./files/transfer.ts");
    return transfer.download(this.#connection, guestPath, hostPath, options);
  }

  async collect(path: string, options: api.CollectOptions = {}): Promise<Map<string, Uint8Array>> {
    const transfer = await import("./files/transfer.ts");
    return transfer.collect(this.#connection, path, options);
  }

  async glob(pattern: string, options: api.GlobOptions = {}): Promise<string[]> {
    const { glob } = await import("./files/list.ts");
    return glob(this.#connection, pattern, options);
  }

  watch(path: string, options: api.WatchOptions = {}): api.Watcher {
    return watch(this.#connection, path, options);
  }

  async info(options: api.CallOptions = {}): Promise<api.GuestInfo> {
    return this.#connection.ask(paths.short("info", { op: "info" }, undefined, options), (response) => ({
      kernel: words(response, "kernel"),
      hostname: words(response, "hostname"),
      arch: words(response, "arch"),
      cpus: uint(response, "cpus"),
      memoryTotal: uint(response, "memoryTotal"),
      memoryFree: uint(response, "memoryFree"),
      uptimeMs: uint(response, "uptimeMs"),
    }));
  }

  async ping(options: api.CallOptions = {}): Promise<number> {
    const sent = performance.now();
    await this.#connection.ask(paths.short("ping", { op: "ping" }, undefined, options), () => {});
    return performance.now() - sent;
  }

  async shutdown(options: api.CallOptions & { readonly graceMs?: number } = {}): Promise<void> {
    const request = { op: "shutdown", graceMs: options.graceMs };
    await this.#connection.ask(paths.short("shutdown", request, undefined, options), () => {});
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const call = { signal: true, timeoutMs: true } as const;
const program = {
  ...({ env: true, clearEnv: true, cwd: true, user: true, group: true, limits: true } as const),
  ...({ stdin: true, stderr: true, pty: true, window: true, timeoutMs: true, signal: true } as const),
} as const;

guardMethods(AgentClient.prototype, {
  spawn: named<api.SpawnOptions & api.DetachOptions>(1, { ...program, detach: true }),
  attachProcess: named<api.AttachOptions>(1, { replay: true, window: true, signal: true }),
  processes: named<api.CallOptions>(0, call),
  info: named<api.CallOptions>(0, call),
  ping: named<api.CallOptions>(0, call),
  shutdown: named<api.CallOptions & { readonly graceMs?: number }>(0, { ...call, graceMs: true }),
  readFile: named<api.ReadOptions>(1, { ...call, offset: true, length: true }),
  readTextFile: named<api.ReadOptions>(1, { ...call, offset: true, length: true }),
  readFileStream: named<api.ReadOptions>(1, { ...call, offset: true, length: true }),
  writeFile: named<api.WriteOptions>(2, { ...call, mode: true, parents: true, offset: true, append: true }),
  exists: named<api.CallOptions>(1, call),
  listDir: named<api.ListDirOptions>(1, { ...call, maxBytes: true, recursive: true }),
  collect: named<api.CollectOptions>(1, { ...call, maxFiles: true, maxBytes: true }),
  diskUsage: named<api.DiskUsageOptions>(1, { ...call, tree: true }),
  stat: named<api.StatOptions>(1, { ...call, followSymlinks: true }),
  mkdir: named<api.MkdirOptions>(1, { ...call, recursive: true, mode: true, owner: true }),
  remove: named<api.RemoveOptions>(1, { ...call, recursive: true, force: true }),
  rename: named<api.CallOptions>(2, call),
  copy: named<api.CopyOptions>(2, { ...call, recursive: true }),
  chmod: named<api.CallOptions>(2, call),
  chown: named<api.ChownOptions>(2, { ...call, followSymlinks: true }),
  symlink: named<api.CallOptions>(2, call),
  readLink: named<api.CallOptions>(1, call),
  upload: named<api.UploadOptions>(2, { ...call, parents: true, onSkip: true, user: true, group: true }),
  download: named<api.DownloadOptions>(2, { ...call, parents: true, onSkip: true, maxBytes: true }),
  glob: named<api.GlobOptions>(1, { ...call, maxBytes: true, cwd: true, dot: true }),
  watch: named<api.WatchOptions>(1, { recursive: true, attributes: true, signal: true }),
});
