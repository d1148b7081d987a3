/** Whether a specification can be: every value checked, with the place and the reason where it cannot. */

import { accessSync, constants } from "node:fs";
import { isIP } from "node:net";
import { posix } from "node:path";
import { checkObject } from "../errors/check.ts";
import { type HostFileError, SpecError } from "../errors/errors.ts";
import { printableJson, shown } from "../errors/printable.ts";
import type { GuestDirectories } from "../host/guest_directories.ts";
import { hold, statusOf } from "../host/hold.ts";
import { validateNetworks } from "../network/lan.ts";
import { validateRules } from "../network/rules.ts";
import { validateSecrets } from "../secrets/validate.ts";
import { validatePublish } from "../spec/publish.ts";
import type { IdRange, MachineSpec, NetworkSpec, SandboxSpec, ShareSpec } from "../spec/spec.ts";
import { writableIn } from "./host_places.ts";

/** As a host name, a directory entry and an argument of the command line. */
const NAME = /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/;
const MAX_CPUS = 255;
/** The guest's timers end there: 49 days. */
export const MAX_LIFE_MS = 2 ** 32 - 1;
const MIN_MEMORY_MB = 32;
const MAX_MEMORY_MB = 2 ** 24; // 16 TiB
const MAX_ID = 0xffff_fffe;
const MAX_ID_RANGES = 340; // as in the kernel's own id maps
const MAX_SHARES = 512;
const MAX_PROTECTED = 1024; // of one share
const MAX_CONNECTIONS = 4096;
const MIN_BANDWIDTH = 8000; // bytes per second
const MAX_BANDWIDTH = 1e12;
const PATH_MAX = 4095; // bytes, without the terminator
const NAME_MAX = 255;

/** Where a share must not go: what the guest's kernel and init have there is not to be covered. */
const RESERVED = ["/proc", "/sys", "/dev", "/capsa"];

/** Throws {@link SpecError} for the first thing that cannot be. `beside`: all of the same file, whose guests write, too. */
export function validateSpec(spec: SandboxSpec, beside: readonly SandboxSpec[] = [spec]): void {
  const guests = writableIn(beside);
  machine(spec, guests);
  whole("bootTimeoutMs", spec.bootTimeoutMs, 1, 2 ** 31 - 1);
  for (const key of ["ttlMs", "idleTimeoutMs"] as const)
    if (spec[key] !== undefined) whole(key, spec[key], 1, MAX_LIFE_MS);
  network("network", spec.network);
  validateNetworks("networks", spec.networks ?? []);
  if (spec.rootfs.kind === "directory") readable("rootfs", spec.rootfs.path, "dir", { guests });
  else oneOf("rootfs", spec.rootfs.kind, ["base", "host"]);
  environment("env", spec.env);
  if (spec.run !== undefined) {
    if (spec.run.argv.length === 0) throw new SpecError("run", "it names no program");
    spec.run.argv.forEach((argument, index) => {
      text(`run.argv[${index}]`, argument);
    });
    if (spec.run.argv[0] === "") throw new SpecError("run", "the program's name is empty");
    environment("run.env", spec.run.env);
    if (spec.run.cwd !== undefined) guestPath("run.cwd", spec.run.cwd);
  }
  shares(spec.shares, guests);
  const taken = [...Object.keys(spec.env), ...Object.keys(spec.run?.env ?? {})];
  if (spec.secrets !== undefined) validateSecrets(spec.secrets, spec.network, taken);
}

/** What a sandbox's machine and a raw one have in common. Throws {@link SpecError}. */
export function machine(spec: MachineSpec, guests?: GuestDirectories): void {
  if (!NAME.test(spec.name)) {
    throw new SpecError("name", `${quote(spec.name)} is not up to 32 small letters, digits and inner dashes`);
  }
  whole("cpus", spec.cpus, 1, MAX_CPUS);
  whole("memoryMb", spec.memoryMb, MIN_MEMORY_MB, MAX_MEMORY_MB);
  oneOf("engine", spec.engine, ["auto", "kvm", "qemu"]);
  oneOf("confine", spec.confine, ["auto", "require", "none"]);
  if (spec.kernel !== undefined) readable("kernel", spec.kernel, "file", { guests });
  if (spec.initrd !== undefined) readable("initrd", spec.initrd, "file", { guests });
}

/** A guest path without `.`, `..`, doubled or trailing slashes. Throws {@link SpecError}. */
export function guestPath(field: string, path: unknown): string {
  const value = text(field, path);
  if (!value.startsWith("/")) throw new SpecError(field, `${quote(value)} is not an absolute path`);
  const normal = posix.normalize(value);
  return within(field, normal === "/" ? normal : normal.replace(/\/$/, ""));
}

