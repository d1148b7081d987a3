/** Links that a guest has made lead nowhere on this machine; all others lead where they always do. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import {
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { rememberGuestDirectory } from "../../../src/host/guest_directories.ts";
import { hold, statusOf } from "../../../src/host/hold.ts";
import { lastingIdentity } from "../../../src/host/identity.ts";
import { ownState } from "./own_state.ts";

const state = ownState();
let top: string;

beforeAll(() => {
  top = realpathSync(mkdtempSync(join(tmpdir(), "capsa-hold-")));
});
afterAll(() => rmSync(top, { recursive: true }));
beforeEach(() => {
  rmSync(top, { recursive: true });
  for (const path of ["data/sub", "outside/deep"]) mkdirSync(join(top, path), { recursive: true });
  writeFileSync(join(top, "outside/secret"), "secret");
});

const inTop = (path: string) => join(top, path);

/** From now on a guest may write there. */
function share(path: string): void {
  rememberGuestDirectory(statSync(inTop(path), { bigint: true }), { path: inTop(path), sandbox: "box" });
}

function read(path: string): string {
  using held = hold(inTop(path));
  return readFileSync(held.path, "utf8");
}

const refused = (link: string, within = "data") =>
  expect.objectContaining({
    code: "GUEST_LINK",
    message: expect.stringMatching(
      new RegExp(`"${link}" is a link in ${inTop(within)}, where sandbox box may write`),
    ),
    hint: expect.stringContaining("remove it"),
  });

test("links of this machine lead where they do for every program", () => {
  symlinkSync(inTop("outside"), inTop("absolute"));
  symlinkSync("../absolute/deep/..", inTop("data/relative"));
  symlinkSync("data//./relative/", inTop("twice"));
  symlinkSync("twice/secret", inTop("file"));
  for (const path of ["absolute/secret", "data/relative/secret", "twice/secret", "file"])
    expect(read(path)).toBe("secret");
  expect(statusOf("/").ino).toBe(statSync("/", { bigint: true }).ino);
  expect(statusOf("/proc/self/root/etc/").ino).toBe(statSync("/etc", { bigint: true }).ino);
});

test("so do those that stand for open files, to which no path leads", () => {
  using pipe = hold("/dev/stdin");
  expect(pipe.status.ino).toBe(fstatSync(0, { bigint: true }).ino);
  const fd = openSync(inTop("outside/secret"), "r");
  rmSync(inTop("outside/secret"));
  using file = hold(`/dev/fd/${fd}`);
  expect(readFileSync(file.path, "utf8")).toBe("secret");
  closeSync(fd);
});

test("what is not there, is no directory or leads in a circle is told as it always is", () => {
  symlinkSync("circle", inTop("circle"));
  symlinkSync("gone", inTop("dangling"));
  for (const [path, code] of [
    ["gone/x", "ENOENT"],
    ["dangling", "ENOENT"],
    ["outside/secret/x", "ENOTDIR"],
    ["circle", "ELOOP"],
  ] as const) {
    expect(() => hold(inTop(path))).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(inTop(path)) }),
    );
  }
});

test("below a directory that a guest may write no link leads anywhere, and the refusal says who may have made it", () => {
  share("data");
  symlinkSync(inTop("outside"), inTop("data/sub/way"));
  symlinkSync("sub", inTop("data/inside"));
  symlinkSync(inTop("outside/secret"), inTop("data/file"));
  symlinkSync("data/sub", inTop("mine"));
  for (const [path, link] of [
    ["data/sub/way", "way"],
    ["data/sub/way/secret", "way"],
    ["data/inside", "inside"],
    ["data/file", "file"],
    ["mine/way/secret", "way"],
  ] as const)
    expect(() => hold(inTop(path))).toThrow(refused(link));
});

test("the directory itself may be reached by links, and a link out of it and back is refused where it lies", () => {
  share("data");
  symlinkSync("data", inTop("link"));
  writeFileSync(inTop("data/sub/file"), "guest's");
  expect(read("link/sub/file")).toBe("guest's");
  symlinkSync("../data/sub/../../outside", inTop("outside/round"));
  expect(read("outside/round/secret")).toBe("secret");
});

test("it is known by what it is: by another name, and not when another one has its name", () => {
  share("data");
  symlinkSync(inTop("outside"), inTop("data/way"));
  renameSync(inTop("data"), inTop("moved"));
  expect(() => hold(inTop("moved/way/secret"))).toThrow(refused("way", "moved"));
  mkdirSync(inTop("data"));
  symlinkSync(inTop("outside"), inTop("data/way"));
  expect(read("data/way/secret")).toBe("secret");
});

