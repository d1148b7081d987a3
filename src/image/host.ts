/**
 * The host's /usr as a guest's: a root directory with what /usr needs to work, and nothing else of the host but what is
 * public. Hundreds of links take a file system their time, so that one is made once and kept for as long as the host stays
 * as it is.
 */

import type { Stats } from "node:fs";
import * as fs from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { HostError } from "../errors/errors.ts";
import { errorCode } from "../host/file_errors.ts";
import type { Source } from "./root.ts";

export const host: Source<"host"> = async (_rootfs, kept) => ({
  lowers: [await hostSkeleton(kept)],
  overlays: [{ host: "/usr", target: "/usr" }],
});

const EMPTY: readonly (readonly [path: string, mode: number])[] = [
  ...["dev", "etc", "home", "media", "mnt", "opt", "proc", "run", "srv", "sys", "usr"].map(
    (path) => [path, 0o755] as const,
  ),
  ["root", 0o700],
  ["tmp", 0o1777],
  ["var", 0o755],
  ["var/cache", 0o755],
  ["var/lib", 0o755],
  ["var/log", 0o755],
  ["var/tmp", 0o1777],
];

const MADE: Readonly<Record<string, string>> = {
  "etc/passwd": [
    "root:x:0:0:root:/root:/bin/sh",
    "daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin",
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin",
  ].join("\n"),
  "etc/group": "root:x:0:\ndaemon:x:1:\ntty:x:5:\nusers:x:100:\nnogroup:x:65534:",
  "etc/hosts": "127.0.0.1\tlocalhost\n::1\tlocalhost",
  "etc/resolv.conf": "# this sandbox has no network",
  "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns",
};

/** The loader's and the C library's own tables: which directory holds which library. */
const LOADER = ["ld.so.cache", "ld.so.conf", "ld.so.conf.d", "ld-musl-x86_64.path", "ld-musl-x86_64.d"];

/** Directories of public certificates, by distribution. */
const CERTIFICATES = ["ssl/certs", "pki/tls/certs", "pki/ca-trust/extracted/pem"];

/** Links of /etc to what everybody may read. */
const LINKS = ["localtime", "os-release", "mtab"];

/** Links of / into /usr. */
const TOP_LEVEL = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/** One that nobody has asked for within this time is in no start that is under way. */
const UNUSED_MS = 60_000;
const WEEK_MS = 7 * 24 * 3600_000;

/**
 * The skeleton of this host, below `kept`: a directory of this user alone, and of no guest. Throws as
 * {@link makeHostSkeleton}.
 */
