/** Changes of a guest to transactional shares, as their callers see them. */

/** One thing that a guest has changed in a share with `mode = "transaction"`. */
export interface Change {
  /**
   * `type`: something of another type is there now; `mode`: only the permissions differ; `renamed`: a file, with the contents
   * it had, and perhaps other permissions.
   */
  readonly kind: "created" | "modified" | "deleted" | "renamed" | "type" | "mode";
  /** In the guest. What is not UTF-8 in it, or no character of text, shows as `\xNN`, and a backslash as `\x5c`. */
  readonly path: string;
  /** Of a rename: where it was. */
  readonly from?: string;
  /** What is there now; of what was deleted, what was there. */
  readonly type: "file" | "directory" | "symlink";
  readonly typeBefore?: "file" | "directory" | "symlink" | "special";
  /** Bytes; of a directory that is gone, of all files in it. */
  readonly size?: number;
  readonly sizeBefore?: number;
  /** Permission bits. */
  readonly mode?: number;
  readonly modeBefore?: number;
  /** Where a symbolic link leads to. */
  readonly target?: string;
  /**
   * Why to look at it twice: this machine may run it, or be told by it what to run, `"a git hook"` or `"scripts of a package"`.
   */
  readonly mayRun?: string;
  /** Why `apply` refuses it as it is: this machine has changed the same thing since the start, … */
  readonly conflict?: string;
}

export interface DiffOptions {
  /**
   * `"unified"` (without): a line a change and, for text, what differs, with paths of the guest. `"git"`: a patch of one
   * share, with paths below its directory: `git apply` there makes renames, modes, links and files of any bytes. Lines at
   * its head that begin with `#` say what it has not: files over 64 MiB or of git's own names, empty directories, and
   * permissions but for the owner's `x`. Rejects with `ArgumentError` where the changes may be of several shares: name paths of
   * one; and with `OUTPUT_TOO_LARGE` past 256 MiB.
   */
  readonly format?: "unified" | "git";
}

export interface ApplyOptions {
  /** Take the guest's side where this machine has changed the same thing meanwhile. */
  readonly force?: boolean;
}

export interface ApplyResult {
  readonly applied: readonly Change[];
  /** What stays as it is on both sides; `conflict` of each says why. */
  readonly refused: readonly Change[];
}

/** What is done with the changes of one sandbox, while it runs and, where they are kept, afterwards. */
export interface Changes {
  /** Of the sandbox. */
  readonly id: string;
  readonly name: string;
  /** When the sandbox was started. */
  readonly created: Date;
  /** Where they are kept. */
  readonly directory: string;
  /**
   * As `changes` of a sandbox.
   * @example for (const one of await pendingChanges()) console.log(one.name, (await one.list()).length);
   */
  list(): Promise<Change[]>;
  /**
   * As `diff` of a sandbox.
   * @example for (const one of await pendingChanges()) console.log(await one.diff());
   */
  diff(paths?: readonly string[], options?: DiffOptions): Promise<string>;
  /**
   * As `apply` of a sandbox.
   * @example
   * for (const one of await pendingChanges()) {
   *   for (const { path, conflict } of (await one.apply()).refused) console.log(path, conflict);
   * }
   */
  apply(paths?: readonly string[], options?: ApplyOptions): Promise<ApplyResult>;
  /**
   * As `discard` of a sandbox.
   * @example
   * const [oldest] = (await pendingChanges()).reverse();
   * await oldest?.discard();
   */
  discard(paths?: readonly string[]): Promise<Change[]>;
}
