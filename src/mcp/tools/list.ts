/** `list`: a directory of a sandbox. */

import type { Static } from "@sinclair/typebox";
import type { DirEntry } from "../../agent/api.ts";
import { AgentError, CapsaError } from "../../errors/errors.ts";
import { printableJson } from "../../errors/printable.ts";
import { guestPath } from "../../spec/forms.ts";
import type { McpLimits } from "../../spec/mcp.ts";
import { inputs, sandboxName, type Tool } from "../tool.ts";

/** Bytes of a directory that are looked at for an answer that holds less: some ten thousand entries. */
const MOST = 1 << 20;

const input = inputs({ sandbox: sandboxName, path: guestPath("The directory.") });

export function list({ maxOutput }: McpLimits): Tool {
  return {
    name: "list",
    description: "List a directory of a sandbox: names, types, sizes in bytes, permissions, times of change.",
    input,
    hints: { readOnlyHint: true },
    async run({ sandbox, path }: Static<typeof input>, { sandboxes, signal }) {
      const most = Math.max(MOST, maxOutput);
      const found = await orTooMany(
        path,
        most,
        sandboxes.get(sandbox).agent.listDir(path, { maxBytes: most, signal }),
      );
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
        room -= printableJson(entry).length + 1;
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

async function orTooMany(path: string, most: number, listing: Promise<DirEntry[]>): Promise<DirEntry[]> {
  try {
    return await listing;
  } catch (error) {
    if (!(error instanceof AgentError && error.code === "OUTPUT_TOO_LARGE")) throw error;
    throw new CapsaError(
      error.code,
      `${path} has more entries than this tool looks at: ${most} bytes of them`,
      {
        hint: "use exec with ls and a pattern, or with find",
        cause: error,
      },
    );
  }
}
