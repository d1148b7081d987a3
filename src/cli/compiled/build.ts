/**
 * Compile the command line into build/capsa, unless that is what the sources are: one file with Bun and bytecode in it,
 * which starts several times as fast as Bun finds, reads and compiles the modules.
 * Usage: build.ts
 */
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BunPlugin } from "bun";
import { packagePath } from "../../host/installation.ts";
import { describeSources, isFresh, LIST, PATTERNS, PROGRAM } from "./sources.ts";

/** Times the usual count of runs after which a function is compiled: a short command has no use for that. */
const PATIENT = 1000;

/** commander takes one function of `node:util`, which Bun has at hand: loading that is a fifth of a short command. */
const withoutUtil: BunPlugin = {
  name: "commander without node:util",
  setup(build) {
    build.onLoad({ filter: /\/commander\/lib\/(command|help)\.js$/ }, async ({ path }) => ({
      loader: "js",
      contents: (await Bun.file(path).text()).replace(
        "import { stripVTControlCharacters } from 'node:util';",
        "const stripVTControlCharacters = Bun.stripANSI;",
      ),
    }));
  },
};

const root = packagePath();
const program = join(root, PROGRAM);
if (isFresh(root)) process.exit(0);
const paths = PATTERNS.flatMap((pattern) => [...new Bun.Glob(pattern).scanSync({ cwd: root })]);
// taken before they are read: what changes meanwhile is found out by the first start
const list = describeSources(root, paths);
rmSync(join(root, LIST), { force: true });
await Bun.build({
  entrypoints: [join(root, "src/cli/compiled/main.ts")],
  compile: {
    outfile: `${program}.new`,
    // those of the directory it is run in are another program's, and may be anybody's
    autoloadDotenv: false,
    autoloadBunfig: false,
    jitPolicy: PATIENT,
  },
  format: "esm",
  splitting: true, // a verb loads what it needs of Node's modules, and no other's
  bytecode: true,
  minify: true,
  plugins: [withoutUtil],
});
renameSync(`${program}.new`, program);
writeFileSync(join(root, LIST), list);
