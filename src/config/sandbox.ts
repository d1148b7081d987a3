/** One `[sandbox.NAME]` table into a specification. */

import { resolve } from "node:path";
import type { TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { lookUp } from "../host/look_up.ts";
import { unexpanded } from "../host/written.ts";
import { MAX_LIFE_MS } from "../sandbox/validate.ts";
import { type Path, type Reporter, toArgv } from "../spec/forms.ts";
import type { NetworkSpec, RootfsSpec, SandboxSpec, Secrets, UserNetwork } from "../spec/spec.ts";
import { parseBandwidth, parseDuration, parseMemory } from "../spec/units.ts";
import { SandboxSchema, type SandboxTable, type SecretTable, ShareSchema } from "./schema.ts";
import { resolveShares } from "./shares.ts";

const MEMORY_MB = { default: 512, least: 64, most: 1024 * 1024 };
const BANDWIDTH = { least: 8000, most: 1e12 }; // bytes per second
const BOOT_TIMEOUT_MS = 30_000;

/** Where relative paths start, and the file, absolute. */
interface Place {
  readonly base: string;
  readonly file: string;
}

/**
 * The specification, from those keys and shares that the schema accepts: what else is in the table has been reported
 * already, and is no reason to leave the rest unchecked.
 */
export function resolveSandbox(
  name: string,
  given: SandboxTable,
  place: Place,
  report: Reporter,
): SandboxSpec {
  const path: Path = ["sandbox", name];
  const { base } = place;
  const table = accepted(given);
  const shares = Array.isArray(given.shares)
    ? [...given.shares.entries()].filter(([, share]) => Value.Check(ShareSchema, share))
    : [];
  const memoryMb = table.memory === undefined ? MEMORY_MB.default : (parseMemory(table.memory) ?? 0);
  if (memoryMb < MEMORY_MB.least) report([...path, "memory"], "a guest needs at least 64M to start");
  if (memoryMb > MEMORY_MB.most) report([...path, "memory"], "a guest can have at most 1024G");
  const bootTimeoutMs =
    table.bootTimeout === undefined ? BOOT_TIMEOUT_MS : (parseDuration(table.bootTimeout) ?? 0);
  if (bootTimeoutMs === 0) report([...path, "bootTimeout"], "a start takes longer than no time at all");
  const life = (key: "ttl" | "idleTimeout") => {
    const given = table[key];
    if (given === undefined) return {};
    const ms = parseDuration(given) ?? 0;
    if (ms === 0) report([...path, key], "a sandbox lives longer than no time at all");
    if (ms > MAX_LIFE_MS) report([...path, key], "a limit is at most 1193h; without one there is none");
    return { [`${key}Ms`]: ms };
  };
  const file = (key: "kernel" | "initrd") => {
    const given = table[key];
    if (given === undefined) return {};
    const absolute = resolve(base, given);
    const wrong = unexpanded(given);
    const found = lookUp(absolute, "file ");
    if (wrong !== undefined) {
      report([...path, key], ...wrong);
    } else if ("why" in found || !found.isFile()) {
      report(
        [...path, key],
        "why" in found ? found.why : `there is no file ${absolute}`,
        "relative paths start at the directory of this file",
      );
    }
    return { [key]: absolute };
  };
  return {
    name,
    cpus: table.cpus ?? 1,
    memoryMb,
    engine: table.engine ?? "auto",
    confine: table.confine ?? "auto",
    rootfs: resolveRootfs(table.rootfs ?? "base", [...path, "rootfs"], base, report),
    shares: resolveShares(shares, [...path, "shares"], base, report),
    describedBy: [place.file],
    network: resolveNetwork(table.network ?? "none", [...path, "network"], report),
    ...(table.networks === undefined
      ? {}
      : { networks: table.networks.map((network) => ({ name: network, scope: place.file, as: name })) }),
    env: table.env ?? {},
    ...(table.secrets === undefined
      ? {}
      : { secrets: resolveSecrets(table.secrets, [...path, "secrets"], base, report) }),
    ...(table.run === undefined
      ? {}
      : {
          run: { argv: toArgv(table.run), env: {}, ...(table.cwd === undefined ? {} : { cwd: table.cwd }) },
        }),
    ...file("kernel"),
    ...file("initrd"),
    bootTimeoutMs,
    ...life("ttl"),
    ...life("idleTimeout"),
  };
}

function accepted(given: SandboxTable): SandboxTable {
  const known: Record<string, TSchema> = SandboxSchema.properties;
  const entries = Object.entries(given).filter(([key, value]) => {
    const schema = Object.hasOwn(known, key) ? known[key] : undefined;
    return schema !== undefined && Value.Check(schema, value);
  });
  return Object.fromEntries(entries);
}

function resolveNetwork(
  given: NonNullable<SandboxTable["network"]>,
  path: Path,
  report: Reporter,
): NetworkSpec {
  if (given === "none") return "none";
  const none: UserNetwork = { mode: "user", deny: [], log: [], publish: [], hostLoopback: false };
  if (given === "user") return none;
  const { bandwidth, ...rest } = given;
  if (bandwidth === undefined) return { ...none, ...rest };
  const bytesPerSecond = parseBandwidth(bandwidth) ?? 0;
  if (bytesPerSecond < BANDWIDTH.least) report([...path, "bandwidth"], "a network needs at least 64kbit");
  if (bytesPerSecond > BANDWIDTH.most)
    report([...path, "bandwidth"], "more than 1000GB is no limit to anything");
  return { ...none, ...rest, bytesPerSecond };
}

/** A relative path starts at the directory of this file. */
function resolveSecrets(
  tables: Readonly<Record<string, SecretTable>>,
  path: Path,
  base: string,
  report: Reporter,
): Secrets {
  const absolute = (name: string, from: string) => {
    if (!from.startsWith("file:")) return from;
    const given = from.slice("file:".length);
    const wrong = unexpanded(given);
    if (wrong !== undefined) report([...path, name, "from"], ...wrong);
    return `file:${resolve(base, given)}`;
  };
  return Object.fromEntries(
    Object.entries(tables).map(([name, secret]) => [name, { ...secret, from: absolute(name, secret.from) }]),
  );
}

function resolveRootfs(given: string, path: Path, base: string, report: Reporter): RootfsSpec {
  if (given === "base" || given === "host") return { kind: given };
  const directory = resolve(base, given);
  const wrong = unexpanded(given);
  const found = lookUp(directory, "directory ");
  if (wrong !== undefined) {
    report(path, ...wrong);
  } else if ("why" in found || !found.isDirectory()) {
    report(
      path,
      "why" in found ? found.why : `there is no directory ${directory}`,
      "relative paths start at the directory of this file",
    );
  }
  return { kind: "directory", path: directory };
}
