/** What a sandbox's agent can do with files, as its callers see it. */

import type { Input } from "../wire/streams.ts";

/** Limits that every call takes. */
export interface CallOptions {
  /** Aborting ends the call with the signal's reason: an exec is killed, a write leaves the old file. */
  readonly signal?: AbortSignal;
  /** How long the agent may stay silent, milliseconds (30,000 for short calls, 60,000 without progress for files). */
  readonly timeoutMs?: number;
}

export type FileType = "file" | "dir" | "symlink" | "fifo" | "socket" | "char" | "block";

export interface DirEntry {
  /** Name in its directory; where it is not UTF-8 the bad bytes show as U+FFFD and `nameBytes` has them. */
  readonly name: string;
  readonly nameBytes?: Uint8Array;
  readonly type: FileType;
  /** Bytes. */
  readonly size: number;
  /** Permission bits, as in `0o644`. */
  readonly mode: number;
  readonly mtime: Date;
}

export interface FileStat extends Pick<DirEntry, "type" | "size" | "mode" | "mtime"> {
  /** Ids of its owner. */
  readonly user: number;
  readonly group: number;
  /** Names that it has. */
  readonly links: number;
  /** Last access, and last change of anything about it. */
  readonly atime: Date;
  readonly ctime: Date;
}

export interface ReadOptions extends CallOptions {
  /** First byte (0). */
  readonly offset?: number;
  /** At most so many bytes; to the end without. */
  readonly length?: number;
}

export interface WriteOptions extends CallOptions {
  /** Permission bits: 0o644 for a new file, an existing one keeps its own. */
  readonly mode?: number;
  /** Make missing directories (0755). */
  readonly parents?: boolean;
  /** Write into the file where it stands, from this byte on; what it holds before and after that stays. */
  readonly offset?: number;
  /** Write at the end of the file, into it. */
  readonly append?: boolean;
}

export interface StatOptions extends CallOptions {
  /** Of a link: tell what it leads to (true), or of itself. */
  readonly followSymlinks?: boolean;
}

export interface DiskUsageOptions extends CallOptions {
  /** Also count what is at the path and all below it. */
  readonly tree?: boolean;
}

/** A file system of the guest. */
export interface DiskUsage {
  /** Bytes; `free` is what programs without privileges can still have, and may be less than the rest. */
  readonly total: number;
  readonly used: number;
  readonly free: number;
  /** How many files, directories and the like there can be; all 0 where nobody counts. */
  readonly inodes: { readonly total: number; readonly used: number; readonly free: number };
  /** With `tree`: the bytes that it takes, and the names in it, the path itself included. */
  readonly tree?: { readonly bytes: number; readonly entries: number };
}

export interface MkdirOptions extends CallOptions {
  /** Make missing directories above it too (0755), and be content with one that is there. */
  readonly recursive?: boolean;
  /** Permission bits of a new one (0o755). */
  readonly mode?: number;
}

export interface RemoveOptions extends CallOptions {
  /** A directory with all that is in it. */
  readonly recursive?: boolean;
  /** Be content when nothing is there. */
  readonly force?: boolean;
}

export interface CopyOptions extends CallOptions {
  /** A directory with all that is in it; `EISDIR` for one without. */
  readonly recursive?: boolean;
}

/** What is left out of a tree that goes from one machine to the other: it would mean something else there. */
export type SpecialType = Exclude<FileType, "file" | "dir" | "symlink">;

interface TransferOptions extends CallOptions {
  /** Make missing directories above the destination. */
  readonly parents?: boolean;
  /** Told of each fifo, socket and device that is left out, by its path on this machine. */
  readonly onSkip?: (path: string, type: SpecialType) => void;
}

export interface UploadOptions extends TransferOptions {
  /** Ids that all of it is to belong to; root's without. */
  readonly user?: number;
  readonly group?: number;
}

export interface DownloadOptions extends TransferOptions {
  /**
   * Most bytes to take from the guest, names and all; more ends the call with `OUTPUT_TOO_LARGE`. A guest that is not
   * trusted could fill the disk else.
   */
  readonly maxBytes?: number;
}

/** What `upload` and `download` have moved. */
export interface Transferred {
  /** Files, directories and links. */
  readonly entries: number;
  /** Of files' data; holes are none. */
  readonly bytes: number;
  /** What was left out, see `onSkip`. */
  readonly skipped: number;
}

export interface ListOptions extends CallOptions {
  /**
   * Fail with `OUTPUT_TOO_LARGE` where the list is longer, as the guest tells it (16 MiB: some 200,000 entries). Here it
   * takes several times as much memory.
   */
  readonly maxBytes?: number;
}

export interface GlobOptions extends ListOptions {
  /** Directory that the pattern is about, absolute ("/"). */
  readonly cwd?: string;
  /** Let wildcards match names that begin with a dot (false). */
  readonly dot?: boolean;
}

export interface ChownOptions extends CallOptions {
  /** Of a link: change what it leads to (true), or itself. */
  readonly followSymlinks?: boolean;
}

