/**
 * What a sandbox may be, by each door: a `capsa.toml`, a program's object with the keys of one, and a specification are given
 * the same, and told the same in the same words.
 */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../../src/config/load.ts";
import { ConfigError } from "../../../src/config/problem.ts";
import { SpecError } from "../../../src/errors/errors.ts";
import type { NetworkKeys, SandboxOptions, ShareKeys } from "../../../src/spec/options.ts";
import { OptionsSchema, optionsToSpec, toSpec, validateSpec } from "../../../src/spec/sandbox.ts";
import type { SandboxSpec } from "../../../src/spec/spec.ts";

const before = process.cwd();
const top = realpathSync(mkdtempSync(join(tmpdir(), "capsa-doors-")));
beforeAll(() => {
  for (const name of ["dir", "dir/inner", "empty"]) mkdirSync(join(top, name));
  for (const name of ["file", "dir/file"]) writeFileSync(join(top, name), "x");
  symlinkSync("circle", join(top, "circle"));
  symlinkSync("/usr", join(top, "dir/link"));
  process.chdir(top); // where relative paths start from TypeScript, as those of a file do there
});
afterAll(() => {
  process.chdir(before);
  rmSync(top, { recursive: true });
});

/** The specification, or the first problem: its place in the words of that door, what is said, and what to do. */
type Outcome = object | readonly [place: string, why: string, hint: string | undefined];

function byToml(text: string): Outcome {
  try {
    const { describedBy: _, ...spec } = parseConfig(`[sandbox.box]\n${text}`, join(top, "capsa.toml"), {
      values: "unread",
    }).sandboxes[0]!;
    return spec;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [{ key, message, hint }] = error.problems as [(typeof error.problems)[number]];
    expect(message).toStartWith(`${key}: `);
    // numbered from 1 there
    const place = key.replace(/^sandbox\.box\.?/, "").replace(/\[(\d+)\]/g, (_, n) => `[${Number(n) - 1}]`);
    return [place.replaceAll('"', ""), message.slice(key.length + 2), hint];
  }
}

/** As `Capsa.open` is given what the file has. */
const byOptions = (text: string) => byProgram(() => optionsToSpec(Bun.TOML.parse(text), "box"));
const byTypeScript = (given: object) => byProgram(() => toSpec({ name: "box", ...given }));

function byProgram(make: () => SandboxSpec): Outcome {
  try {
    const spec = make();
    validateSpec(spec);
    return spec;
  } catch (error) {
    if (!(error instanceof SpecError)) throw error;
    return [error.field, error.why, error.hint];
  }
}

/** Where the two have other names for the same key. */
const FIELDS: Readonly<Record<string, string>> = {
  memory: "memoryMb",
  bootTimeout: "bootTimeoutMs",
  ttl: "ttlMs",
  idleTimeout: "idleTimeoutMs",
  bandwidth: "bytesPerSecond",
};

interface Case {
  readonly what: string;
  readonly toml: string;
  readonly typescript: object;
  /** Of a refusal: its place, in the words of TypeScript, and words of it. */
  readonly refused?: readonly [place: string, ...words: string[]];
}

/** One value that both have in the same form. */
const same = (what: string, key: string, value: unknown, ...refused: string[]): Case => ({
  what,
  toml: `${key} = ${toToml(value)}`,
  typescript: { [FIELDS[key] ?? key]: value },
  ...(refused.length === 0 ? {} : { refused: refused as [string, ...string[]] }),
});
const share = (change: object) => ({ host: "dir", guest: "/a", ...change });
const shares = (what: string, list: object[], ...refused: string[]) => same(what, "shares", list, ...refused);
const network = (what: string, given: object, ...refused: string[]): Case => ({
  ...same(what, "network", given, ...refused),
  typescript: {
    network: {
      mode: "user",
      ...Object.fromEntries(Object.entries(given).map(([key, value]) => [FIELDS[key] ?? key, value])),
    },
  },
});
const token = { from: "env:TOKEN", hosts: ["api.example"] };
const secret = (what: string, given: object, ...refused: string[]): Case => {
  const { toml, ...rest } = same(what, "secrets", { KEY: { ...token, ...given } }, ...refused);
  return {
    ...rest,
    toml: `network = "user"\n${toml}`,
    typescript: { network: "user", ...rest.typescript },
  };
};

function toToml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toToml).join(", ")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).map(([key, inner]) => `${JSON.stringify(key)} = ${toToml(inner)}`);
  return `{ ${entries.join(", ")} }`;
}

