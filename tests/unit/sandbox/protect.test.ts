/** What in which share a guest cannot change: what was said, what describes the sandbox, and capsa itself. */
import { afterAll, expect, test } from "bun:test";
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { noticesOfProtection, protections } from "../../../src/sandbox/protect.ts";
import type { SandboxSpec, ShareSpec } from "../../../src/spec/spec.ts";
import { SPEC, share } from "./spec.ts";

const PACKAGE = resolve(import.meta.dirname, "../../..");
const scratch = realpathSync(mkdtempSync(join(tmpdir(), "capsa-protect-")));
afterAll(() => rmSync(scratch, { recursive: true }));

let made = 0;

/** A new directory with these files in it; what ends in a slash is a directory, "a -> b" a link. */
function tree(...entries: string[]): string {
  const top = join(scratch, String(made++));
  mkdirSync(top);
  for (const entry of entries) {
    const [path, target] = entry.split(" -> ") as [string, string?];
    const at = join(top, path);
    mkdirSync(entry.endsWith("/") ? at : dirname(at), { recursive: true });
    if (target !== undefined) symlinkSync(target, at);
    else if (!entry.endsWith("/")) writeFileSync(at, "");
  }
  return top;
}

const rw = (host: string, change: Partial<ShareSpec> = {}) => share("/x", { host, mode: "rw", ...change });
const given = (shares: readonly ShareSpec[], change: Partial<SandboxSpec> = {}, files: string[] = []) =>
  protections({ ...SPEC, shares, ...change }, files);
/** Of each share's root, whatever else is said. */
const AT_ROOT = ["capsa.lock", "capsa.toml"];
/** What is protected besides. */
const paths = (...args: Parameters<typeof given>) =>
  given(...args).map((one) => one.paths.filter((path) => !AT_ROOT.includes(path)));

test("what a sandbox may be started by later: at the root of each share, whatever has started this one", () => {
  const shares = [rw(tree()), rw(tree("capsa.toml", "a.scenario.toml")), rw(join(tree("file"), "file"))];
  expect(given(shares).map((one) => one.paths)).toEqual([AT_ROOT, ["a.scenario.toml", ...AT_ROOT], []]);
});

test("what is said, in that share and in every other that holds it", () => {
  const said = (shares: ShareSpec[]) =>
    given(shares).map((one) => one.paths.filter((path) => !AT_ROOT.includes(basename(path))));
  const top = tree(".git/hooks/", "sub/");
  const protect = ["./.git//hooks/", "sub/new", ".git/hooks/inner"];
  expect(said([rw(top, { protect })])).toEqual([[".git/hooks", "sub/new"]]);
  expect(said([rw(top, { protect }), rw(join(top, "sub")), rw(dirname(top)), rw(tree())])).toEqual([
    [".git/hooks", "sub/new"],
    ["new"],
    [`${basename(top)}/.git/hooks`, `${basename(top)}/sub/new`],
    [],
  ]);
  expect(said([rw("/", { protect: ["etc/cron.d"] })])[0]).toContain("etc/cron.d");
});

test("of others nothing: what cannot be written, and what is written beside it", () => {
  const top = tree();
  for (const mode of ["ro", "transaction"] as const) {
    expect(given([rw(top, { mode, protect: ["a"] })])).toEqual([{ whole: false, paths: [] }]);
    expect(given([rw(PACKAGE, { mode })])).toEqual([{ whole: false, paths: [] }]);
  }
});

test("a link stays, and so does what it leads to", () => {
  const top = tree(
    "real/hooks/",
    ".git -> real",
    "other/",
    "out -> /usr",
    "loop -> loop",
    "chain -> other/link",
  );
  symlinkSync("../real/hooks", join(top, "other/link"));
  expect(paths([rw(top, { protect: [".git/hooks"] })])).toEqual([[".git", "real/hooks"]]);
  expect(paths([rw(top, { protect: ["out/x"] })])).toEqual([["out"]]);
  expect(paths([rw(top, { protect: ["loop/x"] })])).toEqual([["loop"]]);
  expect(paths([rw(top, { protect: ["chain"] })])).toEqual([["chain", "other/link", "real/hooks"]]);
  const link = join(scratch, "link");
  symlinkSync(top, link);
  expect(paths([rw(link, { protect: ["a"] })])).toEqual([["a"]]);
});

test("what describes the sandbox, and where its secrets come from", () => {
  const top = tree(
    "conf/capsa.toml",
    "conf/a.scenario.toml",
    "conf/other.toml",
    "capsa.toml -> conf/capsa.toml",
    "token",
  );
  const describedBy = [join(top, "capsa.toml")];
  expect(paths([rw(top)], { describedBy })).toEqual([["conf/capsa.toml"]]);
  expect(paths([rw(top)], { describedBy: [join(top, "conf/capsa.toml")] })).toEqual([
    ["conf/a.scenario.toml", "conf/capsa.lock", "conf/capsa.toml"],
  ]);
  expect(paths([rw(join(top, "conf"))], { describedBy })).toEqual([["a.scenario.toml"]]);
  expect(paths([rw(tree())], { describedBy: ["/nonesuch/capsa.toml"] })).toEqual([[]]);
  const secrets = {
    A: { from: `file:${top}/token`, hosts: ["a.example"] },
    B: { from: "env:B", hosts: ["a.example"] },
  };
  expect(paths([rw(top)], { secrets })).toEqual([["conf/capsa.toml", "token"]]);
});

