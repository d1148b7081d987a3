/** Every specification that cannot be is refused, at its place and with a reason. */

import { describe, expect, test } from "bun:test";
import { SpecError } from "../../../src/errors/errors.ts";
import { guestPath, validateSpec } from "../../../src/sandbox/validate.ts";
import { SPEC, share } from "./spec.ts";

test("what can be passes", () => {
  validateSpec(SPEC);
  validateSpec({ ...SPEC, shares: [share("/a"), share("/a/b", { mode: "rw" }), share("/var/lib/x")] });
  validateSpec({ ...SPEC, shares: [share("/etc/app.conf", { host: "/etc/passwd" })] });
  validateSpec({ ...SPEC, rootfs: { kind: "directory", path: "/usr" }, kernel: import.meta.path });
});

describe("what cannot be is refused", () => {
  const map = (uids: { guest: number; host: number; count: number }[]) =>
    share("/a", { ownership: { mode: "map", uids, gids: [] } });
  const user = { mode: "user", deny: [], log: [], publish: [], hostLoopback: false };
  const cases: [what: string, change: object, field: string, why: string][] = [
    ["a name with a slash", { name: "a/b" }, "name", "small letters"],
    ["a name too long", { name: "a".repeat(33) }, "name", "up to 32"],
    ["no processor", { cpus: 0 }, "cpus", "1 to 255"],
    ["half a processor", { cpus: 1.5 }, "cpus", "whole number"],
    ["memory as text", { memoryMb: "512" }, "memoryMb", "whole number"],
    ["hardly any memory", { memoryMb: 8 }, "memoryMb", "from 32"],
    ["an unknown engine", { engine: "xen" }, "engine", '"kvm"'],
    ["an unknown network", { network: "nat" }, "network", "no kind of network"],
    ["a network without lists", { network: { mode: "user" } }, "network.deny", "a list"],
    ["a rule that is none", { network: { ...user, allow: ["a b"] } }, "network.allow[0]", "names no host"],
    ["connections", { network: { ...user, maxConnections: 0 } }, "network.maxConnections", "from 1 to 4096"],
    ["a trickle", { network: { ...user, bytesPerSecond: 7999 } }, "network.bytesPerSecond", "from 8000 to"],
    ["a rule that is no text", { network: { ...user, deny: [1] } }, "network.deny[0]", "should be text"],
    ["a port that is none", { network: { ...user, publish: ["80"] } }, "network.publish[0]", "GUEST_PORT"],
    ["a server by name", { network: { ...user, nameServers: ["a"] } }, "network.nameServers", "addresses"],
    ["loopback by half", { network: { ...user, hostLoopback: 1 } }, "network.hostLoopback", "none of"],
    [
      "a rootfs that is not there",
      { rootfs: { kind: "directory", path: "/nonesuch" } },
      "rootfs",
      "is not there",
    ],
    [
      "a rootfs that is a file",
      { rootfs: { kind: "directory", path: "/etc/passwd" } },
      "rootfs",
      "not a directory",
    ],
    ["a kernel that is a directory", { kernel: "/usr" }, "kernel", "is a directory"],
    ["a kernel that is a device", { kernel: "/dev/null" }, "kernel", "is not a regular file"],
    ["a relative initrd", { initrd: "x.cpio" }, "initrd", "not an absolute path"],
    ["a NUL in a variable", { env: { A: "b\0c" } }, "env.A", "NUL"],
    ["a variable with =", { env: { "A=B": "c" } }, "env", "no name of a variable"],
    ["no program", { run: { argv: [], env: {} } }, "run", "no program"],
    ["an empty program", { run: { argv: [""], env: {} } }, "run", "empty"],
    ["a relative cwd", { run: { argv: ["x"], env: {}, cwd: "x" } }, "run.cwd", "absolute"],
    [
      "a share that is not there",
      { shares: [share("/a", { host: "/nonesuch" })] },
      "shares[0].host",
      "is not there",
    ],
    [
      "a share that is a device",
      { shares: [share("/a", { host: "/dev/null" })] },
      "shares[0].host",
      "neither a directory nor a file",
    ],
    [
      "a transaction of a file",
      { shares: [share("/a", { host: "/etc/passwd", mode: "transaction" })] },
      "shares[0].host",
      "not a directory",
    ],
    [
      "a share in one that is a file",
      { shares: [share("/a/b/c"), share("/a", { host: "/etc/passwd" })] },
      "shares[0].guest",
      "shares[1], which is a single file",
    ],
    ["a share at the root", { shares: [share("/x/..")] }, "shares[0].guest", "cannot be the root"],
    ["a share over /proc", { shares: [share("/proc/x")] }, "shares[0].guest", "guest's own"],
    [
      "the same place twice",
      { shares: [share("/a"), share("/b"), share("/a/./")] },
      "shares[2].guest",
      "shares[0]",
    ],
    ["a relative place", { shares: [share("a")] }, "shares[0].guest", "not an absolute path"],
    ["a place with a long name", { shares: [share(`/${"a".repeat(256)}`)] }, "shares[0].guest", "255 bytes"],
    ["a place too long", { shares: [share("/aaaaaaa".repeat(512))] }, "shares[0].guest", "longer than 4095"],
    [
      "a transaction whose files are everybody's",
      { shares: [share("/a", { mode: "transaction", ownership: { mode: "caller" } })] },
      "shares[0].ownership",
      "files have owners",
    ],
    [
      "locks of a transaction on the host",
      { shares: [share("/a", { mode: "transaction", locks: "host" })] },
      "shares[0].locks",
      "locks are the guest's",
    ],
    ["locks of nobody", { shares: [share("/a", { locks: "none" as "host" })] }, "shares[0].locks", '"host"'],
    ...["", ".", "/", "/a", "..", "../a", "a/../..", "a\0b"].map((path): (typeof cases)[number] => [
      `a protected path ${JSON.stringify(path)}`,
      { shares: [share("/a", { mode: "rw", protect: ["fine/.../path", path] })] },
      "shares[0].protect[1]",
      path.includes("\0") ? "NUL" : "no path below the directory",
    ]),
    [
      "a protected path with a long name",
      { shares: [share("/a", { mode: "rw", protect: ["a".repeat(256)] })] },
      "shares[0].protect[0]",
      "255 bytes",
    ],
    [
      "protected paths that are no list",
      { shares: [share("/a", { mode: "rw", protect: ".git" as unknown as string[] })] },
      "shares[0].protect",
      "a list",
    ],
    ["an unknown mode", { shares: [share("/a", { mode: "rx" as "ro" })] }, "shares[0].mode", '"ro"'],
    [
      "an id range of none",
      { shares: [map([{ guest: 0, host: 0, count: 0 }])] },
      "shares[0].ownership.uids[0].count",
      "1",
    ],
    [
      "id ranges that overlap",
      {
        shares: [
          map([
            { guest: 0, host: 0, count: 10 },
            { guest: 9, host: 100, count: 1 },
          ]),
        ],
      },
      "shares[0].ownership.uids[1]",
      "overlap",
    ],
    ["no time to live", { ttlMs: 0 }, "ttlMs", "from 1"],
    [
      "an idleness without end",
      { idleTimeoutMs: Number.POSITIVE_INFINITY },
      "idleTimeoutMs",
      "to 4294967295",
    ],
    ["no time to boot", { bootTimeoutMs: 0 }, "bootTimeoutMs", "from 1"],
  ];
  for (const [what, change, field, why] of cases) {
    test(what, () => {
      let error: unknown;
      try {
        validateSpec({ ...SPEC, ...change } as typeof SPEC);
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(SpecError);
      expect(error).toMatchObject({ field });
      expect((error as SpecError).message).toContain(why);
    });
  }
});

test("guest paths are put into one form", () => {
  expect(guestPath("x", "/a//b/./c/../d/")).toBe("/a/b/d");
  expect(guestPath("x", "/../..")).toBe("/");
});