const map = (...uids: object[]) => share({ ownership: { uids, gids: [{ guest: 0, host: 0, count: 1 }] } });
const range = (guest: number, host: number, count: number) => ({ guest, host, count });

const CASES: readonly Case[] = [
  { what: "nothing", toml: "", typescript: {} },
  same("processors", "cpus", 4),
  same("no processor", "cpus", 0, "cpus", "a whole number from 1 to 255, not 0"),
  same("half a processor", "cpus", 1.5, "cpus", "not 1.5"),
  same("too many processors", "cpus", 256, "cpus", "not 256"),
  same("memory with a unit", "memory", "2G"),
  same("memory without", "memory", 2048),
  same("the least memory", "memory", "40M"),
  same("too little memory", "memory", "39M", "memoryMb", 'from "40M" to "1024G"', 'not "39M"'),
  same("too little memory as a number", "memory", 39, "memoryMb", 'from "40M" to "1024G"', "not 39"),
  same("too much memory", "memory", "1025G", "memoryMb", 'to "1024G"'),
  same("memory in no unit", "memory", "512", "memoryMb", "a plain number counts MiB"),
  same("half a MiB", "memory", 0.5, "memoryMb", "not 0.5"),
  same("an engine", "engine", "qemu"),
  same("an unknown engine", "engine", "kmv", "engine", '"auto" or "kvm" or "qemu"', 'did you mean "kvm"?'),
  same("a cage", "confine", "require"),
  same("an unknown cage", "confine", 1, "confine", '"none", not 1'),
  same("a kernel", "kernel", "file"),
  same("a kernel that is not there", "kernel", "none", "kernel", "/none is not there", `start at ${top}`),
  same("a kernel that is a directory", "kernel", "dir", "kernel", "is a directory, not a file"),
  same("a kernel that is a device", "kernel", "/dev/null", "kernel", "is not a regular file"),
  same("an initrd in a circle", "initrd", "./circle", "initrd", "lead in a circle"),
  same("an initrd that a shell would expand", "initrd", "~/initrd", "initrd", "are not expanded"),
  same("an empty path", "initrd", "", "initrd", "a path on the host"),
  same("busybox", "rootfs", "base"),
  same("this machine's /usr", "rootfs", "host"),
  same("a directory as root", "rootfs", "./dir"),
  same("a root that is a bare word", "rootfs", "debian", "rootfs", "or a directory such as"),
  same("a root that is a file", "rootfs", "./file", "rootfs", "is not a directory"),
  same("a root that is not there", "rootfs", "/nonesuch", "rootfs", "/nonesuch is not there"),
  same("no network", "network", "none"),
  same("a network", "network", "user"),
  same("an unknown network", "network", "nat", "network", '"none", "user" or a table', 'not "nat"'),
  network("a network of defaults", {}),
  network("a network within limits", {
    allow: ["a.example:443"],
    deny: ["*"],
    log: ["b.example"],
    publish: ["0:80"],
    nameServers: ["192.0.2.1"],
    maxConnections: 7,
    bandwidth: "10Mbit",
    hostLoopback: true,
  }),
  network("a rate without a unit", { bandwidth: 1_250_000 }),
  network("a trickle", { bandwidth: "63kbit" }, "network.bytesPerSecond", 'from "64kbit"'),
  network("a rate in no unit", { bandwidth: "10" }, "network.bytesPerSecond", 'such as "10Mbit"'),
  network("no connection", { maxConnections: 0 }, "network.maxConnections", "from 1 to 4096"),
  network("a rule that is none", { allow: ["a.example", "a b"] }, "network.allow[1]", "names no valid host"),
  network("a rule that is no text", { deny: [1] }, "network.deny[0]", "a rule such as"),
  network("rules that are no list", { log: "a.example" }, "network.log", "a list such as"),
  network("a port that is none", { publish: ["80"] }, "network.publish[0]", "GUEST_PORT"),
  network("a server by name", { nameServers: ["a"] }, "network.nameServers[0]", "no address"),
  network("four servers", { nameServers: Array(4).fill("192.0.2.1") }, "network.nameServers", "more than 3"),
  network("loopback by half", { hostLoopback: 1 }, "network.hostLoopback", "true or false"),
  network("a misspelt key", { alow: [] }, "network.alow", "unknown key", 'did you mean "allow"?'),
  same("an environment", "env", { LANG: "C", EMPTY: "" }),
  same("a number in it", "env", { A: 1 }, "env.A", "text in quotes"),
  same("a name with =", "env", { "A=B": "c" }, "env.A=B", "is not a valid name", "any text without ="),
  same("a NUL in it", "env", { A: "b\0c" }, "env.A", "NUL"),
  same("labels", "labels", { team: "x", note: 'a "b" \\ c' }),
  same("a label's name", "labels", { "a-b": "x" }, "labels.a-b", "is not a valid name", "underscores"),
  same("a label that is a number", "labels", { a: 1 }, "labels.a", "a text of up to 256"),
  same("a label over lines", "labels", { a: "b\nc" }, "labels.a", "without control characters"),
  same(
    "65 labels",
    "labels",
    Object.fromEntries([...Array(65).keys()].map((n) => [`l${n}`, ""])),
    "labels",
    "65",
  ),
  same("a command", "run", "echo a"),
  same("a program", "run", ["/bin/echo", "a", ""]),
  same("a program without a name", "run", [""], "run", "empty"),
  same("no program", "run", [], "run", "an empty list"),
  same("a number as argument", "run", ["a", 1], "run[1]", "not 1"),
  {
    what: "a working directory",
    toml: 'run = ["a"]\ncwd = "/a//b/"',
    typescript: { run: { argv: ["a"], cwd: "/a//b/" } },
  },
  {
    what: "a relative working directory",
    toml: 'run = ["a"]\ncwd = "b"',
    typescript: { run: { argv: ["a"], cwd: "b" } },
    refused: ["run.cwd", "an absolute path in the guest"],
  },
  same("a time to boot", "bootTimeout", "1.5m"),
  same("a time in milliseconds", "bootTimeout", 1500),
  same("no time to boot", "bootTimeout", "0s", "bootTimeoutMs", 'from "1ms"', 'not "0s"'),
  same("a time in no unit", "bootTimeout", "30", "bootTimeoutMs", "a plain number counts milliseconds"),
  same("a life", "ttl", "8h"),
  same("no life", "ttl", 0, "ttlMs", 'from "1ms"', "not 0"),
  same("a life longer than the guest's timers", "ttl", "1194h", "ttlMs", 'to "1193h"'),
  same("an idleness", "idleTimeout", "90s"),
  same("an endless one", "idleTimeout", 2 ** 32, "idleTimeoutMs", "not 4294967296"),
  secret("a secret", {}),
  secret("a secret of a file, for a header", { from: "file:file", header: "X-Key" }),
  secret("a secret of nowhere", { from: "vault:x" }, "secrets.KEY.from", '"env:NAME" or "file:PATH"'),
  secret("a secret for nobody", { hosts: [] }, "secrets.KEY.hosts", "a list of hosts"),
  secret("a secret for an address", { hosts: ["192.0.2.1"] }, "secrets.KEY.hosts[0]", "is an IP address"),
  secret("a secret in no header", { header: "a b" }, "secrets.KEY.header", "not the name of a header"),
  secret("a secret that says where to", { header: "Host" }, "secrets.KEY.header", "cannot hold a secret"),
  secret("a misspelt key of a secret", { form: "x" }, "secrets.KEY.form", 'did you mean "from"?'),
  same("a secret's bad name", "secrets", { "a-b": token }, "secrets.a-b", "such as API_TOKEN"),
  same("a secret without a network", "secrets", { KEY: token }, "secrets", "has no network", "allow = []"),
  {
    what: "a secret and a variable of one name",
    toml: `network = "user"\nenv = { KEY = "x" }\nsecrets = ${toToml({ KEY: token })}`,
    typescript: { network: "user", env: { KEY: "x" }, secrets: { KEY: token } },
    refused: ["secrets.KEY", "a variable of that name"],
  },
  shares("a share, read-only without a word", [share({})]),
  shares("a share with all that it can have", [
    share({
      mode: "rw",
      cache: "never",
      locks: "guest",
      protect: [".git/./hooks/"],
      ownership: "caller",
      size: "1G",
    }),
  ]),
  shares("a share of a file", [share({ host: "file", guest: "/etc/app.conf" })]),
  shares("shares in one another", [
    share({ guest: "/p/out", mode: "rw" }),
    share({ guest: "/p" }),
    share({ guest: "/p/out/tx", mode: "transaction" }),
  ]),
  shares("a share in the place of a link", [share({}), share({ guest: "/a/link/b" })]),
  shares("ids that are mapped", [map(range(0, 1000, 1))]),
  shares("a share without a place", [{ host: "dir" }], "shares[0].guest", "is missing", "add guest"),
  shares("a share of nothing", [share({ host: "none" })], "shares[0].host", "is not there"),
  shares("a share of a device", [share({ host: "/dev/null" })], "shares[0].host", "neither a directory"),
  shares("a share at the root", [share({ guest: "/x/.." })], "shares[0].guest", "replace the guest's /"),
  shares("a share over /proc", [share({ guest: "/proc/x" })], "shares[0].guest", "needs /proc in the guest"),
  shares("a relative place", [share({ guest: "a" })], "shares[0].guest", "an absolute path in the guest"),
  shares("a place too long", [share({ guest: "/aaaaaaa".repeat(512) })], "shares[0].guest", "4095 bytes"),
  shares("a name too long", [share({ guest: `/${"a".repeat(256)}` })], "shares[0].guest", "255 bytes"),
  shares("one place twice", [share({}), share({ guest: "/b/../a/" })], "shares[1].guest", "mounted on /a"),
  shares(
    "a share in one that is a file",
    [share({ guest: "/a/b" }), share({ host: "file" })],
    "shares[0].guest",
    "/a, which is a single file",
  ),
  shares("a share in a file", [share({}), share({ guest: "/a/file/b" })], "shares[1].guest", "no directory"),
  shares(
    "a file in the place of a directory",
    [share({}), share({ host: "file", guest: "/a/inner" })],
    "shares[1].guest",
    "is a directory",
  ),
  shares("an unknown mode", [share({ mode: "rx" })], "shares[0].mode", '"ro" or "rw" or "transaction"'),
  shares("locks of nobody", [share({ locks: "no" })], "shares[0].locks", '"host" or "guest"'),
  shares("an owner by name", [share({ ownership: "me" })], "shares[0].ownership", '"root", "caller"'),
  shares(
    "half a map",
    [share({ ownership: { uids: [], gids: [range(0, 0, 1)] } })],
    "shares[0].ownership.uids",
    "an empty list",
  ),
  shares("a range of none", [map(range(0, 0, 0))], "shares[0].ownership.uids[0].count", "1 or more"),
  shares(
    "a range beyond the last",
    [map(range(2 ** 32 - 2, 0, 2))],
    "shares[0].ownership.uids[0].guest",
    "go beyond",
  ),
  shares(
    "ranges that overlap",
    [map(range(0, 5, 3), range(2, 9, 1))],
    "shares[0].ownership.uids[1]",
    "overlap",
  ),
  shares(
    "a transaction of a file",
    [share({ host: "file", mode: "transaction" })],
    "shares[0].mode",
    "of a directory",
  ),
  shares(
    "a transaction of files that are whoever looks's",
    [share({ mode: "transaction", ownership: "caller" })],
    "shares[0].ownership",
    "files have owners",
  ),
  shares(
    "locks of a transaction on the host",
    [share({ mode: "transaction", locks: "host" })],
    "shares[0].locks",
    "locks are the guest's",
  ),
  shares("room in what is only read", [share({ size: "1M" })], "shares[0].size", "read-only share"),
  shares("too little room", [share({ mode: "rw", size: 4095 })], "shares[0].size", 'from "4K"'),
  shares("room that is no size", [share({ mode: "rw", size: "1T" })], "shares[0].size", 'such as "512M"'),
  shares(
    "room that another share has no end of",
    [share({ mode: "rw", size: "1M" }), share({ mode: "rw", guest: "/b" })],
    "shares[0].size",
    "by /b, too",
  ),
  shares("below a file", [share({ host: "file", protect: ["a"] })], "shares[0].protect", "no paths below"),
  shares("protected paths as a text", [share({ protect: ".git" })], "shares[0].protect", "a list of paths"),
  ...[".", "/", "/a", "..", "../a", "a/../.."].map((path) =>
    shares(
      `the protected path ${path}`,
      [share({ mode: "rw", protect: ["fine/.../path", path] })],
      "shares[0].protect[1]",
      "no path below the directory",
    ),
  ),
  shares("a misspelt key of a share", [share({ mod: "rw" })], "shares[0].mod", 'did you mean "mode"?'),
  shares("shares that are a table", {} as object[], "shares", "tables, not an empty table"),
  {
    what: "a misspelt key",
    toml: 'memroy = "1G"',
    typescript: { memroyMb: "1G" },
    refused: ["memroyMb", "unknown key"],
  },
];

