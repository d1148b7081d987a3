/**
 * What in read-write shares stays as it is for the guest: what somebody has said, what describes the sandbox, and what
 * capsa is. The VMM holds it; here is said what it is.
 */

import { readdirSync, readlinkSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Notice } from "../errors/errors.ts";
import { ancestors, neededPackages, ownFiles, realPath } from "../host/own_files.ts";
import type { SandboxSpec } from "../spec/spec.ts";

/** Of one share. */
export interface Protection {
  /** It lies in what is protected. */
  readonly whole: boolean;
  /** Paths below it, in the order of the alphabet. */
  readonly paths: readonly string[];
}

/** As many links as Linux follows. */
const MOST_LINKS = 40;

/**
 * By the shares' order; of those that are not read-write nothing is said. `files` are protected besides: absolute paths.
 * Throws {@link SpecError}.
 */
export function protections(spec: SandboxSpec, files: readonly string[]): Protection[] {
  const roots = spec.shares.map(({ mode, host }) => (mode === "rw" ? realPath(host) : undefined));
  const writable = roots.filter((root) => root !== undefined);
  if (writable.length === 0) return roots.map(() => ({ whole: false, paths: [] }));
  const said = spec.shares.flatMap(({ mode, host, protect = [] }) =>
    mode === "rw" ? protect.map((path) => join(host, path)) : [],
  );
  const secrets = Object.values(spec.secrets ?? {}).flatMap(({ from }) =>
    from.startsWith("file:") ? [from.slice("file:".length)] : [],
  );
  const packages = neededPackages((path) =>
    writable.some((root) => isWithin(path, root) || isWithin(root, path)),
  );
  const all = [
    ...said,
    // by the one in a share somebody may start a sandbox later, whatever has started this one
    ...[
      ...(spec.describedBy ?? []),
      ...writable.filter(isDirectory).map((root) => join(root, "capsa.toml")),
    ].flatMap(withSiblings),
    ...secrets,
    ...files,
    ...ownFiles(),
    ...packages,
  ];
  const held = new Set(all.flatMap(waypoints));
  return roots.map((root) => {
    if (root === undefined) return { whole: false, paths: [] };
    const isHeld = (path: string) => held.has(path);
    if ([root, ...ancestors(root)].some(isHeld)) return { whole: true, paths: [] };
    const outer = [...held].filter((path) => isWithin(path, root) && !ancestors(path).some(isHeld));
    return {
      whole: false,
      paths: outer.map((path) => path.slice(root === "/" ? 1 : root.length + 1)).sort(),
    };
  });
}

/** For each share that was to be read-write and is not. */
export function noticesOfProtection(spec: SandboxSpec, given: readonly Protection[]): Notice[] {
  return spec.shares.flatMap(({ host }, index) => {
    if (!given[index]!.whole) return [];
    const message =
      `the share ${host} is read-only in the guest: it is part of what describes the sandbox, of what is protected, or of ` +
      "capsa itself; share another directory, or a copy of it";
    return [{ code: "SHARE_READ_ONLY", message }];
  });
}

/** What describes a sandbox, and what else beside it has a name that capsa goes by. */
function withSiblings(file: string): string[] {
  const directory = dirname(file);
  let names: string[] = [];
  try {
    names = readdirSync(directory).filter((name) => name.endsWith(".scenario.toml"));
  } catch {
    // nobody sees what is there
  }
  return [file, ...["capsa.toml", "capsa.lock", ...names].map((name) => join(directory, name))];
}

/**
 * What has to stay for a path to lead where it leads: each link on its way, and its end, whether that is there or not. No
 * link is on the way to any of them.
 */
function waypoints(path: string): string[] {
  const links: string[] = [];
  let at = "/";
  let rest = path.split("/");
  for (let name = rest.shift(); name !== undefined; name = rest.shift()) {
    const next = name === ".." ? dirname(at) : join(at, name);
    const target = linkTarget(next);
    if (target === undefined) {
      at = next;
      continue;
    }
    links.push(next);
    if (links.length > MOST_LINKS) return links; // it leads nowhere
    if (target.startsWith("/")) at = "/";
    rest = [...target.split("/"), ...rest];
  }
  return [...links, at];
}

function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(directory === "/" ? "/" : `${directory}/`);
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined; // no link, or nothing that anybody can see
  }
}
