/** `read`: a file of a sandbox, or a piece of it. */

import { type Static, Type } from "@sinclair/typebox";
import { CapsaError } from "../../errors/errors.ts";
import { guestPath } from "../../spec/forms.ts";
import type { McpLimits } from "../../spec/mcp.ts";
import { wholeCharacters } from "../excerpt.ts";
import { encoding, inputs, sandboxName, type Tool } from "../tool.ts";

export function read({ maxOutput }: McpLimits): Tool {
  const input = inputs({
    sandbox: sandboxName,
    path: guestPath("The file."),
    offset: Type.Optional(
      Type.Integer({
        description: "First byte (0).",
        minimum: 0,
        maximum: Number.MAX_SAFE_INTEGER,
        expected: "a whole number of bytes",
      }),
    ),
    encoding,
  });
  return {
    name: "read",
    description:
      `Read a file of a sandbox, at most ${maxOutput} bytes of it. Where there is more, the answer says so, and the ` +
      "offset to read on from.",
    input,
    hints: { readOnlyHint: true },
    async run({ sandbox, path, offset = 0, encoding = "text" }: Static<typeof input>, { sandboxes, signal }) {
      const { agent } = sandboxes.get(sandbox);
      const most = encoding === "text" ? maxOutput : Math.ceil((maxOutput * 3) / 4);
      const bytes = await agent.readFile(path, { offset, length: most + 1, signal });
      const truncated = bytes.length > most;
      const kept = truncated ? bytes.subarray(0, most) : bytes;
      const count = truncated && encoding === "text" ? wholeCharacters(kept) || most : kept.length;
      const next = offset + count;
      return {
        content: encoding === "text" ? decode(kept.subarray(0, count), path) : kept.toBase64(),
        encoding,
        truncated,
        ...(truncated && { nextOffset: next, note: `the file goes on: read again with offset ${next}` }),
      };
    },
  };
}

function decode(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CapsaError("NOT_TEXT", `${path} is not UTF-8 text`, {
      hint: 'ask for "encoding": "base64", or have a program of the sandbox look at it',
      cause,
    });
  }
}