export interface WatchOptions {
  /** All directories below too, as they come and go (false); links are not followed. */
  readonly recursive?: boolean;
  /** Tell of changes of permissions, owners and times too (false). */
  readonly attributes?: boolean;
  /** Aborting ends the iteration, without an error. */
  readonly signal?: AbortSignal;
}

/** What happened to a path of the guest, absolute. A byte of it that is not UTF-8 shows as U+FFFD. */
export type FileChange =
  | {
      readonly type: "create" | "modify" | "delete" | "attributes";
      readonly path: string;
      readonly directory: boolean;
    }
  /** Both are watched: what comes from elsewhere is `create`, what goes there `delete`. */
  | { readonly type: "rename"; readonly from: string; readonly to: string; readonly directory: boolean }
  /** There were more changes than anybody took, and some were lost: look again at what is there. */
  | { readonly type: "overflow" };

/** Changes in the order in which they happened; it is read once. Ends by `break`, its signal, or with the directory. */
export interface Watcher extends AsyncIterable<FileChange>, AsyncDisposable {
  /** Resolves once all that is there is watched; rejects with what ended it before. */
  readonly ready: Promise<void>;
  /**
   * The next change, once there is one. Rejects with `AgentError`, or `GuestLostError` when the sandbox or the connection
   * ends.
   * @example
   * await using changes = agent.watch("/output");
   * await changes.ready;
   * await agent.mkdir("/output/next");
   * const { value } = await changes.next(); // { type: "create", path: "/output/next", directory: true }
   */
  next(): Promise<IteratorResult<FileChange, undefined>>;
  /**
   * End it.
   * @example
   * const changes = agent.watch("/output");
   * await changes.return();
   */
  return(): Promise<IteratorResult<FileChange, undefined>>;
}

/** The calls on files of `Agent`. */
export interface AgentFiles {
  /**
   * Read a file whole into memory. `OUTPUT_TOO_LARGE` past 2 GiB: use `readFileStream`.
   * @example const png = await agent.readFile("/output/plot.png");
   */
  readFile(path: string, options?: ReadOptions): Promise<Uint8Array>;

  /**
   * Read a file as UTF-8 text.
   * @example const report = await agent.readTextFile("/output/report.txt");
   */
  readTextFile(path: string, options?: ReadOptions): Promise<string>;

  /**
   * Read a file of any size; errors come out of the stream. Cancelling it ends the call.
   * @example for await (const chunk of agent.readFileStream("/output/video.mp4")) sink.write(chunk);
   */
  readFileStream(path: string, options?: ReadOptions): ReadableStream<Uint8Array>;

  /**
   * Write a file of any size: to a temporary file beside it, renamed over it at the end. With `offset` or `append` it is
   * written where it stands, and what was written stays when the call fails. Gives the count of bytes.
   * @example await agent.writeFile("/tmp/run.sh", "echo hello\n", { mode: 0o755 });
   * @example await agent.writeFile("/data/big.bin", Bun.file("./big.bin").stream(), { parents: true });
   * @example await agent.writeFile("/var/log/mine", "one more line\n", { append: true });
   */
  writeFile(path: string, contents: Input, options?: WriteOptions): Promise<number>;

  /**
   * Whether something is at a path; a dangling link is.
   * @example if (await agent.exists("/output/done")) console.log("done");
   */
  exists(path: string, options?: CallOptions): Promise<boolean>;

  /**
   * List a directory, `.` and `..` left out, in no particular order. `OUTPUT_TOO_LARGE` past `maxBytes`.
   * @example for (const { name, type, size } of await agent.listDir("/output")) console.log(name, type, size);
   */
  listDir(path: string, options?: ListOptions): Promise<DirEntry[]>;

  /**
   * What a path leads to: type, size, permissions, owner, times. `ENOENT` where nothing is.
   * @example const { size, mtime } = await agent.stat("/output/report.pdf");
   * @example const isLink = (await agent.stat("/app", { followSymlinks: false })).type === "symlink";
   */
  stat(path: string, options?: StatOptions): Promise<FileStat>;

  /**
   * How full the file system is that holds what a path leads to. With `tree` also what the path and all below it take, as
   * `du -x` counts: links are not followed, other file systems are left out, a file with several names counts once. A tree
   * of any size is counted; `ENAMETOOLONG` for one nested deeper than 256 directories.
   * @example
   * const { free, tree } = await agent.diskUsage("/project", { tree: true });
   * if (tree!.bytes > free) console.error("there is no room for a second one");
   */
  diskUsage(path: string, options?: DiskUsageOptions): Promise<DiskUsage>;

  /**
   * Make a directory. `EEXIST` where something is, `ENOENT` where the one above is missing.
   * @example await agent.mkdir("/data/in/2026", { recursive: true });
   */
  mkdir(path: string, options?: MkdirOptions): Promise<void>;

  /**
   * Remove a file, a link (not what it leads to) or an empty directory; with `recursive` a directory with all below it,
   * of any size and depth. Mount points, shares among them, are left alone with all that is in them (`EBUSY`). Aborting
   * leaves what is not removed yet.
   * @example await agent.remove("/tmp/build", { recursive: true, force: true });
   */
  remove(path: string, options?: RemoveOptions): Promise<void>;