/** The place of TypeScript as the other door has it. */
function inToml(place: string): string {
  const names = Object.fromEntries(Object.entries(FIELDS).map(([name, field]) => [field, name]));
  return place === "run.cwd" ? "cwd" : place.replace(/\w+/g, (word) => names[word] ?? word);
}

test("the type of a sandbox's keys has each, and no other", () => {
  const share: Required<ShareKeys> = {
    host: "dir",
    guest: "/dir",
    mode: "rw",
    ownership: "caller",
    cache: "never",
    locks: "guest",
    protect: [".git"],
    size: "1M",
  };
  const network: Required<NetworkKeys> = {
    allow: [],
    deny: [],
    log: [],
    publish: [],
    nameServers: [],
    maxConnections: 7,
    bandwidth: "10Mbit",
    hostLoopback: true,
  };
  const whole: Required<SandboxOptions> = {
    name: "box",
    cpus: 2,
    memory: "1G",
    rootfs: "host",
    engine: "qemu",
    confine: "none",
    kernel: "file",
    initrd: "file",
    shares: [share],
    network,
    networks: [{ name: "db", scope: "x" }],
    secrets: { TOKEN: token },
    labels: { team: "x" },
    env: { A: "1" },
    run: "true",
    cwd: "/",
    bootTimeout: "5s",
    ttl: "10m",
    idleTimeout: 1000,
  };
  const keys = (value: object) => Object.keys(value).sort();
  const { properties } = OptionsSchema;
  expect(keys(whole)).toEqual(keys(properties));
  expect(keys(share)).toEqual(keys(properties.shares!.items.properties));
  expect(keys(network)).toEqual(keys(properties.network!.anyOf[1].properties));
  expect(optionsToSpec(whole, "other")).toMatchObject({
    name: "box",
    networks: [{ name: "db", scope: "x", as: "box" }],
    run: { argv: ["/bin/sh", "-c", "true"], cwd: "/" },
  });
});