/** The path, if it is none too long for Linux. */
function within(field: string, path: string): string {
  if (Buffer.byteLength(path) > PATH_MAX) throw new SpecError(field, `it is longer than ${PATH_MAX} bytes`);
  const long = path.split("/").find((part) => Buffer.byteLength(part) > NAME_MAX);
  if (long !== undefined) {
    throw new SpecError(
      field,
      `it has a name of more than ${NAME_MAX} bytes in it: ${quote(long.slice(0, 20))}…`,
    );
  }
  return path;
}

/** A path below a directory, without `.`, `..`, doubled or trailing slashes. Throws {@link SpecError}. */
export function pathBelow(field: string, path: unknown): string {
  const value = text(field, path);
  const normal = posix.normalize(value).replace(/(.)\/$/, "$1");
  if (/^(\/|\.$|\.\.(\/|$))/.test(normal)) {
    throw new SpecError(field, `${quote(value)} is no path below the directory`, {
      hint: 'such as ".git/hooks"; to have the guest change nothing at all, share it read-only',
    });
  }
  return within(field, normal);
}

function network(field: string, given: NetworkSpec): void {
  if (given === "none") return;
  if (typeof given !== "object" || given?.mode !== "user") {
    throw new SpecError(field, `${quote(given)} is no kind of network`, {
      hint: 'it is "none", or { mode: "user", … } as NetworkMode.UserNat() makes it',
    });
  }
  for (const key of ["allow", "deny", "log", "publish"] as const) {
    if (!Array.isArray(given[key]) && !(key === "allow" && given.allow === undefined))
      throw new SpecError(`${field}.${key}`, `it should be a list, not ${quote(given[key])}`);
    given[key]?.forEach((item, index) => {
      text(`${field}.${key}[${index}]`, item);
    });
  }
  const servers = given.nameServers ?? [];
  if (!Array.isArray(servers) || servers.length > 3 || servers.some((address) => isIP(address) === 0)) {
    throw new SpecError(`${field}.nameServers`, `${quote(servers)} are not at most three addresses`);
  }
  if (given.maxConnections !== undefined)
    whole(`${field}.maxConnections`, given.maxConnections, 1, MAX_CONNECTIONS);
  if (given.bytesPerSecond !== undefined)
    whole(`${field}.bytesPerSecond`, given.bytesPerSecond, MIN_BANDWIDTH, MAX_BANDWIDTH);
  oneOf(`${field}.hostLoopback`, given.hostLoopback, [true, false]);
  validateRules(`${field}.allow`, given.allow ?? []);
  validateRules(`${field}.deny`, given.deny);
  validateRules(`${field}.log`, given.log);
  validatePublish(`${field}.publish`, given.publish);
}

function shares(list: readonly ShareSpec[], guests: GuestDirectories): void {
  if (list.length > MAX_SHARES) throw new SpecError("shares", `${list.length} are more than ${MAX_SHARES}`);
  const taken = new Map<string, number>();
  list.forEach((share, index) => {
    const field = `shares[${index}]`;
    readable(`${field}.host`, share.host, share.mode === "transaction" ? "dir" : "shared", { guests });
    oneOf(`${field}.mode`, share.mode, ["ro", "rw", "transaction"]);
    oneOf(`${field}.cache`, share.cache, ["auto", "always", "never"]);
    if (share.locks !== undefined) oneOf(`${field}.locks`, share.locks, ["host", "guest"]);
    if (share.mode === "transaction" && share.locks === "host")
      throw new SpecError(`${field}.locks`, 'in a transaction locks are the guest\'s: they cannot be "host"');
    oneOf(`${field}.ownership`, share.ownership.mode, ["root", "caller", "passthrough", "map"]);
    if (share.mode === "transaction" && share.ownership.mode === "caller")
      throw new SpecError(`${field}.ownership`, 'in a transaction files have owners: it cannot be "caller"');
    if (share.ownership.mode === "map") {
      idRanges(`${field}.ownership.uids`, share.ownership.uids);
      idRanges(`${field}.ownership.gids`, share.ownership.gids);
    }
    protectedPaths(`${field}.protect`, share, guests);
    const guest = guestPath(`${field}.guest`, share.guest);
    if (guest === "/") {
      throw new SpecError(`${field}.guest`, "a share cannot be the root", {
        hint: "to use a directory as the whole file system, make it the rootfs",
      });
    }
    const reserved = RESERVED.find((path) => guest === path || guest.startsWith(`${path}/`));
    if (reserved !== undefined) throw new SpecError(`${field}.guest`, `${reserved} is the guest's own`);
    const other = taken.get(guest);
    if (other !== undefined) throw new SpecError(`${field}.guest`, `shares[${other}] is at ${guest} already`);
    taken.set(guest, index);
  });
  for (const [guest, index] of taken) {
    for (let above = posix.dirname(guest); above !== "/"; above = posix.dirname(above)) {
      const outer = taken.get(above);
      if (outer !== undefined && !statusOf(list[outer]!.host, guests).isDirectory())
        throw new SpecError(`shares[${index}].guest`, `it lies in shares[${outer}], which is a single file`);
    }
  }
}

