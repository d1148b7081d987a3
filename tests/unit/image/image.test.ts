/** The host's root for a guest: what is public is there, what is not is not; and the archive the kernel unpacks. */

import { afterAll, expect, setSystemTime, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { cpio } from "../../../src/image/cpio.ts";
import { hostSkeleton, makeHostSkeleton } from "../../../src/image/host.ts";

const top = mkdtempSync(join(tmpdir(), "capsa-image-"));
afterAll(() => rmSync(top, { recursive: true }));

const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const PRIVATE = "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n";

/** A host made of `files` (contents by path) and `links`. */
function host(name: string, files: Record<string, string>, links: Record<string, string>): string {
  const root = join(top, name);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  for (const [path, target] of Object.entries(links)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    symlinkSync(target, join(root, path));
  }
  return root;
}

async function skeletonOf(from: string): Promise<string> {
  const root = `${from}-skeleton`;
  mkdirSync(root);
  await makeHostSkeleton(root, from);
  return root;
}

test("everybody in the guest may read it, whatever the umask of who made it", async () => {
  const from = host(
    "closed",
    {
      "etc/ld.so.cache": "cache",
      "etc/ld.so.conf.d/libc.conf": "/usr/local/lib",
      "etc/pki/tls/certs/own.pem": CERTIFICATE,
    },
    { bin: "usr/bin", sbin: "usr/sbin", lib: "usr/lib", "etc/alternatives/awk": "/usr/bin/mawk" },
  );
  const umask = process.umask(0o077);
  try {
    const root = await skeletonOf(from);
    const closed = (readdirSync(root, { recursive: true }) as string[]).filter((path) => {
      const status = lstatSync(join(root, path));
      const needed = status.isDirectory() ? 0o005 : 0o004;
      return path !== "root" && (status.mode & needed) !== needed;
    });
    expect(closed).toEqual([]);
  } finally {
    process.umask(umask);
  }
});

test("links into /usr, the loader's tables and public certificates are taken, and nothing else", async () => {
  const from = host(
    "merged",
    {
      "usr/bin/sh": "",
      "etc/ld.so.cache": "cache",
      "etc/ld.so.conf.d/libc.conf": "/usr/local/lib",
      "etc/shadow": "secret",
      "etc/ssl/private/key.pem": PRIVATE,
      "etc/ssl/certs/ca-certificates.crt": CERTIFICATE,
      "etc/ssl/certs/both.pem": CERTIFICATE + PRIVATE,
      "etc/ssl/certs/notes.txt": "not a certificate",
      "home/me/.ssh/id": "secret",
      "root/.bashrc": "secret",
      "var/lib/db": "secret",
    },
    {
      bin: "usr/bin",
      lib64: "usr/lib64",
      "etc/alternatives/cc": "/usr/bin/gcc",
      "etc/alternatives/odd": "/home/me/.ssh/id",
      "etc/localtime": "/usr/share/zoneinfo/UTC",
      "etc/ssl/certs/hash.0": "ca-certificates.crt",
      "etc/ssl/certs/usr.pem": "/usr/share/ca-certificates/x.crt",
      "etc/ssl/certs/leak.pem": "../private/key.pem",
      "etc/os-release": "../var/lib/db",
    },
  );
  const root = await skeletonOf(from);
  const text = (path: string) => readFileSync(join(root, path), "utf8");
  const link = (path: string) => readlinkSync(join(root, path));
  expect(link("bin")).toBe("usr/bin");
  expect(link("lib64")).toBe("usr/lib64");
  expect(text("etc/ld.so.cache")).toBe("cache");
  expect(text("etc/ld.so.conf.d/libc.conf")).toBe("/usr/local/lib");
  expect(text("etc/ssl/certs/ca-certificates.crt")).toBe(CERTIFICATE);
  expect(link("etc/ssl/certs/hash.0")).toBe("ca-certificates.crt");
  expect(text("etc/passwd")).toStartWith("root:x:0:0:");
  const absent = [
    "sbin",
    "etc/shadow",
    "etc/ssl/private",
    "etc/ssl/certs/both.pem",
    "etc/ssl/certs/notes.txt",
    "etc/ssl/certs/leak.pem",
    "etc/alternatives/odd",
    "home/me",
    "root/.bashrc",
    "var/lib/db",
  ];
  for (const path of absent) expect(lstatSync(join(root, path), { throwIfNoEntry: false })).toBeUndefined();
  expect(lstatSync(join(root, "tmp")).mode & 0o7777).toBe(0o1777);
  expect(lstatSync(join(root, "root")).mode & 0o7777).toBe(0o700);
});

test("a host whose /bin is not in /usr is refused, with a way out", async () => {
  const from = host("split", { "bin/sh": "" }, {});
  await expect(skeletonOf(from)).rejects.toThrow(
    expect.objectContaining({ code: "ROOTFS_UNSUPPORTED", hint: expect.stringContaining('"base"') }),
  );
});

test("this machine's own root holds no secret of it", async () => {
  const root = join(top, "own");
  mkdirSync(root);
  await makeHostSkeleton(root);
  expect(existsSync(join(root, "etc/ld.so.cache"))).toBe(true);
  for (const path of ["etc/shadow", "etc/ssl/private", "etc/ssh", "etc/machine-id"]) {
    expect(existsSync(join(root, path))).toBe(false);
  }
  const found = Bun.spawnSync(["grep", "-rl", "PRIVATE KEY", root]);
  expect(found.stdout.toString()).toBe("");
});

test("a skeleton is kept for as long as the host is as it was", async () => {
  const from = host(
    "kept",
    { "etc/ld.so.cache": "one", "etc/ssl/certs/own.pem": CERTIFICATE },
    { bin: "usr/bin", "etc/alternatives/cc": "/usr/bin/gcc" },
  );
  const kept = join(top, "runtime");
  mkdirSync(kept, { mode: 0o700 });
  const all = join(kept, ".rootfs");
  const first = await hostSkeleton(kept, from);
  expect(await hostSkeleton(kept, from)).toBe(first);
  expect(await Promise.all([1, 2, 3].map(() => hostSkeleton(kept, from)))).toEqual([first, first, first]);
  expect(readdirSync(all)).toHaveLength(1);
  expect(lstatSync(all).mode & 0o777).toBe(0o700);
  const changes = [
    () => writeFileSync(join(from, "etc/ld.so.cache"), "other"),
    () => symlinkSync("/usr/bin/clang", join(from, "etc/alternatives/c++")),
    () => writeFileSync(join(from, "etc/ssl/certs/own.pem"), CERTIFICATE + CERTIFICATE),
  ];
  const seen = [first];
  for (const change of changes) {
    change();
    const path = await hostSkeleton(kept, from);
    expect(seen).not.toContain(path);
    seen.push(path);
  }
  expect(readFileSync(join(seen.at(-1)!, "etc/ssl/certs/own.pem"), "utf8")).toBe(CERTIFICATE + CERTIFICATE);

  // a sandbox that runs keeps those that it may have; without one they go
  for (const path of readdirSync(all)) utimesSync(join(all, path), 1, 1);
  mkdirSync(join(kept, "0123abcd"));
  writeFileSync(join(from, "etc/ld.so.cache"), "third");
  await hostSkeleton(kept, from);
  expect(readdirSync(all)).toHaveLength(5);
  rmSync(join(kept, "0123abcd"), { recursive: true });
  writeFileSync(join(from, "etc/ld.so.cache"), "fourth!");
  await hostSkeleton(kept, from);
  expect(readdirSync(all)).toHaveLength(2);
});

test("a skeleton is made anew after a week, before a cleaner of /tmp thins it out", async () => {
  const from = host("weeks", { "etc/ld.so.cache": "one" }, { bin: "usr/bin" });
  const kept = join(top, "runtime-weeks");
  mkdirSync(kept, { mode: 0o700 });
  const first = await hostSkeleton(kept, from);
  setSystemTime(Date.now() + 8 * 24 * 3600_000);
  try {
    expect(await hostSkeleton(kept, from)).not.toBe(first);
  } finally {
    setSystemTime();
  }
});

test("starts at once make one skeleton", async () => {
  const from = host("at-once", { "etc/ld.so.cache": "one" }, { bin: "usr/bin" });
  const kept = join(top, "runtime-at-once");
  mkdirSync(kept, { mode: 0o700 });
  const made = await Promise.all([1, 2, 3, 4].map(() => hostSkeleton(kept, from)));
  expect(new Set(made).size).toBe(1);
  expect(readdirSync(join(kept, ".rootfs"))).toEqual([made[0]!.split("/").at(-1)!]);
});

test("cpio unpacks what was packed", async () => {
  const archive = cpio([
    { path: "capsa", mode: 0o040755 },
    { path: "capsa/plan.cbor", mode: 0o100600, data: new TextEncoder().encode("12345") },
    { path: "capsa/empty", mode: 0o100644 },
  ]);
  const into = join(top, "cpio");
  mkdirSync(into);
  const unpack = Bun.spawn(["cpio", "-i", "--quiet"], { cwd: into, stdin: archive, stderr: "pipe" });
  expect(await unpack.stderr.text()).toBe("");
  expect(archive.length % 4).toBe(0);
  expect(readFileSync(join(into, "capsa/plan.cbor"), "utf8")).toBe("12345");
  expect(lstatSync(join(into, "capsa/plan.cbor")).mode & 0o777).toBe(0o600);
  expect(lstatSync(join(into, "capsa/empty")).size).toBe(0);
  chmodSync(join(into, "capsa"), 0o755);
});