test("capsa itself: of a clone what runs, Bun, the library, its state, and what else it takes", () => {
  const [own] = paths([rw(PACKAGE)]);
  expect(own).toEqual(["build", "kernel", "node_modules", "package.json", "src", "templates"]);
  const [above] = paths([rw(dirname(PACKAGE))]);
  expect(above).toContain(`${basename(PACKAGE)}/src`);
  expect(above).toContain("node_modules/.bin/bun"); // where it would be looked for if it were gone
  const library = tree();
  const state = tree();
  const kernel = join(tree("kernel/1/vmlinux"), "kernel/1/vmlinux");
  const before = { ...process.env };
  process.env.CAPSA_LIB_DIR = library;
  process.env.XDG_STATE_HOME = state;
  try {
    expect(given([rw(library)])[0]!.whole).toBeTrue();
    expect(paths([rw(state)])).toEqual([["capsa"]]);
  } finally {
    for (const name of ["CAPSA_LIB_DIR", "XDG_STATE_HOME"]) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
  expect(paths([rw(resolve(kernel, "../../.."))], {}, [kernel])).toEqual([["kernel/1/vmlinux"]]);
  expect(paths([rw(join(PACKAGE, "docs"))])).toEqual([[]]);
  expect(paths([rw(join(PACKAGE, "examples/python"))])).toEqual([[]]);
});

test("capsa itself: a package from npm, with all that it needs, where it would be found sooner too", () => {
  const top = tree("project/node_modules/.bin/", "project/node_modules/capsa/examples/", "project/src/");
  const modules = join(top, "project/node_modules");
  const install = (name: string, needs: Record<string, object>) => {
    mkdirSync(join(modules, name), { recursive: true });
    writeFileSync(join(modules, name, "package.json"), JSON.stringify(needs));
  };
  install("capsa", { dependencies: { one: "1", "@scope/two": "1" }, peerDependencies: { absent: "1" } });
  install("one", { dependencies: { three: "1" }, optionalDependencies: { two: "1" } });
  install("@scope/two", { dependencies: { one: "1" }, devDependencies: { mine: "1" } });
  install("three", {});
  install("mine", {});
  cpSync(join(PACKAGE, "src"), join(modules, "capsa/src"), { recursive: true });
  const ask = (host: string) => {
    const program = `
      const { protections } = await import(${JSON.stringify(join(modules, "capsa/src/sandbox/protect.ts"))});
      console.log(JSON.stringify(protections(${JSON.stringify({ ...SPEC, shares: [rw(host)] })}, [])));`;
    const { stdout } = Bun.spawnSync([process.execPath, "-e", program], { cwd: top });
    return JSON.parse(stdout.toString())[0];
  };
  const { paths } = ask(join(top, "project"));
  const inModules = paths.map((path: string) => path.replace(/^node_modules\//, ""));
  expect(inModules).toEqual(
    expect.arrayContaining([
      ".bin/bun",
      ".bin/capsa",
      "@scope/two",
      "absent",
      "capsa/src",
      "one",
      "three",
      "two",
    ]),
  );
  expect(inModules).toContain("node_modules/.bin/bun"); // node_modules/node_modules, where Bun is looked for first
  expect(inModules).toContain("@scope/node_modules/one");
  expect(inModules).not.toContain("mine");
  expect(ask(join(modules, "capsa/examples"))).toEqual({ whole: false, paths: AT_ROOT });
  expect(ask(join(top, "project/src"))).toEqual({ whole: false, paths: AT_ROOT });
  expect(ask(join(modules, "capsa/src")).whole).toBeTrue();
});

test("a share within what is protected is read-only, and a line says so", () => {
  const file = join(tree("capsa.toml"), "capsa.toml");
  for (const [host, change] of [
    [join(PACKAGE, "src"), {}],
    [join(PACKAGE, "src/index.ts"), {}],
    [file, { describedBy: [file] }],
  ] as const) {
    const spec = { ...SPEC, shares: [share("/usr"), rw(host)], ...change };
    const all = protections(spec, []);
    expect(all[1]).toEqual({ whole: true, paths: [] });
    const [notice, ...others] = noticesOfProtection(spec, all);
    expect(notice).toEqual({
      code: "SHARE_READ_ONLY",
      message: expect.stringContaining(`the share ${host} is`),
    });
    expect(others).toEqual([]);
  }
  const free = { ...SPEC, shares: [rw(PACKAGE)] };
  expect(noticesOfProtection(free, protections(free, []))).toEqual([]);
});
