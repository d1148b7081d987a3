/** docs/mcp.md names each tool of the server, in their order, and no other. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Operator } from "../../../src/mcp/limits.ts";
import { toolsFor } from "../../../src/mcp/tools/index.ts";
import { ROOT } from "../../docs/blocks.ts";

test("docs/mcp.md names each tool, and no other", () => {
  const page = readFileSync(join(ROOT, "docs/mcp.md"), "utf8");
  const table = page.slice(page.indexOf("| tool |")).split("\n\n")[0]!;
  const named = [...table.matchAll(/^\| ([^|]+) \|/gm)]
    .slice(1)
    .flatMap(([, cell]) => [...cell!.matchAll(/`(\w+)`/g)].map(([, name]) => name!));
  const operator = {
    limits: { maxSandboxes: 1, execTimeoutMs: 1000, maxOutput: 1000, downloads: "/", maxDownload: 1000 },
    kinds: [{ name: "sandbox", memoryMb: 512, cpus: 1 }],
  } as unknown as Operator;
  expect(named).toEqual(toolsFor(operator).map(({ name }) => name));
});
