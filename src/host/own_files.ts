/** What capsa itself is on this machine: files that it runs, or goes by, at its next start. */

import { readFileSync, realpathSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { stateHome } from "./homes.ts";
import { libraryDirectory, packagePath } from "./installation.ts";

/** Of the package: what is run. The rest is for reading, and examples write into their own directories. */
const PARTS = ["src", "build", "kernel", "templates", "node_modules", "package.json"];

/** Absolute paths, of what is not there too, where it would be taken if it were. */
export function ownFiles(): string[] {
  const root = packagePath();
  const above = ancestors(root);
  return [
    ...PARTS.map((part) => join(root, part)),
    process.execPath,
    libraryDirectory(),
    join(stateHome(), "capsa"),
    // where src/host/bun.sh looks for Bun, and npx and programs for capsa, perhaps by a link
    ...above.map((path) => join(path, "node_modules/.bin/bun")),
    ...above
      .filter((path) => basename(path) === "node_modules")
      .flatMap((path) => [join(path, "capsa/package.json"), join(path, ".bin/capsa")]),
  ];
}

/**
 * The packages that capsa needs, and those that these need, where they may lie in a place that `isWritable`: each with the
 * places in which it would be found sooner.
 */
export function neededPackages(isWritable: (path: string) => boolean): string[] {
  if (!ancestors(packagePath()).some((path) => isWritable(join(path, "node_modules")))) return [];
  const found = new Set<string>();
  const need = (root: string) => {
    for (const name of needs(root)) {
      for (const path of [root, ...ancestors(root)]) {
        const place = join(path, "node_modules", name);
        const known = found.has(place);
        found.add(place);
        const real = realPath(place);
        if (real === undefined) continue;
        if (!known) need(real);
        break;
      }
    }
  };
  need(packagePath());
  return [...found];
}

function needs(root: string): string[] {
  try {
    const { dependencies, optionalDependencies, peerDependencies } = JSON.parse(
      readFileSync(join(root, "package.json"), "utf8"),
    );
    return Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies });
  } catch {
    return []; // what cannot be read is not run
  }
}

/** The directories above a path, the nearest first. */
export function ancestors(path: string): string[] {
  const above = dirname(path);
  return above === path ? [] : [above, ...ancestors(above)];
}

/** Behind all links; undefined where nothing is there. */
export function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}
