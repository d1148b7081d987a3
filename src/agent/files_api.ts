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
  /** Name in its directory. Bytes that are not UTF-8 show as U+FFFD; `nameBytes` then has the exact bytes. */
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
  /** Number of its names (hard links). */
  readonly links: number;
  /** Last access, and last change of contents or attributes. */
  readonly atime: Date;
  readonly ctime: Date;
}

export interface ReadOptions extends CallOptions {
  /** First byte (0). */
  readonly offset?: number;
  /** Most bytes to read (to the end). */
  readonly length?: number;
}

export interface WriteOptions extends CallOptions {
  /** Permission bits (0o644 for a new file; an existing file keeps its own). */
  readonly mode?: number;
  /** Create missing directories (0755). */
  readonly parents?: boolean;
  /** Write into the existing file from this byte on. The bytes before and after stay. */
  readonly offset?: number;
  /** Append to the existing file. */
  readonly append?: boolean;
}

export interface StatOptions extends CallOptions {
  /** For a link: describe its target (true), or the link itself. */
  readonly followSymlinks?: boolean;
}

export interface DiskUsageOptions extends CallOptions {
  /** Also count the path and everything below it. */
  readonly tree?: boolean;
}

/** A file system of the guest. */
export interface DiskUsage {
  /** Bytes. `free` is what programs without privileges can still use; it may be less than `total - used`. */
  readonly total: number;
  readonly used: number;
  readonly free: number;
  /** Number of files and directories that fit; all 0 if the file system does not count them. */
  readonly inodes: { readonly total: number; readonly used: number; readonly free: number };
  /** With `tree`: bytes and number of names, including the path itself. */
  readonly tree?: { readonly bytes: number; readonly entries: number };
}

export interface MkdirOptions extends CallOptions {
  /** Also create missing parents (0755), and accept a directory that exists. */
  readonly recursive?: boolean;
  /** Permission bits of a new directory (0o755). */
  readonly mode?: number;
  /** Ids of who is to have a new one (root). Directories that are made above it stay root's. */
  readonly owner?: { readonly user?: number; readonly group?: number };
}

export interface RemoveOptions extends CallOptions {
  /** Remove a directory with its contents. */
  readonly recursive?: boolean;
  /** Accept that nothing is there. */
  readonly force?: boolean;
}

export interface CopyOptions extends CallOptions {
  /** Copy a directory with its contents; without it a directory fails with `EISDIR`. */
  readonly recursive?: boolean;
}

/** Types that `upload` and `download` leave out, because they would mean something else on the other machine. */
export type SpecialType = Exclude<FileType, "file" | "dir" | "symlink">;

interface TransferOptions extends CallOptions {
  /** Create missing directories above the destination. */
  readonly parents?: boolean;
  /** Called for each fifo, socket and device that is left out, with its path on this machine. */
  readonly onSkip?: (path: string, type: SpecialType) => void;
}

export interface UploadOptions extends TransferOptions {
  /** Owner ids of everything in the guest (root). */
  readonly user?: number;
  readonly group?: number;
}

export interface DownloadOptions extends TransferOptions {
  /**
   * Most bytes to take from the guest, with names; more fails with `OUTPUT_TOO_LARGE`. Without it a hostile guest could
   * fill your disk.
   */
  readonly maxBytes?: number;
}

/** What `upload` and `download` have moved. */
export interface Transferred {
  /** Files, directories and links. */
  readonly entries: number;
  /** Bytes of file data, without holes. */
  readonly bytes: number;
  /** Number of entries left out, see `onSkip`. */
  readonly skipped: number;
}

export interface ListOptions extends CallOptions {
  /**
   * Longest list that the guest may send (16 MiB, some 200,000 entries); more fails with `OUTPUT_TOO_LARGE`. The list takes
   * several times that memory here.
   */
  readonly maxBytes?: number;
}

export interface ListDirOptions extends ListOptions {
  /** All below it, too: `name` is the path below the directory then; links are not followed. */
  readonly recursive?: boolean;
}

export interface CollectOptions extends CallOptions {
  /** Fail with `OUTPUT_TOO_LARGE` for more files (10,000). */
  readonly maxFiles?: number;
  /** Fail with `OUTPUT_TOO_LARGE` for more bytes, names and holes included (64 MiB). */
  readonly maxBytes?: number;
}

export interface GlobOptions extends ListOptions {
  /** Absolute directory in which the pattern starts ("/"). */
  readonly cwd?: string;
  /** Let wildcards match names that begin with a dot (false): without it `**` leaves out `.git`, and `.env` too. */
  readonly dot?: boolean;
}

export interface ChownOptions extends CallOptions {
  /** For a link: change its target (true), or the link itself. */
  readonly followSymlinks?: boolean;
}

export interface WatchOptions {
  /** Also watch all directories below, as they come and go (false); links are not followed. */
  readonly recursive?: boolean;
  /** Also report changes of permissions, owners and times (false). */
  readonly attributes?: boolean;
  /** Aborting ends the iteration without an error. */
  readonly signal?: AbortSignal;
}

/** What happened to an absolute path of the guest. Bytes that are not UTF-8 show as U+FFFD. */
export type FileChange =
  | {
      readonly type: "create" | "modify" | "delete" | "attributes";
      readonly path: string;
      readonly directory: boolean;
    }
  /** Both places are watched. A move from elsewhere is `create`, a move to elsewhere `delete`. */
  | { readonly type: "rename"; readonly from: string; readonly to: string; readonly directory: boolean }
  /** The reader was too slow, and some changes are lost: look at the directory again. */
  | { readonly type: "overflow" };

