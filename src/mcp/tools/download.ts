/** `download`: a file or a tree of a sandbox, into the one directory that the operator has named. */

import { lstatSync } from "node:fs";
import { join } from "node:path";
import { type Static, Type } from "@sinclair/typebox";
import { AgentError, CapsaError } from "../../errors/errors.ts";
import { Place, removeTree } from "../../host/place.ts";
import { guestPath } from "../../spec/forms.ts";
import { type Call, inputs, sandboxName, type Tool } from "../tool.ts";

/** What an entry of a tree counts for, beside its data: empty ones take room as well. */
const ENTRY = 512;
const NAME = "^(?!\\.{1,2}$)[^/\\x00]{1,255}$";

const input = inputs({
  sandbox: sandboxName,
  path: guestPath("The file or directory in the sandbox."),
  name: Type.String({
    description: "What it is to be called on this machine: a name that is not there yet, without slashes.",
    pattern: NAME,
    expected: 'a name without slashes, such as "report.pdf": the operator has set the directory',
  }),
});

/** `most`: bytes that may come in all. */
export function download(directory: string, most: number): Tool {
  let left = most;
  let last: Promise<unknown> = Promise.resolve();

  async function take({ sandbox, path, name }: Static<typeof input>, { sandboxes, signal }: Call) {
    signal.throwIfAborted();
    const { agent } = sandboxes.get(sandbox);
    const target = join(directory, name);
    // Names are new, so no link that came with an earlier one is ever on the way
    if (isThere(target))
      throw new CapsaError("EEXIST", `there is a download "${name}" already`, {
        hint: "choose another name",
      });
    try {
      const { entries, bytes, skipped } = await agent.download(path, target, { maxBytes: left, signal });
      left = Math.max(0, left - bytes - entries * ENTRY);
      const leftOut = skipped > 0 ? { leftOut: `${skipped} fifos, sockets and devices` } : {};
      return { name, entries, bytes, ...leftOut };
    } catch (error) {
      removeTree(target);
      if (!(error instanceof AgentError && error.code === "OUTPUT_TOO_LARGE")) throw error;
      const why = `${left} of the ${most} bytes allowed for downloads are left`;
      throw new CapsaError("NOT_ALLOWED", `${path} is larger: ${why}; nothing was kept`, {
        hint: "download less",
        cause: error,
      });
    }
  }

  return {
    name: "download",
    description:
      "Copy a file or a directory out of a sandbox, to the operator's machine. It goes into the directory that the " +
      "operator has set for that, under a name that is new there.",
    input,
    hints: { readOnlyHint: false, destructiveHint: false },
    run(args: Static<typeof input>, call) {
      const taking = last.then(() => take(args, call)); // one after the other: what is left is known then
      last = taking.catch(() => {});
      return taking;
    },
  };
}

function isThere(path: string): boolean {
  const { place, name } = Place.above(path);
  try {
    return lstatSync(place.name(name), { throwIfNoEntry: false }) !== undefined;
  } finally {
    place.close();
  }
}
