/** Directories full of what Bun by itself obeys where it is started, and of programs: what is obeyed leaves a mark. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Puts itself into `directory`; obeyed, it makes the directory `mark`. */
type Trap = (directory: string, mark: string) => Promise<void>;

/** How a command is run in a directory full of traps. */
type Run = (cwd: string, env: { readonly PATH: string }) => Promise<unknown>;

/** A module beside `file`, which names it. */
async function withModule(directory: string, file: string, text: (module: string) => string, mark: string) {
  await writeFile(join(directory, `${file}.ts`), `require("fs").mkdirSync(${JSON.stringify(mark)});\n`);
  await writeFile(join(directory, file), text(`./${file}.ts`));
}

const paths = (module: string) => JSON.stringify({ compilerOptions: { paths: { "*": [module] } } });

const FILES: Readonly<Record<string, Trap>> = {
  "bunfig.toml": (directory, mark) =>
    withModule(directory, "bunfig.toml", (module) => `preload = ["${module}"]\n`, mark),
  "tsconfig.json": (directory, mark) => withModule(directory, "tsconfig.json", paths, mark),
  "jsconfig.json": (directory, mark) => withModule(directory, "jsconfig.json", paths, mark),
  "package.json": (directory, mark) => {
    const text = (module: string) =>
      JSON.stringify({
        browser: { commander: module },
        imports: { "#*": module },
        bun: { preload: [module] },
      });
    return withModule(directory, "package.json", text, mark);
  },
  node_modules: async (directory, mark) => {
    const commander = join(directory, "node_modules/commander");
    await mkdir(commander, { recursive: true });
    await writeFile(join(commander, "index.js"), `require("fs").mkdirSync(${JSON.stringify(mark)});\n`);
    await mkdir(join(directory, "node_modules/.bin"));
    await program(join(directory, "node_modules/.bin/bun"), mark);
  },
};

// the runtime directory is made where it is missing
for (const file of [".env", ".env.local", ".env.development", ".env.production"])
  Object.assign(FILES, {
    [file]: (directory: string, mark: string) =>
      writeFile(join(directory, file), `CAPSA_RUNTIME_DIR=${mark}\n`),
  });

/** What capsa or the shell of its launcher might look for by PATH. */
const PROGRAMS = ["bun", "sh", "env", "bash", "readlink", "dirname", "unshare", "qemu-system-x86_64"];

function program(path: string, mark: string): Promise<void> {
  return writeFile(path, `#!/bin/sh\n/bin/mkdir '${mark}'\n`, { mode: 0o755 });
}

/** `set` puts traps into the working directory of `run` and that above; the names of those that it obeys. */
async function inTree(
  set: (where: Readonly<Record<string, string>>, marks: string) => Promise<unknown>,
  run: (cwd: string) => Promise<unknown>,
): Promise<string[]> {
  const above = await mkdtemp(join(tmpdir(), "capsa-traps-"));
  try {
    const here = join(above, "here");
    const marks = join(above, "marks");
    await mkdir(here);
    await mkdir(marks);
    await set({ here, above }, marks);
    await run(here);
    return (await readdir(marks)).sort();
  } finally {
    await rm(above, { recursive: true, force: true });
  }
}

/** What of all that `run` obeys; each kind of file lies there alone, as one may hide another. */
export async function obeyed(run: Run): Promise<string[]> {
  const found: string[] = [];
  for (const where of ["here", "above"])
    for (const [name, trap] of Object.entries(FILES)) {
      const set = (places: Readonly<Record<string, string>>, marks: string) =>
        trap(places[where]!, join(marks, `${name} ${where}`));
      found.push(...(await inTree(set, (cwd) => run(cwd, { PATH: process.env.PATH! }))));
    }
  return [...found, ...(await obeyedPrograms(run))];
}

/** As {@link obeyed}, all files at once, which is sooner. */
export async function obeyedAtOnce(run: Run): Promise<string[]> {
  const set = async (places: Readonly<Record<string, string>>, marks: string) => {
    for (const [where, directory] of Object.entries(places))
      for (const [name, trap] of Object.entries(FILES))
        await trap(directory, join(marks, `${name} ${where}`));
  };
  const found = await inTree(set, (cwd) => run(cwd, { PATH: process.env.PATH! }));
  return [...found, ...(await obeyedPrograms(run))];
}

/** Programs of the working directory, with the PATH of people who want to run what is there. */
function obeyedPrograms(run: Run): Promise<string[]> {
  const set = async ({ here }: Readonly<Record<string, string>>, marks: string) => {
    for (const name of PROGRAMS) await program(join(here!, name), join(marks, name));
  };
  return inTree(set, (cwd) => run(cwd, { PATH: `:.:${process.env.PATH}` }));
}

/** By what modules in or below `directory` would find others. */
export function setPaths(directory: string, mark: string): Promise<void> {
  return FILES["tsconfig.json"]!(directory, mark);
}
