/** `sandboxes`: those of this server that run. */

import { inputs, type Tool } from "../tool.ts";
import { describeSandbox } from "./create.ts";

export const sandboxes: Tool = {
  name: "sandboxes",
  description: "List the sandboxes that run: names, sizes, what they can reach, when they end.",
  input: inputs({}),
  hints: { readOnlyHint: true },
  async run(_args, { sandboxes }) {
    return { sandboxes: sandboxes.list().map(describeSandbox) };
  },
};
