/** `list`: a directory of a sandbox. */

import type { Static } from "@sinclair/typebox";
import type { McpLimits } from "../limits.ts";
import { guestPath, inputs, sandboxName, type Tool } from "../tool.ts";

const input = inputs({ sandbox: sandboxName, path: guestPath("The directory.") });

export function list({ maxOutput }: McpLimits): Tool {
  return {
    name: "list",
    description: "List a directory of a sandbox: names, types, sizes in bytes, permissions, times of change.",
    input,
    hints: { readOnlyHint: true },
    async run({ sandbox, path }: Static<typeof input>, { sandboxes, signal }) {
      const found = await sandboxes.get(sandbox).agent.listDir(path, { signal });
      found.sort((a, b) => (a.name < b.name ? -1 : 1));
      const entries: object[] = [];
      let room = maxOutput;
      for (const { name, type, size, mode, mtime } of found) {
        const entry = {
          name,
          type,
          size,
          mode: mode.toString(8).padStart(4, "0"),
          modified: mtime.toISOString(),
        };
        room -= JSON.stringify(entry).length + 1;
        if (room < 0) break;
        entries.push(entry);
      }
      const truncated = entries.length < found.length;
      return {
        entries,
        truncated,
        ...(truncated && {
          note: `these are ${entries.length} of ${found.length}: for the others use exec with ls and a pattern`,
        }),
      };
    },
  };
}
