/**
 * The direction of the sources: what a file imports, includes or calls lies in its own room, or in one above it in the table of
 * CONTRIBUTING.md. A path belongs to the longest room that it begins with.
 */

import { describe, expect, test } from "bun:test";
import { dirname, join } from "node:path";
import { ROOT } from "../../docs/blocks.ts";

/** By path from the package's root. */
type Sources = ReadonlyMap<string, string>;
type Arrow = readonly [from: string, to: string];

/** Files of C that call each other, and why they may: what is cut in two so that both can be read. */
const TOGETHER: readonly (readonly [why: string, folder: string, ...files: string[]])[] = [
  [
    "an inode, its layer and what is copied up are one state of a file",
    "ffi/virtio/fs",
    ...["changes", "copy_up", "inode", "layer", "owner", "quota", "reach", "redirect", "settled", "union"],
  ],
  ["a lock that waits is tried again", "ffi/virtio/fs", "lock", "lock_wait"],
  ["a stream's two ways are one credit", "ffi/virtio/vsock", "rx", "stream"],
  ["an architecture adds to the arguments that QEMU is started with", "ffi/engine/qemu", "args", "x86_64"],
  ["a job and its streams each can end the other", "guest/agent", "job", "job_streams"],
  ["a search finds what is watched from then on", "guest/agent", "watch", "watch_events", "watch_search"],
];

function roomOf(path: string, rooms: readonly string[]): number {
  const [longest] = rooms.filter((room) => path.startsWith(room)).sort((a, b) => b.length - a.length);
  return longest === undefined ? -1 : rooms.indexOf(longest);
}

/** Those that run back up, and those from or to what is in no room. */
function backwards(arrows: readonly Arrow[], rooms: readonly string[]): string[] {
  return arrows
    .filter(([from, to]) => {
      const [here, there] = [roomOf(from, rooms), roomOf(to, rooms)];
      return here < 0 || there < 0 || there > here;
    })
    .map(([from, to]) => `${from} -> ${to}`);
}

/** Each group of files that lead to one another, in the order of the alphabet. */
function circles(arrows: readonly Arrow[]): string[][] {
  const next = Map.groupBy(arrows, ([from]) => from);
  const reached = new Map<string, Set<string>>();
  for (const file of next.keys()) {
    const seen = new Set<string>();
    const left = [file];
    for (let at = left.pop(); at !== undefined; at = left.pop())
      for (const [, to] of next.get(at) ?? [])
        if (!seen.has(to)) {
          seen.add(to);
          left.push(to);
        }
    reached.set(file, seen);
  }
  const groups = [...reached]
    .filter(([file, all]) => all.has(file))
    .map(([file, all]) =>
      [...all]
        .filter((other) => reached.get(other)?.has(file))
        .sort()
        .join(" "),
    );
  return [...new Set(groups)].sort().map((group) => group.split(" "));
}

