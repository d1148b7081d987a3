/** Paths of this machine in specifications: links that a guest may have made are refused, what people usually have is not. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadConfig, parseConfig } from "../../../src/config/load.ts";
import { lookUpHosts } from "../../../src/sandbox/host_places.ts";
import { validateSpec } from "../../../src/spec/sandbox.ts";
import type { SandboxSpec, ShareSpec } from "../../../src/spec/spec.ts";
import { specOf } from "../../../src/vm/options.ts";
import { validateVm } from "../../../src/vm/validate.ts";
import { ownState } from "../host/own_state.ts";
import { SPEC, share } from "./spec.ts";

ownState();
let top: string;
const inTop = (path: string) => join(top, path);

beforeEach(() => {
  top = realpathSync(mkdtempSync(join(tmpdir(), "capsa-places-")));
  for (const path of ["project/out", "project/src", "secret", "big"])
    mkdirSync(inTop(path), { recursive: true });
  writeFileSync(inTop("secret/disk"), Buffer.alloc(512));
});
afterEach(() => rmSync(top, { recursive: true }));

function spec(...shares: [host: string, mode: ShareSpec["mode"]][]): SandboxSpec {
  return {
    ...SPEC,
    shares: shares.map(([host, mode], index) => share(`/s${index}`, { host: inTop(host), mode })),
  };
}

const refused = (field: string) => expect.objectContaining({ code: "GUEST_LINK", field });

describe("what people have is as it was", () => {
  const usual: [what: string, links: Record<string, string>, shares: [string, ShareSpec["mode"]][]][] = [
    [
      "shares in one another, whichever is read-write",
      {},
      [
        ["project", "ro"],
        ["project/out", "rw"],
      ],
    ],
    [
      "the other way round",
      {},
      [
        ["project", "rw"],
        ["project/src", "ro"],
        ["project/out", "transaction"],
      ],
    ],
    [
      "a project that is reached by a link",
      { link: "project" },
      [
        ["link", "rw"],
        ["link/src", "ro"],
      ],
    ],
    ["a share that is a link itself", { data: "big" }, [["data", "rw"]]],
    [
      "a link beside what is shared",
      { "project/data": "../big" },
      [
        ["project/out", "rw"],
        ["project/data", "ro"],
      ],
    ],
    [
      "a link in what is only read",
      { "project/data": "../big" },
      [
        ["project", "ro"],
        ["project/data", "rw"],
      ],
    ],
  ];
  for (const [what, links, shares] of usual) {
    test(what, () => {
      for (const [name, target] of Object.entries(links)) symlinkSync(target, inTop(name));
      for (const _run of [1, 2]) {
        validateSpec(spec(...shares));
        lookUpHosts(spec(...shares));
      }
    });
  }
});

test("a share through a link in another one of the same sandbox, whatever their order", () => {
  symlinkSync(inTop("secret"), inTop("project/cache"));
  for (const mode of ["rw", "transaction"] as const) {
    expect(() => validateSpec(spec(["project", mode], ["project/cache", "ro"]))).toThrow(
      refused("shares[1].host"),
    );
    expect(() => validateSpec(spec(["project/cache", "rw"], ["project", mode]))).toThrow(
      refused("shares[0].host"),
    );
  }
});

test("a share through a link in one of another sandbox of the same file, at its line", () => {
  symlinkSync(inTop("secret"), inTop("project/cache"));
  const table = (name: string, host: string, mode: string) =>
    `[sandbox.${name}]\nrun = "true"\n[[sandbox.${name}.shares]]\nhost = "${host}"\nguest = "/s"\nmode = "${mode}"\n`;
  const text = table("one", "./project", "rw") + table("two", "./project/cache", "ro");
  expect(() => parseConfig(text, inTop("capsa.toml"))).toThrow(
    expect.objectContaining({
      message: expect.stringMatching(/capsa\.toml:10:.*"cache" is a link.*sandbox one may write/),
    }),
  );
});

test("a share through a link that the guest of an earlier run has left", () => {
  lookUpHosts(spec(["project", "rw"]));
  symlinkSync(inTop("secret"), inTop("project/cache"));
  for (const path of ["project/cache", "project/cache/disk"])
    expect(() => validateSpec(spec([path, "ro"]))).toThrow(refused("shares[0].host"));
  expect(() => lookUpHosts(spec(["project/cache", "rw"]))).toThrow(
    expect.objectContaining({ code: "GUEST_LINK" }),
  );
  expect(() =>
    validateSpec({ ...SPEC, rootfs: { kind: "directory", path: inTop("project/cache") } }),
  ).toThrow(refused("rootfs"));
  for (const key of ["kernel", "initrd"] as const)
    expect(() => validateSpec({ ...SPEC, [key]: inTop("project/cache/disk") })).toThrow(refused(key));
});

test("a disk of a raw VM, and downloads of a model, through such a link", () => {
  lookUpHosts(spec(["project", "rw"]));
  symlinkSync(inTop("secret/disk"), inTop("project/disk"));
  symlinkSync(inTop("secret"), inTop("project/downloads"));
  const vm = specOf({ kernel: inTop("secret/disk"), disks: [{ path: inTop("project/disk") }] });
  expect(() => validateVm(vm)).toThrow(refused("disks[0].path"));
  writeFileSync(inTop("capsa.toml"), '[mcp]\ndownloads = "./project/downloads"\n[sandbox.a]\nrun = "true"\n');
  expect(() => loadConfig(inTop("capsa.toml"))).toThrow(/mcp\.downloads: .*"downloads" is a link/);
});

test("the monitor is told what was looked up", () => {
  const found = lookUpHosts({
    ...spec(["project", "rw"]),
    rootfs: { kind: "directory", path: inTop("big") },
    kernel: inTop("secret/disk"),
  });
  const { dev, ino } = statSync(inTop("project"), { bigint: true });
  expect(found.get(inTop("project"))).toEqual([dev, ino]);
  expect([...found.keys()].sort()).toEqual([inTop("big"), inTop("project"), inTop("secret/disk")]);
});

test("a machine that cannot remember says so, and starts", () => {
  const before = process.env.XDG_STATE_HOME;
  process.env.XDG_STATE_HOME = inTop("secret/disk");
  const notices: unknown[] = [];
  try {
    lookUpHosts(spec(["project", "rw"], ["big", "ro"]), (notice) => notices.push(notice));
  } finally {
    process.env.XDG_STATE_HOME = before;
  }
  expect(notices).toEqual([
    { code: "GUEST_DIRECTORIES", message: expect.stringContaining("set XDG_STATE_HOME") },
  ]);
});