export async function hostSkeleton(kept: string, host = "/"): Promise<string> {
  const all = join(kept, ".rootfs");
  const key = await fingerprint(host);
  const path = join(all, key);
  const now = new Date();
  try {
    await fs.utimes(path, now, now); // it is in use
    return path;
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
  await fs.mkdir(all, { recursive: true, mode: 0o700 });
  await dropUnused(kept, all);
  const fresh = await fs.mkdtemp(join(all, "new-"));
  try {
    await fs.chmod(fresh, 0o755);
    await makeHostSkeleton(fresh, host);
    await fs.rename(fresh, path);
  } catch (error) {
    await fs.rm(fresh, { recursive: true, force: true });
    if ((await look(path)) === undefined) throw error; // else another start was first
  }
  return path;
}

/** Of a host that was otherwise, or of starts that were killed. A sandbox that runs may still have one of them. */
async function dropUnused(kept: string, all: string): Promise<void> {
  if ((await fs.readdir(kept)).some((name) => !name.startsWith("."))) return;
  for (const name of await fs.readdir(all)) {
    const status = await look(join(all, name));
    if (status !== undefined && Date.now() - status.mtimeMs > UNUSED_MS)
      await fs.rm(join(all, name), { recursive: true, force: true });
  }
}

/** The same for as long as {@link makeHostSkeleton} would make the same, a week at most: a cleaner of /tmp takes old files. */
async function fingerprint(host: string): Promise<string> {
  const etc = join(host, "etc");
  const certificates = CERTIFICATES.map((path) => join(etc, path));
  const paths = [
    ...TOP_LEVEL.map((name) => join(host, name)),
    ...[...LOADER, ...LINKS, "alternatives"].map((name) => join(etc, name)),
    ...certificates,
    // a directory tells of entries that come and go, not of files that are written anew
    ...(await Promise.all([...certificates, join(etc, "ld.so.conf.d")].map(filesIn))).flat(),
  ];
  const found = await Promise.all(
    paths.map(async (path) => {
      const status = await look(path);
      return status && [path, status.ino, status.mode, status.size, status.mtimeMs, status.ctimeMs];
    }),
  );
  const made = [EMPTY, MADE, LOADER, CERTIFICATES, LINKS, Math.floor(Date.now() / WEEK_MS)];
  return Bun.hash(JSON.stringify([made, found]))
    .toString(16)
    .padStart(16, "0");
}

/** Files by the name they have there or, where that is a link elsewhere, by the one they truly have. */
async function filesIn(directory: string): Promise<string[]> {
  const entries = await fs.readdir(directory, { withFileTypes: true }).catch(() => []);
  const paths = await Promise.all(
    entries.map(async (entry) => {
      const path = join(directory, entry.name);
      if (entry.isFile()) return path;
      if (!entry.isSymbolicLink()) return undefined;
      const target = resolve(directory, await fs.readlink(path).catch(() => ""));
      return dirname(target) === directory || target.startsWith("/usr/") ? undefined : target;
    }),
  );
  return paths.filter((path) => path !== undefined);
}

/**
 * Fill the empty directory `root`. Rejects with {@link HostError} `ROOTFS_UNSUPPORTED` unless /bin, /sbin and /lib of
 * `host` are links into its /usr, as they are on current distributions.
 */
export async function makeHostSkeleton(root: string, host = "/"): Promise<void> {
  for (const [path, mode] of EMPTY) await makeDirectory(join(root, path), mode);
  const etc = join(host, "etc");
  const into = (path: string) => join(root, "etc", path);
  await Promise.all([
    linkTopLevel(root, host),
    ...Object.entries(MADE).map(([path, text]) => makeFile(join(root, path), `${text}\n`)),
    ...LOADER.map((name) => copyPlain(join(etc, name), into(name))),
    copyLinks(join(etc, "alternatives"), into("alternatives")),
    ...CERTIFICATES.map((path) => copyCertificates(join(etc, path), into(path), host)),
    ...LINKS.map((name) => copyLink(join(etc, name), into(name))),
  ]);
}

async function linkTopLevel(root: string, host: string): Promise<void> {
  for (const name of TOP_LEVEL) {
    const status = await look(join(host, name));
    if (status === undefined) continue;
    const target = status.isSymbolicLink() ? await fs.readlink(join(host, name)) : "";
    if (!/^\/?usr\//.test(target)) {
      throw new HostError(
        "ROOTFS_UNSUPPORTED",
        `rootfs "host" needs /${name} to be a link into /usr, but on this machine it is not`,
        {
          hint: 'use rootfs "base", or a directory with a root file system in it',
        },
      );
    }
    await fs.symlink(target, join(root, name));
  }
}

/** A file, or a directory of files: no link is followed, nothing unreadable is an error. */
async function copyPlain(from: string, to: string): Promise<void> {
  const status = await look(from);
  if (status?.isFile()) await makeFile(to, await fs.readFile(from));
  if (!status?.isDirectory()) return;
  await makeDirectory(to);
  for (const name of await fs.readdir(from))
    if ((await look(join(from, name)))?.isFile())
      await makeFile(join(to, name), await fs.readFile(join(from, name)));
}

/** For everybody in the guest, whatever the umask is of the start that makes it. */
async function makeDirectory(path: string, mode = 0o755): Promise<void> {
  const first = await fs.mkdir(path, { recursive: true });
  for (let at = path; first !== undefined && at.length >= first.length; at = dirname(at))
    await fs.chmod(at, mode);
}

async function makeFile(path: string, contents: string | Uint8Array): Promise<void> {
  await fs.writeFile(path, contents);
  await fs.chmod(path, 0o644);
}

/** A link into /usr or /proc, as it is. */
async function copyLink(from: string, to: string): Promise<void> {
  if (!(await look(from))?.isSymbolicLink()) return;
  const target = await fs.readlink(from);
  if (/^\/(usr|proc)\//.test(resolve(dirname(from), target))) await fs.symlink(target, to);
}

async function copyLinks(from: string, to: string): Promise<void> {
  if (!(await look(from))?.isDirectory()) return;
  await makeDirectory(to);
  await Promise.all((await fs.readdir(from)).map((name) => copyLink(join(from, name), join(to, name))));
}

/**
 * A directory of certificates: links into /usr or within the directory as they are; other entries by their contents, if
 * those are certificates and nothing but.
 */
async function copyCertificates(from: string, to: string, host: string): Promise<void> {
  if (!(await look(from))?.isDirectory()) return;
  await makeDirectory(to);
  const copy = async (name: string): Promise<void> => {
    const path = join(from, name);
    if ((await look(path))?.isSymbolicLink()) {
      const given = await fs.readlink(path);
      const target = resolve(dirname(path), given);
      if (dirname(target) === from || target.startsWith(join(host, "usr/")))
        return fs.symlink(given, join(to, name));
    }
    const contents = await certificates(path);
    if (contents !== undefined) await makeFile(join(to, name), contents);
  };
  await Promise.all((await fs.readdir(from)).map(copy));
}

async function certificates(path: string): Promise<string | undefined> {
  try {
    if (!(await look(await fs.realpath(path)))?.isFile()) return undefined;
    const text = await fs.readFile(path, "latin1");
    return /-----BEGIN (TRUSTED )?CERTIFICATE-----/.test(text) && !text.includes("PRIVATE KEY")
      ? text
      : undefined;
  } catch {
    return undefined; // dangling, or not ours to read
  }
}

/** What is there, links as links; undefined where nothing is. */
async function look(path: string): Promise<Stats | undefined> {
  return fs.lstat(path).catch((error) => {
    if (["ENOENT", "ENOTDIR"].includes(errorCode(error) ?? "")) return undefined;
    throw error;
  });
}