/** Changes in their order, to be read once. `break`, the signal or the end of the directory ends it. */
export interface Watcher extends AsyncIterable<FileChange>, AsyncDisposable {
  /** Resolves when everything is watched; rejects with whatever ended it before. */
  readonly ready: Promise<void>;
  /**
   * The next change. Rejects with `AgentError`, or with `GuestLostError` if the sandbox or the connection ends.
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
   * Read a whole file into memory. Above 2 GiB it fails with `OUTPUT_TOO_LARGE`: use `readFileStream`.
   * @example const png = await agent.readFile("/output/plot.png");
   */
  readFile(path: string, options?: ReadOptions): Promise<Uint8Array>;

  /**
   * Read a file as UTF-8 text.
   * @example const report = await agent.readTextFile("/output/report.txt");
   */
  readTextFile(path: string, options?: ReadOptions): Promise<string>;

  /**
   * Read a file of any size; the stream reports errors. Cancelling the stream ends the call.
   * @example for await (const chunk of agent.readFileStream("/output/video.mp4")) sink.write(chunk);
   */
  readFileStream(path: string, options?: ReadOptions): ReadableStream<Uint8Array>;

  /**
   * Write a file of any size: to a temporary file beside it, which then replaces it. With `offset` or `append` it writes
   * into the file, and a failed call leaves what it wrote. Resolves with the number of bytes.
   * @example await agent.writeFile("/tmp/run.sh", "echo hello\n", { mode: 0o755 });
   * @example await agent.writeFile("/data/big.bin", Bun.file("./big.bin").stream(), { parents: true });
   * @example await agent.writeFile("/var/log/mine", "one more line\n", { append: true });
   */
  writeFile(path: string, contents: Input, options?: WriteOptions): Promise<number>;

  /**
   * Whether something is at a path; a dangling link counts.
   * @example if (await agent.exists("/output/done")) console.log("done");
   */
  exists(path: string, options?: CallOptions): Promise<boolean>;

  /**
   * List a directory in no particular order, without `.` and `..`. Fails with `OUTPUT_TOO_LARGE` above `maxBytes`.
   * @example for (const { name, type, size } of await agent.listDir("/output")) console.log(name, type, size);
   * @example const all = await agent.listDir("/output", { recursive: true }); // names such as "sub/plot.png", and ".hidden"
   */
  listDir(path: string, options?: ListDirOptions): Promise<DirEntry[]>;

  /**
   * All regular files below a directory, by their paths below it, as `"sub/plot.png"`: names that begin with a dot too, and
   * each name of a file that has several. Links are left out and not followed. A guest that is not trusted leads no
   * path elsewhere. `OUTPUT_TOO_LARGE` past `maxFiles` or `maxBytes`, `EILSEQ` for a name that is not UTF-8, `ENOTDIR` for a
   * file.
   * @example
   * const made = await agent.collect("/output", { maxFiles: 100, maxBytes: 10 << 20 });
   * for (const [path, bytes] of made) console.log(path, bytes.length);
   */
  collect(path: string, options?: CollectOptions): Promise<Map<string, Uint8Array>>;

  /**
   * Type, size, permissions, owner and times of what a path leads to. `ENOENT` if nothing is there.
   * @example const { size, mtime } = await agent.stat("/output/report.pdf");
   * @example const isLink = (await agent.stat("/app", { followSymlinks: false })).type === "symlink";
   */
  stat(path: string, options?: StatOptions): Promise<FileStat>;

  /**
   * How full the file system of a path is. With `tree` also the size of the path and everything below it, as `du -x`
   * counts: it does not follow links or enter other file systems, and counts a file with several names once. A tree may
   * have any size; `ENAMETOOLONG` for one deeper than 256 directories.
   * @example
   * const { free, tree } = await agent.diskUsage("/project", { tree: true });
   * if (tree!.bytes > free) console.error("there is no room for a second one");
   */
  diskUsage(path: string, options?: DiskUsageOptions): Promise<DiskUsage>;

  /**
   * Make a directory. `EEXIST` if something is there, `ENOENT` if its parent is missing.
   * @example await agent.mkdir("/data/in/2026", { recursive: true });
   */
  mkdir(path: string, options?: MkdirOptions): Promise<void>;

  /**
   * Remove a file, a link (not its target) or an empty directory; with `recursive` a directory with everything below it, of
   * any size and depth. Mount points, such as shares, stay with their contents (`EBUSY`). Aborting leaves what is not
   * removed yet.
   * @example await agent.remove("/tmp/build", { recursive: true, force: true });
   */
  remove(path: string, options?: RemoveOptions): Promise<void>;

  /**
   * The paths that match a pattern, sorted by character: relative to `cwd`, or absolute if the pattern is absolute. `*`,
   * `?`, `[…]`, `{a,b}` and `**` (any number of directories) work as in a shell. The search follows no links and looks only
   * where the pattern can match. Names that are not UTF-8 are left out. So are names that begin
   * with a dot, unless `dot` is set or the pattern has one. `listDir` with `recursive` leaves out none.
   * @example const sources = await agent.glob("src/{lib,test}/*.[ch]", { cwd: "/project" });
   */
  glob(pattern: string, options?: GlobOptions): Promise<string[]>;

  /**
   * Watch a directory, or one file by its name, from now on. A slow reader loses changes and gets `overflow`; memory is
   * bounded. In a share, changes of this machine are reported too. A new directory that already has contents gives a
   * `create` for each of them. After `delete` of the directory itself the iteration ends. It rejects with `ENOENT` if
   * nothing is there, and with `ENOSPC` if the guest's kernel cannot watch more directories
   * (`fs.inotify.max_user_watches`).
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
   * Rename something in one step. It replaces a file or an empty directory at the new name. `EXDEV` between file systems,
   * such as into a share: copy, then remove.
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