/** Where something is mounted when somebody comes; only root can make such a place, in mounts of its own. */
const AUTOMOUNT = `d=$(mktemp -d) && trap 'umount -R "$d"; rmdir "$d"' EXIT && mount -t debugfs none "$d" && test -d "$d/tracing"`;
const unshared = (script: string) => ["unshare", "-m", "sh", "-c", `${AUTOMOUNT} && ${script}`];
const canMount = Bun.spawnSync(unshared("true")).exitCode === 0;
const why = canMount ? "" : " (skipped: this user may mount no debugfs here)";

test.skipIf(!canMount)(`a directory that is mounted when somebody comes is mounted${why}`, () => {
  const look = `const { hold } = await import(process.argv[1]);
    using held = hold(process.argv[2]);
    console.log(require("node:fs").statfsSync(held.path).type.toString(16));`;
  const script = `"$0" -e "$1" "$2" "$d/tracing"`;
  const hold = join(import.meta.dirname, "../../../src/host/hold.ts");
  const { stdout } = Bun.spawnSync([...unshared(script), process.execPath, look, hold]);
  expect(stdout.toString()).toBe("74726163\n"); // tracefs
});

test("what has been looked up stays, whatever has its name by then", () => {
  share("data");
  writeFileSync(inTop("data/file"), "first");
  using held = hold(inTop("data/file"));
  renameSync(inTop("data/file"), inTop("data/other"));
  symlinkSync(inTop("outside/secret"), inTop("data/file"));
  expect(readFileSync(held.path, "utf8")).toBe("first");
});

test("names may be any bytes", () => {
  const name = Buffer.concat([Buffer.from(`${top}/`), Buffer.of(0xff, 0xfe)]);
  mkdirSync(name);
  writeFileSync(Buffer.concat([name, Buffer.from("/file")]), "text");
  symlinkSync(name, inTop("bytes"));
  expect(read("bytes/file")).toBe("text");
});

const notes = () => join(state(), "capsa/guest-directories");

/** So many days go by for what is remembered. */
function pass(days: number): void {
  for (const name of readdirSync(notes())) {
    const then = statSync(join(notes(), name)).mtimeMs / 1000 - days * 24 * 3600;
    utimesSync(join(notes(), name), then, then);
  }
}

test("directories that have been gone for a month are forgotten, those that are there never", () => {
  share("data");
  share("data/sub");
  pass(31);
  rmSync(inTop("data/sub"), { recursive: true });
  share("outside");
  expect(readdirSync(notes())).toHaveLength(["swept", "data", "outside"].length);
  symlinkSync(inTop("outside"), inTop("data/way"));
  expect(() => hold(inTop("data/way"))).toThrow(refused("way"));
});

test("one that is renamed is known for a month from then on, and for as long as anybody meets it", () => {
  share("data");
  symlinkSync(inTop("outside"), inTop("data/way"));
  pass(31);
  share("data/sub"); // it is still there
  renameSync(inTop("data"), inTop("moved"));
  pass(29);
  share("moved/sub");
  expect(() => hold(inTop("moved/way"))).toThrow(refused("way", "moved"));
  pass(31);
  share("outside");
  expect(() => hold(inTop("moved/way"))).toThrow(refused("way", "moved"));
});

test("a note is replaced as a whole: whoever reads it has the old one, or the new one", () => {
  const status = statSync(inTop("data"), { bigint: true });
  const remember = (sandbox: string) => rememberGuestDirectory(status, { path: inTop("data"), sandbox });
  rmSync(notes(), { recursive: true });
  remember("first");
  const [note] = readdirSync(notes()).filter((name) => name !== "swept");
  const reader = openSync(join(notes(), note!), "r");
  remember("second");
  expect(JSON.parse(readFileSync(reader, "utf8")).sandbox).toBe("first");
  closeSync(reader);
  expect(JSON.parse(readFileSync(join(notes(), note!), "utf8")).sandbox).toBe("second");
  expect(readdirSync(notes()).sort()).toEqual([note!, "swept"]);
});

test("a note that cannot be written leaves nothing behind", () => {
  const status = statSync(inTop("data"), { bigint: true });
  rmSync(notes(), { recursive: true });
  const note = join(notes(), lastingIdentity(status));
  mkdirSync(note, { recursive: true });
  expect(() => rememberGuestDirectory(status, { path: inTop("data"), sandbox: "box" })).toThrow("EISDIR");
  expect(readdirSync(notes())).toEqual([basename(note)]);
  rmSync(note, { recursive: true });
});