  /**
   * The paths that match a pattern, in the order of their characters: relative to `cwd`, or absolute where the pattern is.
   * `*`, `?`, `[…]`, `{a,b}` and `**` (any number of directories) are as in a shell; links are not followed on the way.
   * Only what the pattern can reach is looked through. Names that are not UTF-8 are left out.
   * @example const sources = await agent.glob("src/{lib,test}/*.[ch]", { cwd: "/project" });
   */
  glob(pattern: string, options?: GlobOptions): Promise<string[]>;

  /**
   * Be told of changes in a directory, or of one file by its name, from now on. Who takes them slowly loses some of very
   * many, and is told so (`overflow`); memory is bounded. In a share changes that this machine makes are told as well.
   * A directory that comes with things in it, or is moved in, is followed by a `create` of each of them. After `delete` of
   * the directory itself the iteration ends. `ENOENT` where nothing is, `ENOSPC` for more directories than the guest's
   * kernel watches (`fs.inotify.max_user_watches`), which errors of the iteration are.
   * @example
   * await using changes = agent.watch("/project", { recursive: true, signal: AbortSignal.timeout(30_000) });
   * await changes.ready; // what happens from here on is told
   * await agent.writeFile("/project/made.txt", "1");
   * for await (const change of changes) {
   *   if (change.type === "create") break;
   * }
   */
  watch(path: string, options?: WatchOptions): Watcher;

  /**
   * Give something another name, in one step; a file, or an empty directory, that has it already is replaced. `EXDEV`
   * from one file system to another, as into a share: copy, then remove.
   * @example await agent.rename("/output/report.tmp", "/output/report.pdf");
   */
  rename(from: string, to: string, options?: CallOptions): Promise<void>;

  /**
   * Copy a file, or with `recursive` a directory, inside the guest, so that it is at `to` afterwards. Modes, owners,
   * modification times, links (as links), hard links and holes are kept; extended attributes are not. A directory that is
   * at `to` is filled, files in it are replaced, each in one step. Aborting leaves what was copied. `EINVAL` into itself,
   * `ENAMETOOLONG` for more than 256 directories within each other.
   * @example await agent.copy("/project", "/tmp/work", { recursive: true });
   */
  copy(from: string, to: string, options?: CopyOptions): Promise<void>;

  /**
   * Set permission bits, of what a link leads to.
   * @example await agent.chmod("/project/script.py", 0o755);
   */
  chmod(path: string, mode: number, options?: CallOptions): Promise<void>;

  /**
   * Set the owner by numbers; what is not given stays.
   * @example await agent.chown("/data", { user: 1000, group: 1000 });
   */
  chown(
    path: string,
    owner: { readonly user?: number; readonly group?: number },
    options?: ChownOptions,
  ): Promise<void>;

  /**
   * Make a link at `path` that says `target`, which need not be there.
   * @example await agent.symlink("releases/7", "/srv/current");
   */
  symlink(target: string, path: string, options?: CallOptions): Promise<void>;

  /**
   * What a link says; a byte that is not UTF-8 shows as U+FFFD. `EINVAL` for what is no link.
   * @example console.log(await agent.readLink("/app"));
   */
  readLink(path: string, options?: CallOptions): Promise<string>;

  /**
   * Copy a file or a tree of this machine into the guest, so that it is at `guestPath` afterwards. It is streamed: memory
   * is bounded whatever the size. Permissions (without set-id bits, as the owner changes), modification times, links (as
   * links), hard links, holes and names of any bytes are kept; owners and extended attributes are not. Fifos, sockets and
   * devices are left out. A link at `hostPath` itself is copied as a link, unless a slash is behind it.
   *
   * A directory that is at `guestPath` is filled and keeps its own permissions; other things in the way are replaced,
   * each in one step. When the call fails or is aborted, what was complete stays, and no file is there in part.
   *
   * Rejects with `HostFileError` where this machine says no (its `path` says where) and with `AgentError`
   * where the guest does (its message does).
   * @example await agent.upload("./project", "/project");
   * @example await agent.upload("./id.json", "/home/me/.config/id.json", { parents: true, user: 1000, group: 1000 });
   */
  upload(hostPath: string, guestPath: string, options?: UploadOptions): Promise<Transferred>;

  /**
   * Copy a file or a tree of the guest to this machine, as `upload` does in the other direction; what comes is this
   * user's. Whatever the guest sends, nothing is written but at `hostPath` and below it: no link is followed there, were
   * it made by the guest or by anyone else meanwhile, no file that was there is opened, and names that would lead
   * elsewhere end the connection (`GuestLostError`). Links themselves are kept as they are: where they lead is for
   * those to mind who follow them later. Set-id and sticky bits are dropped. `EINVAL` for what is neither a file nor a
   * directory.
   * @example await agent.download("/output", "./output");
   * @example const { bytes } = await agent.download("/var/log", "./logs", { maxBytes: 100 << 20 });
   */
  download(guestPath: string, hostPath: string, options?: DownloadOptions): Promise<Transferred>;
}