describe("each door", () => {
  test.each(CASES.map((one) => [one.what, one] as const))("%s", (_, { toml, typescript, refused }) => {
    const [first, second] = [byToml(toml), byTypeScript(typescript)];
    expect(byOptions(toml)).toEqual(first);
    if (refused === undefined) {
      expect(first).toEqual(second);
      return expect(first).toHaveProperty("name", "box");
    }
    const [place, ...words] = refused;
    expect([first, second]).toEqual([expect.any(Array), expect.any(Array)]);
    const [firstPlace, firstWhy, firstHint] = first as string[];
    const [secondPlace, secondWhy, secondHint] = second as string[];
    expect(secondPlace).toBe(place);
    if (place !== "memroyMb") expect(firstPlace).toBe(inToml(place));
    expect(firstWhy).toBe(secondWhy!);
    if (place !== "memroyMb") expect(firstHint).toBe(secondHint as string);
    for (const word of words) expect(`${secondWhy}\n${secondHint}`).toContain(word);
  });

  test("a misspelt key is told with the one that was meant, as that door calls it", () => {
    expect(byToml('memroy = "1G"')).toEqual(["memroy", "unknown key", 'did you mean "memory"?']);
    expect(byTypeScript({ memroyMb: 1 })).toEqual(["memroyMb", "unknown key", 'did you mean "memoryMb"?']);
    expect(byTypeScript({ ttl: "1h" })).toEqual(["ttl", "unknown key", 'did you mean "ttlMs"?']);
  });

  test("what was resolved can be given again", () => {
    for (const { typescript, refused } of CASES) {
      if (refused !== undefined) continue;
      const spec = toSpec({ name: "box", ...typescript });
      expect(toSpec(spec)).toEqual(spec);
    }
  });
});

describe("from TypeScript alone", () => {
  const cases: [what: string, given: object, field: string, why: string][] = [
    ["a name with a slash", { name: "a/b" }, "name", "up to 32 small letters"],
    ["a name too long", { name: "a".repeat(33) }, "name", "up to 32"],
    ["half a surrogate pair", { env: { A: "\ud800" } }, "env.A", "half a surrogate pair"],
    ["memory without end", { memoryMb: Number.POSITIVE_INFINITY }, "memoryMb", "not Infinity"],
    ["an environment that is a list", { env: ["A"] }, "env", "a table of texts"],
    ["a network of no kind", { network: { mode: "bridge" } }, "network.mode", '"user"'],
    [
      "a network that is joined twice",
      { networks: Array(2).fill({ name: "a", scope: "s", as: "b" }) },
      "networks[1]",
      "already",
    ],
    [
      "five networks",
      { networks: [..."abcde"].map((name) => ({ name, scope: "s", as: "b" })) },
      "networks",
      "more than 4",
    ],
  ];
  test.each(cases)("%s", (_, given, field, why) => {
    const [place, said] = byTypeScript(given) as string[];
    expect(place).toBe(field);
    expect(said).toContain(why);
  });
});
