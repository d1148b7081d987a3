/** `stop`: end a sandbox. */

import type { Static } from "@sinclair/typebox";
import { inputs, sandboxName, type Tool } from "../tool.ts";

const input = inputs({ sandbox: sandboxName });

export const stop: Tool<typeof input> = {
  name: "stop",
  description: "End a sandbox. Its files are gone, but for those in shares; another one can take its place.",
  input,
  hints: { readOnlyHint: false, destructiveHint: true },
  async run({ sandbox }: Static<typeof input>, { sandboxes }) {
    await sandboxes.stop(sandbox);
    return { stopped: sandbox };
  },
};
