/** Every link of the documentation leads to a file, and to a heading in it. */
import { expect, test } from "bun:test";
import { existsSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { pages, ROOT } from "../../docs/blocks.ts";

/** As forges make them of headings. */
function anchors(file: string): Set<string> {
  const text = readFileSync(file, "utf8").replace(/^```.*?^```$/gms, "");
  const made = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
  return new Set([...made, ...[...text.matchAll(/<a id="([^"]+)">/g)].map(([, id]) => id!)]);
}

test("every link leads somewhere", () => {
  const broken: string[] = [];
  for (const page of [...pages(), "CONTRIBUTING.md", "kernel/README.md"]) {
    const text = readFileSync(join(ROOT, page), "utf8").replace(/^```.*?^```$/gms, "");
    for (const [, path, anchor] of text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)/g)) {
      const target = path === "" ? join(ROOT, page) : join(ROOT, dirname(page), path!);
      const good =
        existsSync(target) &&
        (anchor === undefined || (statSync(target).isFile() && anchors(target).has(anchor)));
      if (!good) broken.push(`${page}: ${path}${anchor === undefined ? "" : `#${anchor}`}`);
    }
  }
  expect(broken).toEqual([]);
});

test("every page of docs is in its index, and the index in README.md", () => {
  const index = readFileSync(join(ROOT, "docs/README.md"), "utf8");
  const own = pages().filter((page) => /^docs\/[^/]+\.md$/.test(page) && page !== "docs/README.md");
  expect(own.filter((page) => !index.includes(`](${page.slice("docs/".length)})`))).toEqual([]);
  expect(readFileSync(join(ROOT, "README.md"), "utf8")).toContain("](docs/README.md)");
});