function protectedPaths(field: string, { host, protect = [] }: ShareSpec, guests: GuestDirectories): void {
  if (!Array.isArray(protect)) throw new SpecError(field, `it should be a list, not ${quote(protect)}`);
  if (protect.length > MAX_PROTECTED)
    throw new SpecError(field, `${protect.length} are more than ${MAX_PROTECTED}`);
  protect.forEach((path, index) => {
    pathBelow(`${field}[${index}]`, path);
  });
  if (protect.length > 0 && !statusOf(host, guests).isDirectory())
    throw new SpecError(field, "there is nothing below a single file", { hint: "share it read-only" });
}

function idRanges(field: string, ranges: readonly IdRange[]): void {
  if (ranges.length > MAX_ID_RANGES)
    throw new SpecError(field, `${ranges.length} are more than ${MAX_ID_RANGES}`);
  ranges.forEach((range, index) => {
    whole(`${field}[${index}].count`, range.count, 1, MAX_ID);
    whole(`${field}[${index}].guest`, range.guest, 0, MAX_ID - range.count + 1);
    whole(`${field}[${index}].host`, range.host, 0, MAX_ID - range.count + 1);
    const clash = ranges
      .slice(0, index)
      .findIndex(
        (other) => range.guest < other.guest + other.count && other.guest < range.guest + range.count,
      );
    if (clash >= 0) throw new SpecError(`${field}[${index}]`, `its guest ids overlap those of [${clash}]`);
  });
}

export function readable(
  field: string,
  path: unknown,
  kind: "file" | "disk" | "dir" | "shared",
  options: { readonly access?: "read" | "write"; readonly guests?: GuestDirectories | undefined } = {},
): void {
  const { access = "read", guests } = options;
  const value = text(field, path);
  if (!value.startsWith("/")) throw new SpecError(field, `${quote(value)} is not an absolute path`);
  try {
    using held = hold(value, guests);
    const { status } = held;
    const isDirectory = status.isDirectory();
    if (kind === "shared" && !isDirectory && !status.isFile()) {
      throw new SpecError(field, `${value} is neither a directory nor a file`, {
        hint: "share the directory it is in",
      });
    }
    if (kind === "dir" && !isDirectory) throw new SpecError(field, `${value} is not a directory`);
    if (kind === "file" && isDirectory) throw new SpecError(field, `${value} is a directory, not a file`);
    if (kind === "file" && !status.isFile()) throw new SpecError(field, `${value} is not a regular file`);
    if (kind === "disk" && !status.isFile() && !status.isBlockDevice())
      throw new SpecError(field, `${value} is neither a file nor a block device`);
    const directory = kind === "dir" || (kind === "shared" && isDirectory);
    const more = directory ? constants.X_OK : access === "write" ? constants.W_OK : 0;
    accessSync(held.path, constants.R_OK | more);
  } catch (cause) {
    if (cause instanceof SpecError) throw cause;
    const { code, message, hint } = cause as HostFileError;
    if (code === "GUEST_LINK") throw new SpecError(field, message, { code, hint, cause });
    const why =
      code === "ENOENT"
        ? "is not there"
        : code === "EACCES" || code === "EROFS"
          ? `may not be ${access === "read" ? "read" : "written"}`
          : `cannot be used (${code})`;
    throw new SpecError(field, `${value} ${why}`, { cause });
  }
}

function environment(field: string, env: Readonly<Record<string, string>>): void {
  checkObject(field, env);
  for (const [name, value] of Object.entries(env)) {
    text(field, name);
    if (name === "" || name.includes("="))
      throw new SpecError(field, `${quote(name)} is no name of a variable`);
    text(`${field}.${name}`, value);
  }
}

export function text(field: string, value: unknown): string {
  if (typeof value !== "string") throw new SpecError(field, `it should be text, not ${typeof value}`);
  if (value.includes("\0")) throw new SpecError(field, "it has a NUL character in it");
  if (!value.isWellFormed())
    throw new SpecError(field, "it has half a surrogate pair in it, which is no text");
  return value;
}

export function whole(field: string, value: unknown, min: number, max: number): void {
  if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
    throw new SpecError(field, `${quote(value)} is not a whole number from ${min} to ${max}`);
  }
}

export function oneOf(field: string, value: unknown, allowed: readonly unknown[]): void {
  if (!allowed.includes(value)) {
    throw new SpecError(field, `${quote(value)} is none of ${allowed.map(quote).join(", ")}`);
  }
}

export function quote(value: unknown): string {
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return shown(value);
  try {
    return printableJson(value).slice(0, 200);
  } catch {
    return shown(value);
  }
}
