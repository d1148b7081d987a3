/** A root directory that makes the host's /usr usable, with nothing else of the host in it but what is public. */

import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { HostError } from "../errors/errors.ts";

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

/**
 * Fill the empty directory `root`. Throws {@link HostError} `ROOTFS_UNSUPPORTED` unless /bin, /sbin and /lib of `host`
 * are links into its /usr, as they are on current distributions.
 */
export function makeHostSkeleton(root: string, host = "/"): void {
  for (const [path, mode] of EMPTY) {
    mkdirSync(join(root, path));
    chmodSync(join(root, path), mode);
  }
  linkTopLevel(root, host);
  for (const [path, text] of Object.entries(MADE)) writeFileSync(join(root, path), `${text}\n`);
  const etc = join(host, "etc");
  for (const name of LOADER) copyPlain(join(etc, name), join(root, "etc", name));
  copyLinks(join(etc, "alternatives"), join(root, "etc/alternatives"));
  for (const path of CERTIFICATES) copyCertificates(join(etc, path), join(root, "etc", path), host);
  for (const name of ["localtime", "os-release", "mtab"]) copyLink(join(etc, name), join(root, "etc", name));
}

function linkTopLevel(root: string, host: string): void {
  for (const name of ["bin", "sbin", "lib", "lib32", "lib64", "libx32"]) {
    const kind = typeOf(join(host, name));
    if (kind === undefined) continue;
    const target = kind === "link" ? readlinkSync(join(host, name)) : "";
    if (!/^\/?usr\//.test(target)) {
      throw new HostError(
        "ROOTFS_UNSUPPORTED",
        `rootfs "host" needs /${name} to be a link into /usr, and here it is not`,
        {
          hint: 'use rootfs "base", or a directory with a root file system in it',
        },
      );
    }
    symlinkSync(target, join(root, name));
  }
}

/** A file, or a directory of files: no link is followed, nothing unreadable is an error. */
function copyPlain(from: string, to: string): void {
  switch (typeOf(from)) {
    case "file":
      writeFileSync(to, readFileSync(from));
      break;
    case "dir":
      mkdirSync(to);
      for (const name of readdirSync(from)) {
        if (typeOf(join(from, name)) === "file")
          writeFileSync(join(to, name), readFileSync(join(from, name)));
      }
      break;
  }
}

/** A link into /usr or /proc, as it is. */
function copyLink(from: string, to: string): void {
  if (typeOf(from) !== "link") return;
  const target = readlinkSync(from);
  if (/^\/(usr|proc)\//.test(resolve(dirname(from), target))) symlinkSync(target, to);
}

function copyLinks(from: string, to: string): void {
  if (typeOf(from) !== "dir") return;
  mkdirSync(to);
  for (const name of readdirSync(from)) copyLink(join(from, name), join(to, name));
}

/**
 * A directory of certificates: links into /usr or within the directory as they are; other entries by their contents, if
 * those are certificates and nothing but.
 */
function copyCertificates(from: string, to: string, host: string): void {
  if (typeOf(from) !== "dir") return;
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    const path = join(from, name);
    if (typeOf(path) === "link") {
      const target = resolve(dirname(path), readlinkSync(path));
      if (dirname(target) === from || target.startsWith(join(host, "usr/"))) {
        symlinkSync(readlinkSync(path), join(to, name));
        continue;
      }
    }
    const contents = certificates(path);
    if (contents !== undefined) writeFileSync(join(to, name), contents);
  }
}

function certificates(path: string): string | undefined {
  try {
    if (typeOf(realpathSync(path)) !== "file") return undefined;
    const text = readFileSync(path, "latin1");
    return /-----BEGIN (TRUSTED )?CERTIFICATE-----/.test(text) && !text.includes("PRIVATE KEY")
      ? text
      : undefined;
  } catch {
    return undefined; // dangling, or not ours to read
  }
}

function typeOf(path: string): "file" | "dir" | "link" | "other" | undefined {
  const status = lstatSync(path, { throwIfNoEntry: false });
  if (status === undefined) return undefined;
  if (status.isSymbolicLink()) return "link";
  return status.isFile() ? "file" : status.isDirectory() ? "dir" : "other";
}
