/** Makes a module of each block of the documentation, to be compiled and run. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as capsa from "../../src/index.ts";
import { type Block, blocksOf, pages, ROOT } from "./blocks.ts";
import { NAMES, RAW_NAMES, RAW_PAGES } from "./context.ts";

export interface Module {
  readonly block: Block;
  /** Absolute. */
  readonly path: string;
  /** The names of the context that it takes; a program takes none. */
  readonly names: readonly string[];
  /** How many lines are before the first one of the block. */
  readonly offset: number;
}

/** Where they go; within the package, so that its own name leads to it. */
export const directory = (tier: string) => join(ROOT, "build", "docs", tier);

/** Write the modules of all pages, one for each block, below `build/docs/TIER`. */
export function writeModules(tier: string): Module[] {
  const target = directory(tier);
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  return pages()
    .flatMap((page) => blocksOf(page))
    .map((block, index) => {
      const path = join(target, `${index}.ts`);
      const { text, names, offset } = block.program ? program(block) : fragment(block);
      writeFileSync(path, text);
      return { block, path, names, offset };
    });
}

interface Text {
  readonly text: string;
  readonly names: readonly string[];
  readonly offset: number;
}

/** A module by itself, whatever it has besides its imports. */
function program({ code }: Block): Text {
  return { text: `${code}export {};\n`, names: [], offset: 0 };
}

/** A function of what it names, with all of capsa imported; its own imports go before it, for they cannot be in one. */
function fragment({ file, code }: Block): Text {
  const raw = RAW_PAGES.has(file);
  const names = (raw ? RAW_NAMES : NAMES).filter((name) => new RegExp(`\\b${name}\\b`).test(code));
  const imports: string[] = [];
  const body = code.replace(/^import .*;$/gm, (line) => {
    imports.push(line);
    return "";
  });
  const head = [
    `import { ${Object.keys(capsa).join(", ")} } from "capsa";`,
    'import * as net from "node:net";',
    `import type { ${raw ? "RawContext" : "Context"} } from "../../../tests/docs/context.ts";`,
    ...imports,
    `export async function example({ ${names.join(", ")} }: ${raw ? "RawContext" : "Context"}): Promise<void> {`,
    "{", // what it declares may have the name of what it is given
  ];
  return { text: `${head.join("\n")}\n${body}}\n}\n`, names, offset: head.length };
}
