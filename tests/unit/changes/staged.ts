/** A shared directory and a layer of changes over it, as a guest's kernel would have left it, without a guest. */
import { afterAll, beforeAll } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { StagedChanges } from "../../../src/changes/changes.ts";
import { checkStaging, createStaging, type Staging } from "../../../src/changes/staging.ts";
import { lastingIdentity } from "../../../src/host/identity.ts";
import { makeWhiteout, setAttribute } from "../../../src/host/libc.ts";

let state: string;
let serial = 0;

/** A new directory on a file system that can hold changes: that of a container's root, or of memory, may not. */
export function capableDirectory(): string {
  const before = process.env.XDG_STATE_HOME;
  for (const place of [tmpdir(), "/lab", "/dev/shm", homedir()].filter((path) => existsSync(path))) {
    const directory = mkdtempSync(join(place, "capsa-changes-"));
    process.env.XDG_STATE_HOME = directory;
    try {
      checkStaging();
      return directory;
    } catch {
      rmSync(directory, { recursive: true, force: true });
    } finally {
      process.env.XDG_STATE_HOME = before;
      if (before === undefined) delete process.env.XDG_STATE_HOME;
    }
  }
  throw new Error("none of this machine's file systems can hold changes; see `capsa doctor`");
}

/** To be called once at the top of a file of tests: nothing of the user's is touched. */
export function ownState(): void {
  const before = { ...process.env };
  beforeAll(() => {
    state = capableDirectory();
    process.env.XDG_STATE_HOME = join(state, "state");
  });
  afterAll(() => {
    process.env = before;
    rmSync(state, { recursive: true, force: true });
  });
}

export interface Staged {
  /** The shared directory; /s in the guest. */
  readonly lower: string;
  /** What the guest has written. */
  readonly upper: string;
  readonly staging: Staging;
  readonly changes: StagedChanges;
  /** Write a file of the guest's. */
  put(path: string, text: string | Uint8Array, mode?: number): void;
  /** Have the guest remove something. */
  remove(path: string): void;
  /** Have the guest remove a directory and make it anew. */
  renew(path: string): void;
  /** Have the guest rename a directory of the shared one, of which nothing has been changed yet. */
  move(from: string, to: string): void;
  /** What is in the shared directory: files with their contents, links with "-> target", directories with "/". */
  seen(): Record<string, string>;
}

/** `files`: what is in the shared directory when the sandbox starts; a name with a slash behind it is a directory. */
export async function staged(
  files: Record<string, string> = {},
  mode: "root" | "passthrough" = "root",
  protect: readonly string[] = [],
): Promise<Staged> {
  const id = (0x1000_0000 + serial++).toString(16);
  const lower = join(state, "shares", id);
  mkdirSync(lower, { recursive: true });
  for (const [path, text] of Object.entries(files)) fill(join(lower, path), text);
  await settle();
  const share = {
    host: lower,
    guest: "/s",
    mode: "transaction",
    ownership: { mode },
    cache: "auto",
    protect,
  } as const;
  const staging = createStaging({ id, runtimeDir: join(state, "run", id) }, "box", [share], true);
  await settle();
  const upper = join(staging.directory, "0", "upper");
  const parent = (path: string) => mkdirSync(dirname(join(upper, path)), { recursive: true });
  const remove = (path: string) => {
    parent(path);
    rmSync(join(upper, path), { recursive: true, force: true });
    if (!makeWhiteout(join(upper, path))) throw new Error("no whiteouts here");
  };
  return {
    lower,
    upper,
    staging,
    changes: new StagedChanges(staging),
    put(path, text, mode = 0o644) {
      parent(path);
      rmSync(join(upper, path), { recursive: true, force: true });
      writeFileSync(join(upper, path), text, { mode });
    },
    remove,
    renew(path) {
      rmSync(join(upper, path), { recursive: true, force: true });
      mkdirSync(join(upper, path), { recursive: true });
      if (!setAttribute(join(upper, path), "user.overlay.opaque", "y")) throw new Error("no attributes here");
    },
    move(from, to) {
      parent(to);
      rmSync(join(upper, to), { recursive: true, force: true });
      mkdirSync(join(upper, to));
      const mark = `${lastingIdentity(statSync(join(lower, from), { bigint: true }))}/${from}`;
      if (!setAttribute(join(upper, to), "user.overlay.redirect", mark))
        throw new Error("no attributes here");
      const above = lstatSync(join(upper, dirname(from)), { throwIfNoEntry: false });
      if (!above?.isCharacterDevice() && !existsSync(join(upper, from))) remove(from);
    },
    seen: () => Object.fromEntries(tree(lower)),
  };
}

/** Times of change are as exact as the kernel's tick: what happens next has another one. */
async function settle(): Promise<void> {
  const probe = join(state, "probe");
  const now = () => {
    writeFileSync(probe, "");
    return lstatSync(probe, { bigint: true }).ctimeNs;
  };
  for (const began = now(); now() <= began; ) await Bun.sleep(1);
}

function fill(path: string, text: string): void {
  mkdirSync(path.endsWith("/") ? path : dirname(path), { recursive: true });
  if (!path.endsWith("/")) writeFileSync(path, text);
}

function* tree(top: string, below = ""): Generator<[string, string]> {
  for (const name of readdirSync(join(top, below)).sort()) {
    const path = join(below, name);
    const status = lstatSync(join(top, path));
    if (status.isSymbolicLink()) yield [path, `-> ${readlinkSync(join(top, path))}`];
    else if (!status.isDirectory())
      yield [path, status.isFile() ? readFileSync(join(top, path), "utf8") : "special"];
    else {
      yield [`${path}/`, ""];
      yield* tree(top, path);
    }
  }
}

export function mkfifo(path: string): void {
  rmSync(path, { force: true });
  Bun.spawnSync(["mkfifo", path]);
}

/** As if its sandbox were running. */
export function runs({ staging }: Staged): Disposable {
  const { runtimeDir } = staging.record;
  mkdirSync(runtimeDir, { recursive: true });
  return { [Symbol.dispose]: () => rmSync(runtimeDir, { recursive: true }) };
}