/** Of TypeScript: `import`, `export … from` and `import(…)`, of types as well. */
function imports(sources: Sources): Arrow[] {
  const statement =
    /^\s*(?:import|export)\s[^"'`;]*?\bfrom\s+"(\.[^"]+)"|^\s*import\s+"(\.[^"]+)"|\bimport\("(\.[^"]+)"\)/gm;
  return [...sources].flatMap(([path, text]) =>
    [...text.replaceAll(/^\s*\*.*$/gm, "").matchAll(statement)]
      .map(([, ...found]) => join(dirname(path), found.find((name) => name !== undefined)!))
      .filter((to) => to.startsWith("src/"))
      .map((to) => [path, to] as const),
  );
}

/** Of C: files that stand beside the one that includes them, or below a directory of the compiler's. */
function includes(sources: Sources): Arrow[] {
  return [...sources].flatMap(([path, text]) =>
    [...text.matchAll(/^#include "([^"]+)"/gm)].map(([, name]) => {
      const places = [dirname(path), path.split("/")[0]!, "ffi", "ffi/include"].map((top) =>
        join(top, name!),
      );
      return [path, places.find((place) => sources.has(place)) ?? `${name} (which is not there)`] as const;
    }),
  );
}

/**
 * Of C: from who names a function to who has it. Where several have one of that name, of which one is compiled, it is not
 * told which.
 */
function calls(sources: Sources): Arrow[] {
  const code = new Map(
    [...sources]
      .filter(([path]) => path.endsWith(".c"))
      .map(([path, text]) => [path, text.replaceAll(/\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\])*"/g, "")] as const),
  );
  const definition = /^(?!static\b|typedef\b)[a-z_][\w \t*()]*?\b(\w+)\([^;{}]*\)\s*\n\{/gm;
  const owners = Map.groupBy(
    [...code].flatMap(([path, text]) =>
      [...text.matchAll(definition)].map(([, name]) => [name!, path] as const),
    ),
    ([name]) => name,
  );
  return [...code].flatMap(([path, text]) =>
    [...new Set(text.match(/\b(?!main\b)\w+/g))].flatMap((word) => {
      const [owner, another] = owners.get(word) ?? [];
      return owner === undefined || another !== undefined || owner[1] === path
        ? []
        : [[path, owner[1]] as const];
    }),
  );
}

async function read(...patterns: readonly string[]): Promise<Sources> {
  const sources = new Map<string, string>();
  for (const pattern of patterns)
    for (const path of new Bun.Glob(pattern).scanSync({ cwd: ROOT }))
      sources.set(path, await Bun.file(join(ROOT, path)).text());
  return sources;
}

const contributing = await Bun.file(join(ROOT, "CONTRIBUTING.md")).text();
const table = contributing.slice(contributing.indexOf("| folder |"), contributing.indexOf("## Manners"));
const rooms = [...table.matchAll(/^\|(.*?)\|/gm)].flatMap(([, cell]) =>
  [...cell!.matchAll(/`(.*?)`/g)].map(([, room]) => room!),
);
const typescript = await read("src/**/*.ts");
const ffi = await read("ffi/**/*.{c,h}");
const guest = await read("guest/**/*.{c,h}");

test("every file is in a room that is there", () => {
  const all = [...typescript, ...ffi, ...guest].map(([path]) => path);
  expect(all.filter((path) => roomOf(path, rooms) < 0)).toEqual([]);
  expect(
    rooms.filter((room) => /^(src|ffi|guest)/.test(room) && !all.some((path) => path.startsWith(room))),
  ).toEqual([]);
});

test("no import of src leads to a room behind its own", () => {
  expect(backwards(imports(typescript), rooms)).toEqual([]);
});

test("no files of src import each other", () => {
  expect(circles(imports(typescript))).toEqual([]);
});

test("no file of C includes one of a room behind its own", () => {
  const found = backwards(includes(new Map([...ffi, ...guest])), rooms);
  expect(found).toEqual([]);
});

test("no files of C call each other, but for those that are named", () => {
  const found = [ffi, guest].flatMap((sources) => circles(calls(sources)));
  const named = TOGETHER.map(([, folder, ...files]) => files.map((file) => `${folder}/${file}.c`));
  expect(found.filter((files) => !named.some((all) => files.every((file) => all.includes(file))))).toEqual(
    [],
  );
  expect(named.filter((all) => !found.some(([first]) => all.includes(first!)))).toEqual([]);
});

describe("a made-up tree", () => {
  const two = ["src/low", "src/high"];

  test("an arrow that runs back up, of values, types, names that are passed on, and of what is loaded later", () => {
    const ways = [
      'import { a } from "../high/a.ts";',
      'import type { A } from "../high/a.ts";',
      'import {\n  a,\n  type A,\n} from "../high/a.ts";',
      'export * from "../high/a.ts";',
      'import "../high/a.ts";',
      'const { a } = await import("../high/a.ts");',
    ];
    for (const way of ways)
      expect(backwards(imports(new Map([["src/low/b.ts", way]])), two)).toEqual([
        "src/low/b.ts -> src/high/a.ts",
      ]);
    const down = new Map([["src/high/b.ts", 'import { a } from "../low/a.ts";']]);
    expect(backwards(imports(down), two)).toEqual([]);
    const example = new Map([["src/low/b.ts", '/**\n * import { a } from "../high/a.ts";\n */']]);
    expect(imports(example)).toEqual([]);
  });

  test("a file that is in no room", () => {
    const sources = new Map([["src/other/b.ts", 'import { a } from "../low/a.ts";']]);
    expect(backwards(imports(sources), two)).toEqual(["src/other/b.ts -> src/low/a.ts"]);
  });

  test("a circle of files, and not what leads to it or away from it", () => {
    const arrows: Arrow[] = [
      ["before", "a"],
      ["a", "b"],
      ["b", "c"],
      ["c", "a"],
      ["c", "behind"],
    ];
    expect(circles(arrows)).toEqual([["a", "b", "c"]]);
    expect(circles(arrows.filter(([from]) => from !== "b"))).toEqual([]);
  });

  test("an include and a call that run back up, and files of C that call each other", () => {
    const sources = new Map([
      ["ffi/low/b.c", '#include "high/a.h"\n\nint b__do(void)\n{\n\treturn a__do();\n}\n'],
      ["ffi/high/a.h", "int a__do(void);\n"],
      ["ffi/high/a.c", '#include "high/a.h"\n\nint a__do(void)\n{\n\treturn b__do(); /* c__do */\n}\n'],
      ["ffi/low/c.c", "int c__do(void)\n{\n\treturn 0;\n}\n"],
    ]);
    expect(backwards(includes(sources), ["ffi/low", "ffi/high"])).toEqual(["ffi/low/b.c -> ffi/high/a.h"]);
    expect(circles(calls(sources))).toEqual([["ffi/high/a.c", "ffi/low/b.c"]]);
  });

  test("of a function that two files have nothing is said: one of them is compiled", () => {
    const sources = new Map([
      ["a.c", "int do_it(void)\n{\n\treturn other();\n}\n"],
      ["a_absent.c", "int do_it(void)\n{\n\treturn 0;\n}\n"],
      ["b.c", "int other(void)\n{\n\treturn do_it();\n}\n"],
    ]);
    expect(calls(sources)).toEqual([["a.c", "b.c"]]);
  });
});
